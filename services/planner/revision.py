"""Edits, restorations, comparisons and approvals of specs."""

from __future__ import annotations

from collections.abc import Sequence

from attune.planner.v1 import planner_pb2
from attune.spec.v1 import spec_pb2

from services.common.clock import Clock
from services.common.errors import Conflict, FailedPrecondition, NotFound, Violation, invalid
from services.common.wire_time import timestamp
from services.planner import wire
from services.planner.approval import Bar, bars
from services.planner.brief import Brief
from services.planner.changes import field_changes
from services.planner.drafts import (
    NOTICES_MAX,
    Drafts,
    deadline_notes,
    etag,
    once,
    overlap_notes,
    stamp,
    worded,
)
from services.planner.peers import Scheduler
from services.planner.plan.choice import set_range
from services.planner.plan.decision import Decision, decide
from services.planner.plan.judged import judge_notes, judged_fields
from services.planner.plan.propose import find_model
from services.planner.plan.stages import Sources
from services.planner.plan.user_values import check_user_values, notes_on_change
from services.planner.refinement import restored
from services.planner.source_reader import SourceReader
from services.planner.spec.edit import apply_edit, diff
from services.planner.spec.facts import set_base_model, set_data
from services.planner.spec.hash import canonical_bytes
from services.planner.spec.rules import violations
from services.planner.spec_store import SpecStore
from services.planner.store import Store

STEP_CODES = ("no_smaller_model", "no_larger_model", "conflict_named")
"""Notices about a wish of one message."""
CHANGES_CHARACTERS_MAX = 1000
"""A status travels in headers, which clients cut off at 8 KiB."""


class Revisions:
    """Makes new revisions of specs by edit or restoration, compares and approves them."""

    def __init__(
        self, store: Store, sources: SourceReader, scheduler: Scheduler, clock: Clock
    ) -> None:
        """Keep the stores and peers."""
        self._store = store
        self._specs = SpecStore(store)
        self._sources = sources
        self._scheduler = scheduler
        self._drafts = Drafts(sources, scheduler)
        self._clock = clock

    async def update(self, request: planner_pb2.UpdateSpecRequest) -> spec_pb2.Spec:
        """Return the new revision, or the one that the same request made before.

        Values stay as they were given; what speaks against them becomes a notice.

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
        _check_etag(request.spec.etag, before, "spec.etag")
        paths = request.update_mask.paths
        after = apply_edit(before, request.spec, paths)
        if broken := violations(after):
            raise invalid(broken)
        sources = await self._sources.named(after.data.dataset, after.data.holdout_dataset)
        known = await self._specs.brief(before.name, before.revision)
        brief = Brief.from_json(known) if known else Brief(problem=after.objective.problem)
        data = after.data
        seen = brief.with_data(data.dataset, data.holdout_dataset)
        decision = decide(seen, sources.dataset, sources.holdout)
        _complete(after, before, sources, decision, paths)
        if broken := violations(after):
            raise invalid(broken)
        await self._drafts.compute(after, sources.dataset)
        notes = [*decision.notes, *check_user_values(after, sources)]
        notes += [*notes_on_change(before, after), *deadline_notes(after), *overlap_notes(sources)]
        notes += judge_notes(after, sources.has_judge)
        kept = [notice for notice in before.notices if _still_holds(notice, after, before)]
        del after.notices[:]
        after.notices.extend([*worded(once(notes), brief.language), *kept][:NOTICES_MAX])
        now = self._clock.now()
        stamp(after, before, now)
        return await self._specs.revise(request, before, after, brief.to_json(), now)

    async def restore(self, request: planner_pb2.RestoreSpecRequest) -> spec_pb2.Spec:
        """Return a new revision that decides what an earlier one did.

        Raises:
            InvalidArgument: If the revision is no positive number.
            NotFound: If there is no such spec or revision.
            Conflict: If the etag is not the newest one.
            Unavailable: If the scheduler cannot be asked now.
        """
        found = await self._store.find_answer(request, spec_pb2.Spec)
        if found is not None:
            return found
        before = await self._specs.get(request.name)
        _check_etag(request.etag, before, "etag")
        wire.check_revision("revision", request.revision, least=1)
        earlier = await self._specs.get(request.name, request.revision)
        spec = restored(earlier, before)
        await self._drafts.estimate(spec)
        now = self._clock.now()
        stamp(spec, before, now)
        brief = await self._specs.brief(request.name, request.revision)
        return await self._specs.revise(request, before, spec, brief, now)

    async def compare(self, request: planner_pb2.DiffSpecsRequest) -> planner_pb2.DiffSpecsResponse:
        """Return what differs between two revisions.

        Raises:
            InvalidArgument: If a revision is negative.
            NotFound: If there is no such spec or revision.
        """
        wire.check_revision("from_revision", request.from_revision)
        wire.check_revision("to_revision", request.to_revision)
        after = await self._specs.get(request.name, request.to_revision)
        first = request.from_revision or max(1, after.revision - 1)
        before = await self._specs.get(request.name, first)
        return planner_pb2.DiffSpecsResponse(
            changes=field_changes(before, after),
            from_revision=before.revision,
            to_revision=after.revision,
        )

    async def approve(self, request: planner_pb2.ApproveSpecRequest) -> spec_pb2.Spec:
        """Return the approved spec.

        Raises:
            NotFound: If there is no such spec.
            Conflict: If the hash is not that of the newest revision.
            FailedPrecondition: If it trains nothing, its data are missing or invalid, its graders
                ask a judge and the trainer has none, or no live node can run it.
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
        approved = spec_pb2.Spec()
        approved.CopyFrom(spec)
        await self._check_approvable(approved)
        now = self._clock.now()
        approved.state = spec_pb2.Spec.STATE_APPROVED
        approved.etag = etag(approved)
        approved.approval.revision = spec.revision
        approved.approval.hash = spec.hash
        approved.approval.canonical_spec = canonical_bytes(spec)
        approved.approval.approve_time.CopyFrom(timestamp(now))
        return await self._specs.approve(request, spec, approved, now)

    async def _check_approvable(self, spec: spec_pb2.Spec) -> None:
        """Refuse what must not run, and write into the rest where it would run now.

        Raises:
            FailedPrecondition: With everything that stands against it.
        """
        try:
            data = spec.data
            dataset, holdout = await self._sources.rows(data.dataset, data.holdout_dataset)
        except NotFound as error:
            raise _refusal(spec, [Bar("DATA_MISSING", error.message)]) from None
        has_judge = await self._sources.has_judge() if judged_fields(spec) else None
        found = bars(spec, dataset, holdout, has_judge=has_judge)
        if not found:
            await self._drafts.compute(spec, dataset)
            if not spec.compute.available:
                found = [Bar("NO_NODE_CAN_RUN", " ".join(spec.compute.missing))]
        if found:
            raise _refusal(spec, found)

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


def _refusal(spec: spec_pb2.Spec, found: Sequence[Bar]) -> FailedPrecondition:
    missing = " ".join(bar.text for bar in found)
    what = f"revision {spec.revision} of {spec.name}"
    if found[0].reason == "NO_NODE_CAN_RUN":
        text = f"No node can run {what} now: {missing}"
    else:
        text = f"{what[0].upper()}{what[1:]} cannot be approved: {missing}"
    return FailedPrecondition(
        text,
        reason=found[0].reason,
        spec=spec.name,
        revision=str(spec.revision),
        missing=missing,
        reasons=", ".join(bar.reason for bar in found),
    )


def _still_holds(notice: spec_pb2.Notice, after: spec_pb2.Spec, before: spec_pb2.Spec) -> bool:
    """Return whether a notice that an edit does not make anew is still true."""
    if notice.code == "provisional":
        return after.data.provisional
    if notice.field_path == "base_model.id":
        return after.base_model.id == before.base_model.id and notice.code not in STEP_CODES
    return False


def _complete(
    after: spec_pb2.Spec,
    before: spec_pb2.Spec,
    sources: Sources,
    decision: Decision,
    paths: Sequence[str],
) -> None:
    """Write again what follows from the edited fields."""
    if after.base_model.id != before.base_model.id:
        if "base_model.revision" not in paths:
            after.base_model.ClearField("revision")
        set_base_model(after, find_model(sources.models, after.base_model.id))
    set_data(after, sources.dataset, sources.holdout)
    if any(path.startswith("data") for path in paths) and decision.recommendation is not None:
        verdict = after.verdict
        verdict.recommendation, verdict.reason = decision.recommendation, decision.reason
        for field, values in (
            (verdict.rules, decision.rules),
            (verdict.instead, decision.instead[:6]),
            (verdict.would_change, decision.would_change[:6]),
        ):
            del field[:]
            field.extend(values)
    for choice in after.choices:
        set_range(choice, after)


def _check_etag(given: str, before: spec_pb2.Spec, field: str) -> None:
    if not given:
        text = "Send the etag that came with the spec you read."
        raise invalid([Violation(field, "REQUIRED", text)])
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
