"""Maps engines to messages; pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta

from attune.serving.v1 import engine_pb2 as pb

from services.serving.engines.engine import EngineState
from services.serving.engines.group import Group, Member
from services.serving.engines.pool import Engines
from services.serving.engines.residency import LORAS_MAX

STATES = {
    EngineState.STARTING: pb.Engine.STATE_STARTING,
    EngineState.READY: pb.Engine.STATE_READY,
    EngineState.FAILED: pb.Engine.STATE_FAILED,
}


def engines_to_proto(engines: Engines, versions: Mapping[str, Sequence[str]]) -> list[pb.Engine]:
    """Return the messages of all engines, those of the warm model first.

    Args:
        engines: All of them.
        versions: Names of versions by the hash of their adapter.
    """
    found = []
    if engines.warm is None:
        found.append(
            pb.Engine(
                base_model=engines.options.warm_model,
                state=pb.Engine.STATE_WAITING_FOR_MODEL,
                state_reason=f"{engines.options.warm_model} is not at hand yet.",
            )
        )
    for group in engines.groups().values():
        if not group.members:
            found.append(_without_engine(group))
        found += [
            _engine(index, member, group, versions) for index, member in enumerate(group.members)
        ]
    return found


def _without_engine(group: Group) -> pb.Engine:
    return pb.Engine(
        base_model=group.model.id,
        base_model_revision=group.model.revision,
        state=pb.Engine.STATE_IDLE,
        state_reason=group.refusal or "About to be started.",
    )


def _engine(
    index: int, member: Member, group: Group, versions: Mapping[str, Sequence[str]]
) -> pb.Engine:
    engine = member.engine
    message = pb.Engine(
        id=engine.id,
        base_model=group.model.id,
        base_model_revision=group.model.revision,
        replica_index=index,
        state=STATES[engine.state],
        state_reason=engine.reason,
        model_versions=sorted(
            name for adapter in member.adapters.held for name in versions.get(adapter, ())
        ),
        adapter_max=LORAS_MAX,
        request_count=member.user_count,
        start_count=engine.start_count,
        external=engine.host.external,
    )
    if engine.state is EngineState.STARTING:
        message.progress = engine.progress
        message.remaining_duration.FromTimedelta(timedelta(seconds=engine.remaining_s))
    if engine.ready_time is not None:
        message.ready_time.FromDatetime(engine.ready_time)
    return message
