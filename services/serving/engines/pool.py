"""All engines: which ones run follows from what is deployed, what is asked for, and the room."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from services.common.artefacts import Artefacts
from services.common.errors import FailedPrecondition, ResourceExhausted, Unavailable
from services.common.waiting import until_set
from services.serving.engines.adapters import Adapters
from services.serving.engines.base_model import BaseModel, find_base_model
from services.serving.engines.changes import Changes
from services.serving.engines.engine import Engine
from services.serving.engines.engine_client import EngineClient, new_session
from services.serving.engines.group import RETRY_AFTER_S, Group, Member, not_started
from services.serving.engines.host import Host
from services.serving.engines.process_host import Command, ProcessHost, vllm_command
from services.serving.engines.remote_host import RemoteHost
from services.serving.engines.start_times import StartTimes
from services.serving.engines.weights import Weights

log = logging.getLogger(__name__)

SETTLE_S = 5.0
"""Between two looks at what should run; a change causes one at once."""
MODEL_POLL_S = 1.0
"""The same while the files of the warm model are not at hand: another process makes them."""


@dataclass(frozen=True)
class EngineOptions:
    """How many engines there may be, and where."""

    warm_model: str
    """Id of the model that always has engines."""
    replica_count: int = 1
    """Engines of the warm model, and of each model that is deployed; at least 1."""
    process_max: int = 2
    """Processes on this machine at most; at least 1."""
    idle_s: float = 600.0
    """How long an engine that is neither warm nor deployed stays without a request."""
    port: int = 0
    """Of the first process; the others pick free ones. 0 picks a free one for it too."""
    cpus: str = ""
    """Cores of all processes; all when empty."""
    addresses: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Engines that somebody else looks after: their addresses by model id."""
    command: Command = vllm_command
    """Makes the command line of a process."""


class Engines:
    """Starts, shares out and ends engines."""

    def __init__(self, home: Path, artefacts: Artefacts, options: EngineOptions) -> None:
        """Prepare; `run` does the rest.

        Args:
            home: `$ATTUNE_HOME`.
            artefacts: Where models and adapters are.
            options: How many, and where.
        """
        self.options = options
        self.warm: BaseModel | None = None
        """The warm model; None while its files are not at hand."""
        self._home = home
        self._artefacts = artefacts
        self._session = new_session()
        self._start_times = StartTimes(home / "run" / "engine-start-times.json")
        self._groups: dict[Weights, Group] = {}
        self._wanted: frozenset[Weights] | None = None
        """Of deployments; None until they are known, when no engine is ended yet."""
        self._strays_ended = False
        self._wake = asyncio.Event()
        self._changes = Changes()

    async def run(self) -> None:
        """Keep running what should, for ever."""
        while True:
            self._wake.clear()
            if self.warm is None:
                self.warm = await self._find(self.options.warm_model, "")
            await self._settle()
            self._changes.tell()
            await until_set(self._wake, SETTLE_S if self.warm else MODEL_POLL_S)

    async def stop(self) -> None:
        """End all engines, after `run` was cancelled."""
        groups, self._groups = list(self._groups.values()), {}
        members = [member for group in groups for member in group.members]
        await asyncio.gather(*(member.end("Serving is stopping.") for member in members))
        await self._session.close()

    def want(self, weights: Collection[Weights]) -> None:
        """Say what is deployed: it stays in its engines whatever happens."""
        if (wanted := frozenset(weights)) == self._wanted:
            return  # Who waits for a change says this at each: waking would go round for ever.
        self._wanted = wanted
        by_model: dict[Weights, set[str]] = {}
        for one in self._wanted:
            by_model.setdefault(one.model, set()).add(one.adapter_sha256)
        for key, group in self._groups.items():
            for member in group.members:
                member.adapters.set_deployed(by_model.get(key, set()))
        self._wake.set()

    async def locate(self, model_id: str, revision: str = "") -> Weights:
        """Return the weights of a model whose files are at hand.

        Args:
            model_id: Which model.
            revision: Which revision; the one that runs, or the newest one, when empty.

        Raises:
            FailedPrecondition: If they are not at hand.
            Unavailable: If they are the warm model's, which another process makes.
        """
        for key in self._groups:
            if key.model_id == model_id and revision in ("", key.revision):
                return key
        found = await self._find(model_id, revision)
        if found is None:
            raise self._missing(model_id, revision)
        return Weights(found.id, found.revision)

    async def demand(self, weights: Weights) -> Group:
        """Note that somebody asks for a model, so that an engine of it is started or stays.

        Raises:
            FailedPrecondition: If its files are not at hand.
        """
        group = self._groups.get(weights.model)
        if group is None:
            model = await self._find(weights.model_id, weights.revision)
            if model is None:
                raise self._missing(weights.model_id, weights.revision)
            group = self._groups.setdefault(weights.model, Group(model))
            self._wake.set()
        group.last_use_s = time.monotonic()
        return group

    @asynccontextmanager
    async def hold(self, weights: Weights) -> AsyncIterator[EngineClient]:
        """Keep an engine, and an adapter in it, while the block runs.

        Args:
            weights: What is to answer.

        Yields:
            The engine that holds it.

        Raises:
            FailedPrecondition: If the model's files are not at hand.
            Unavailable: If no engine is READY, with the time to wait, or it does not answer.
            EngineRefused: If the engine cannot hold the adapter.
            ResourceExhausted: If there is no room for an engine, or in it.
        """
        member = (await self.demand(weights)).choose(weights)
        member.user_count += 1
        try:
            async with member.adapters.hold(weights.adapter_sha256) as client:
                yield client
        finally:
            member.user_count -= 1
            self._touch(weights)

    async def keep(self, weights: Weights) -> None:
        """Load deployed weights into every engine of their model that answers.

        Raises:
            As `hold`.
        """
        group = await self.demand(weights)
        group.choose(weights)
        for member in group.ready():
            async with member.adapters.hold(weights.adapter_sha256):
                continue

    def forget(self, weights: Weights) -> None:
        """Take note that an engine did not know an adapter that it was thought to hold."""
        if (group := self._groups.get(weights.model)) is not None:
            for member in group.members:
                member.adapters.forget(weights.adapter_sha256)

    def waits_for(self, weights: Weights) -> Unavailable | ResourceExhausted | None:
        """Return why a model does not answer now, or None if it does."""
        group = self._groups.get(weights.model)
        return not_started(weights) if group is None else group.waits_for(weights)

    async def wait_for_change(self, timeout_s: float) -> None:
        """Return when an engine may have changed, or after a time."""
        await self._changes.wait(timeout_s)

    def groups(self) -> Mapping[Weights, Group]:
        """Return the engines by model, those of the warm one first."""
        return dict(sorted(self._groups.items(), key=lambda item: not self._is_warm(item[0])))

    def _missing(self, model_id: str, revision: str) -> FailedPrecondition | Unavailable:
        """Return what a caller is told of a model whose files are not at hand."""
        if self.warm is None and model_id == self.options.warm_model:
            return Unavailable(
                f"The engine is not ready: {model_id} is not at hand yet. Try again.",
                reason="ENGINE_NOT_READY",
                retry_after_s=RETRY_AFTER_S,
                base_model=model_id,
            )
        return _not_at_hand(model_id, revision)

    def _touch(self, weights: Weights) -> None:
        if (group := self._groups.get(weights.model)) is not None:
            group.last_use_s = time.monotonic()

    async def _find(self, model_id: str, revision: str) -> BaseModel | None:
        return await asyncio.to_thread(find_base_model, self._artefacts, model_id, revision)

    async def _settle(self) -> None:
        """Bring the engines to what should run.

        Raises:
            BaseException: Whatever ended an engine's loop: it is made to go on for ever.
        """
        for group in self._groups.values():
            for member in group.members:
                if member.task.done():
                    member.task.result()
        if self.warm is not None:
            key = Weights(self.warm.id, self.warm.revision)
            self._groups.setdefault(key, Group(self.warm))
        for key in {one.model for one in self._wanted or ()} - set(self._groups):
            model = await self._find(key.model_id, key.revision)
            if model is None:
                log.error("%s revision %s is deployed and not at hand", key.model_id, key.revision)
            else:
                self._groups.setdefault(key, Group(model))
        for key, group in self._by_urgency():
            await self._staff(key, group)
        for key, group in list(self._groups.items()):
            if self._is_idle(key, group):
                await self._dismiss(key, f"Nobody asked for {self.options.idle_s:g} s.")
        if self._wanted is not None and not self._strays_ended:
            await self._end_strays()

    def _by_urgency(self) -> list[tuple[Weights, Group]]:
        """Return the groups in the order in which they get what room there is."""
        return sorted(
            self._groups.items(),
            key=lambda item: (
                not self._is_warm(item[0]),
                not self._is_wanted(item[0]),
                -item[1].last_use_s,
            ),
        )

    async def _staff(self, key: Weights, group: Group) -> None:
        """Give a group the engines that it should have, as far as there is room."""
        addresses = self.options.addresses.get(key.model_id, ())
        if addresses:
            for address in addresses[len(group.members) :]:
                self._add(group, RemoteHost(address), None)
            return
        is_kept = self._is_warm(key) or self._is_wanted(key)
        count = self.options.replica_count if is_kept else 1
        group.refusal = ""
        while len(group.members) < count:
            place = await self._free_place(key)
            if place is None:
                group.refusal = (
                    f"This machine runs {self.options.process_max} engines at most, and all are "
                    "warm, deployed or in use. Delete a deployment, or raise "
                    "ATTUNE_SERVING_ENGINE_PROCESSES_MAX."
                )
                log.warning("%s has %d of %d engines", key.model_id, len(group.members), count)
                return
            port = self.options.port if place == 0 else 0
            options = self.options
            host = ProcessHost(self._home, _name(place), port, options.cpus, options.command)
            self._add(group, host, place)

    async def _end_strays(self) -> None:
        """End the engines that an earlier serving left behind and that nobody wants now."""
        taken = self._taken()
        for place in range(self.options.process_max):
            if place not in taken:
                await ProcessHost(self._home, _name(place), 0).close()
        self._strays_ended = True

    def _taken(self) -> set[int | None]:
        """Return the places that have an engine."""
        return {member.place for group in self._groups.values() for member in group.members}

    async def _free_place(self, key: Weights) -> int | None:
        """Return a place for a process of a model, ending an idle one if need be; None if none.

        The first place is the warm model's; a living engine that serving left behind is found again
        in its own.
        """
        taken = self._taken()
        free = [place for place in range(self.options.process_max) if place not in taken]
        if not self._is_warm(key):
            free = [place for place in free if place != 0]
        for place in free:
            facts = ProcessHost(self._home, _name(place), 0).found()
            if facts and (facts.base_model, facts.base_model_revision) == (
                key.model_id,
                key.revision,
            ):
                return place
        if free:
            return free[0]
        idle = [
            (group.last_use_s, other)
            for other, group in self._groups.items()
            if other != key and group.members and not self._is_kept(other) and group.is_at_rest
        ]
        if not idle:
            return None
        _, victim = min(idle, key=lambda item: item[0])
        places = [member.place for member in self._groups[victim].members]
        await self._dismiss(victim, f"Made room for {key.model_id}.")
        return places[0]

    def _add(self, group: Group, host: Host, place: int | None) -> None:
        name = f"{group.model.id.replace('/', '~')}-{len(group.members)}"
        engine = Engine(
            name, host, group.model, self._session, self._start_times, self._changes.tell
        )
        adapters = Adapters(engine, self._artefacts)
        key = Weights(group.model.id, group.model.revision)
        adapters.set_deployed(
            {one.adapter_sha256 for one in self._wanted or () if one.model == key}
        )
        task = asyncio.create_task(engine.run(), name=name)
        group.members.append(Member(engine, adapters, task, place))

    def _is_warm(self, key: Weights) -> bool:
        return self.warm is not None and key == Weights(self.warm.id, self.warm.revision)

    def _is_wanted(self, key: Weights) -> bool:
        return any(one.model == key for one in self._wanted or ())

    def _is_kept(self, key: Weights) -> bool:
        return self._is_warm(key) or self._is_wanted(key) or key.model_id in self.options.addresses

    def _is_idle(self, key: Weights, group: Group) -> bool:
        if self._wanted is None or self._is_kept(key) or group.user_count:
            return False
        return time.monotonic() - group.last_use_s > self.options.idle_s

    async def _dismiss(self, key: Weights, reason: str) -> None:
        group = self._groups.pop(key)
        log.info("ending the engines of %s: %s", key.model_id, reason)
        await asyncio.gather(*(member.end(reason) for member in group.members))


def _name(place: int) -> str:
    """Return the name of a process's record and log."""
    return f"engine-{place}" if place else "engine"


def _not_at_hand(model_id: str, revision: str) -> FailedPrecondition:
    which = f"{model_id} revision {revision[:12]}" if revision else model_id
    return FailedPrecondition(
        f"The model {which} is not at hand. Get it with "
        f"`python -m services.trainer.models.base_models ensure {model_id}`.",
        reason="BASE_MODEL_MISSING",
        base_model=model_id,
        base_model_revision=revision,
    )
