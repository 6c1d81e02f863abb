"""Edits and approvals of specs."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime

from attune.planner.v1 import planner_pb2
from attune.spec.v1 import spec_pb2

from services.common.clock import Clock
from services.common.errors import Conflict, FailedPrecondition, Violation, invalid
from services.planner import wire
from services.planner.brief import Brief
from services.planner.peers import Scheduler
from services.planner.plan.choice import set_range
from services.planner.plan.propose import find_model
from services.planner.plan.stages import Sources
from services.planner.plan.verdict import decide_verdict
from services.planner.source_reader import SourceReader
from services.planner.spec.edit import apply_edit, diff
from services.planner.spec.facts import set_base_model, set_data
from services.planner.spec.hash import canonical_bytes, spec_hash
from services.planner.spec.rules import violations
from services.planner.spec_store import SpecStore
from services.planner.store import Store

CHANGES_CHARACTERS_MAX = 1000
"""A status travels in headers, which clients cut off at 8 KiB."""


class Revisions:
    """Makes new revisions of specs by edit, and approves them."""

    def __init__(
        self, store: Store, sources: SourceReader, scheduler: Scheduler, clock: Clock
    ) -> None:
        """Keep the stores and peers."""
        self._store = store
        self._specs = SpecStore(store)
        self._sources = sources
        self._scheduler = scheduler
        self._clock = clock

    async def update(self, request: planner_pb2.UpdateSpecRequest) -> spec_pb2.Spec:
        """Return the new revision, or the one that the same request made before.

        Raises:
            InvalidArgument: With every path and value that breaks a rule.
            NotFound: If there is no such spec.
            Conflict: If the etag is not the newest one.
            Unavailable: If scheduler or trainer cannot be asked now.
        """
        found = await self._store.find_answer(request, spec_pb2.Spec)
        if found is not None:
            return found
        before = await self._specs.get(request.spec.name)
        _check_etag(request.spec.etag, before)
        after = apply_edit(before, request.spec, request.update_mask.paths)
        if broken := violations(after):
            raise invalid(broken)
        sources = await self._sources.named(after.data.dataset, after.data.holdout_dataset)
        _complete(after, before, sources, request.update_mask.paths)
        if broken := violations(after):
            raise invalid(broken)
        after.compute.CopyFrom(await self._scheduler.estimate(after, sources.dataset))
        now = self._clock.now()
        stamp(after, before, now)
        brief = await self._specs.brief(before.name, before.revision)
        return await self._specs.revise(request, before, after, brief, now)

    async def approve(self, request: planner_pb2.ApproveSpecRequest) -> spec_pb2.Spec:
        """Return the approved spec.

        Raises:
            NotFound: If there is no such spec.
            Conflict: If the hash is not that of the newest revision.
            FailedPrecondition: If no live node can run it.
            Unavailable: If the scheduler cannot be asked now.
        """
        found = await self._store.find_answer(request, spec_pb2.Spec)
        if found is not None:
            return found
        spec = await self._specs.get(request.name)
        if spec.hash != request.hash:
            raise await self._stale(spec, request.hash)
        now = self._clock.now()
        if spec.state == spec_pb2.Spec.STATE_APPROVED:
            return await self._specs.approve(request, spec, spec, now)
        dataset = await self._sources.dataset(spec.data.dataset)
        approved = spec_pb2.Spec()
        approved.CopyFrom(spec)
        approved.compute.CopyFrom(await self._scheduler.estimate(spec, dataset))
        if not approved.compute.available:
            missing = " ".join(approved.compute.missing)
            raise FailedPrecondition(
                f"No node can run revision {spec.revision} of {spec.name} now: {missing}",
                reason="NO_NODE_CAN_RUN",
                spec=spec.name,
                revision=str(spec.revision),
                missing=missing,
            )
        now = self._clock.now()
        approved.state = spec_pb2.Spec.STATE_APPROVED
        approved.etag = _etag(approved)
        approved.approval.revision = spec.revision
        approved.approval.hash = spec.hash
        approved.approval.canonical_spec = canonical_bytes(spec)
        approved.approval.approve_time.CopyFrom(wire.timestamp(now))
        return await self._specs.approve(request, spec, approved, now)

    async def _stale(self, spec: spec_pb2.Spec, given: str) -> Conflict:
        read = await self._specs.find_by_hash(spec.name, given)
        if read is None:
            what = "No revision of it has that hash."
        else:
            shown = "; ".join(str(change) for change in diff(read, spec))
            if len(shown) > CHANGES_CHARACTERS_MAX:
                shown = shown[:CHANGES_CHARACTERS_MAX] + " ..."
            what = f"Since revision {read.revision} this changed: {shown}."
        return Conflict(
            f"{given[:64]} is not the hash of {spec.name} as it is now (revision "
            f"{spec.revision}). {what} Read it again and approve its hash, {spec.hash}.",
            reason="STALE_HASH",
            spec=spec.name,
            hash=spec.hash,
            revision=str(spec.revision),
            given_hash=given[:64],
            changed=what,
        )


def stamp(spec: spec_pb2.Spec, before: spec_pb2.Spec | None, now: datetime) -> None:
    """Make a spec a new draft revision: number, hash, etag, times; any approval ends.

    Args:
        spec: Named and complete.
        before: The revision that it replaces; None for the first.
        now: The present moment.
    """
    spec.revision = before.revision + 1 if before else 1
    spec.state = spec_pb2.Spec.STATE_DRAFT
    spec.ClearField("approval")
    spec.update_time.CopyFrom(wire.timestamp(now))
    spec.create_time.CopyFrom(before.create_time if before else spec.update_time)
    spec.hash = spec_hash(spec)
    spec.etag = _etag(spec)


def _complete(
    after: spec_pb2.Spec, before: spec_pb2.Spec, sources: Sources, paths: Sequence[str]
) -> None:
    """Write again what follows from the edited fields."""
    if after.base_model.id != before.base_model.id:
        if "base_model.revision" not in paths:
            after.base_model.ClearField("revision")
        set_base_model(after, find_model(sources.models, after.base_model.id))
    set_data(after, sources.dataset, sources.holdout)
    data, brief = after.data, Brief(problem=after.objective.problem)
    verdict = decide_verdict(brief, sources.dataset, data.train_row_count, data.holdout_row_count)
    after.verdict.CopyFrom(verdict)
    for choice in after.choices:
        set_range(choice, after)


def _check_etag(given: str, before: spec_pb2.Spec) -> None:
    if not given:
        text = "Send the etag that came with the spec you read."
        raise invalid([Violation("spec.etag", "REQUIRED", text)])
    if given != before.etag:
        raise Conflict(
            f"{before.name} is at revision {before.revision} with etag {before.etag}, not "
            f"'{given[:64]}'. Read it again and repeat the edit.",
            reason="STALE_ETAG",
            spec=before.name,
            revision=str(before.revision),
            etag=before.etag,
            given_etag=given[:64],
        )


def _etag(spec: spec_pb2.Spec) -> str:
    text = f"{spec.name}/{spec.revision}/{spec.state}/{spec.hash}"
    return hashlib.sha256(text.encode()).hexdigest()[:16]
