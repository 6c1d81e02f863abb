"""Makes plans: from what is known to a spec with its estimate, and what has to be pointed out.

Conversations, single calls, edits and restorations share it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import cast

from attune.spec.v1 import spec_pb2

from services.common.errors import InvalidArgument, NotFound
from services.common.wire_time import timestamp
from services.planner import narration
from services.planner.brief import Brief, BriefPatch, quoted
from services.planner.dataset.facts import DatasetFacts
from services.planner.peers import Scheduler
from services.planner.plan.base_choice import Direction, choose_base, step
from services.planner.plan.base_needs import needs_of
from services.planner.plan.catalogue import CatalogueModel
from services.planner.plan.deadline import fit_deadline
from services.planner.plan.decision import Decision, decide
from services.planner.plan.judged import judge_notes
from services.planner.plan.notices import Note, note
from services.planner.plan.propose import propose
from services.planner.plan.stages import Sources
from services.planner.plan.user_values import check_user_values, notes_on_change
from services.planner.refinement import refined
from services.planner.source_reader import SourceReader
from services.planner.spec.edit import Change, diff
from services.planner.spec.hash import spec_hash
from services.planner.spec.path import as_text
from services.planner.vocabulary import Command

NOTICES_MAX = 30
FITS_MAX = 4
"""Estimates of one plan until it fits its deadline; each one cuts what the last left over."""
BASE_PATH = "base_model.id"
DIRECTIONS = {Command.SMALLER_MODEL: "smaller", Command.LARGER_MODEL: "larger"}


@dataclass(frozen=True)
class Draft:
    """A plan in the making."""

    brief: Brief
    """What it was made from."""
    spec: spec_pb2.Spec
    """Complete but for name, revision, hash and notices."""
    notes: Sequence[Note]
    """What has to be pointed out, most serious first."""
    changes: Sequence[Change] = ()
    """What differs from the revision before."""


class Drafts:
    """Makes plans."""

    def __init__(self, sources: SourceReader, scheduler: Scheduler) -> None:
        """Keep where data, models and estimates come from."""
        self._sources = sources
        self._scheduler = scheduler

    async def propose(self, brief: Brief, decision: Decision) -> Draft:
        """Return the first plan for a brief that has a problem.

        Args:
            brief: What is known.
            decision: What follows from it and from its data.

        Raises:
            NotFound: If a dataset does not exist.
            Unavailable: If scheduler or trainer cannot be asked now.
        """
        sources = await self._sources.read(brief.dataset, brief.holdout_dataset)
        spec = propose(brief, sources, decision)
        notes = [*decision.notes, *_plan_notes(spec, brief, sources, decision)]
        notes += check_user_values(spec, sources, brief)
        notes += await self._fit(spec, sources)
        return Draft(brief, spec, once(notes))

    async def refine(
        self,
        known: Brief,
        brief: Brief,
        patch: BriefPatch,
        message: str,
        before: spec_pb2.Spec,
    ) -> Draft:
        """Return the plan after a message that changes it, or that could.

        Args:
            known: What was known without the message.
            brief: What is known, the message included.
            patch: What the message said.
            message: The message itself.
            before: The newest revision.

        Raises:
            NotFound: If a dataset does not exist.
            Unavailable: If scheduler or trainer cannot be asked now.
        """
        sources = await self._sources.read(brief.dataset, brief.holdout_dataset)
        notes: list[Note] = []
        if patch.command in DIRECTIONS:
            found = _stepped(brief, patch, before, sources)
            if found is None:
                notes.append(_no_step(before, patch))
            else:
                patch = replace(patch, base_model=found.id)
                sentences = {**brief.sentences, BASE_PATH: quoted(message)}
                brief = replace(brief, base_model=found.id, sentences=sentences)
        decision = decide(brief, sources.dataset, sources.holdout)
        proposed = propose(brief, sources, decision)
        spec, lost = refined(before, await self._without(known, sources), proposed, patch)
        spec.name, spec.conversation = before.name, before.conversation
        notes += [*decision.notes, *lost, *_plan_notes(spec, brief, sources, decision)]
        notes += check_user_values(spec, sources, brief)
        changes = diff(before, spec)
        if changes and (fitted := await self._fit(spec, sources)):
            notes += fitted
            changes = diff(before, spec)
        notes += notes_on_change(before, spec)
        return Draft(brief, spec, once(notes), changes)

    async def _without(self, known: Brief, sources: Sources) -> spec_pb2.Spec | None:
        """Return what the brief led to before a message; None when it led to nothing."""
        try:
            rows, holdout = await self._sources.rows(known.dataset, known.holdout_dataset)
            earlier = replace(sources, dataset=rows, holdout=holdout)
            return propose(known, earlier, decide(known, rows, holdout))
        except (InvalidArgument, NotFound):
            return None

    async def estimate(self, spec: spec_pb2.Spec) -> None:
        """Write what hardware a plan needs now; its data may be gone.

        Raises:
            Unavailable: If the scheduler cannot be asked now.
        """
        try:
            dataset, _ = await self._sources.rows(spec.data.dataset, "")
        except NotFound:
            dataset = None
        await self.compute(spec, dataset)

    async def compute(self, spec: spec_pb2.Spec, dataset: DatasetFacts | None) -> None:
        """Write what hardware a plan needs; one that trains nothing needs none.

        Raises:
            Unavailable: If the scheduler cannot be asked now.
        """
        spec.ClearField("compute")
        if spec.stages:
            spec.compute.CopyFrom(await self._scheduler.estimate(spec, dataset))

    async def review(self, spec: spec_pb2.Spec, decision: Decision) -> list[Note]:
        """Return what speaks against a plan as it stands."""
        sources = await self._sources.read(spec.data.dataset, spec.data.holdout_dataset)
        notes = [*decision.notes, *check_user_values(spec, sources), *overlap_notes(sources)]
        return once([*notes, *judge_notes(spec, sources.has_judge)])

    async def _fit(self, spec: spec_pb2.Spec, sources: Sources) -> list[Note]:
        """Estimate a plan, and cut what its deadline has no room for (rule R4)."""
        said: list[Note] = []
        for _ in range(FITS_MAX):
            await self.compute(spec, sources.dataset)
            seconds = spec.compute.expected_duration.ToTimedelta().total_seconds()
            fitted, told = fit_deadline(spec, seconds)
            if told is not None:
                said.append(told)
            if fitted is spec:
                break
            spec.CopyFrom(fitted)
        return _merged(said)


def deadline_notes(spec: spec_pb2.Spec) -> list[Note]:
    """Return what to say when an edited plan, which is not corrected, misses its deadline."""
    estimate_s = spec.compute.expected_duration.ToTimedelta().total_seconds()
    if fit_deadline(spec, estimate_s)[1] is None:
        return []
    deadline_s = spec.limits.deadline.ToTimedelta().total_seconds()
    hours = [as_text(round(seconds / 3600, 2)) for seconds in (deadline_s, estimate_s)]
    path = "limits.deadline"
    return [note("deadline_missed", field_path=path, rule="R4", hours=hours[0], estimate=hours[1])]


def overlap_notes(sources: Sources) -> list[Note]:
    """Return what to say when rows were never compared with those that are held out."""
    dataset, holdout = sources.dataset, sources.holdout
    if dataset is None or holdout is None or dataset.holdout_dataset == holdout.name:
        return []
    return [note("overlap_unknown", field_path="data.holdout_dataset")]


def once(notes: Iterable[Note]) -> list[Note]:
    """Return notes without those that say the same of the same field, most serious first."""
    found: dict[tuple[str, str], Note] = {}
    for each in notes:
        found.setdefault((each.code, each.field_path), each)
    return sorted(found.values(), key=lambda each: -each.severity)[:NOTICES_MAX]


def worded(notes: Sequence[Note], language: str) -> list[spec_pb2.Notice]:
    """Return notes as notices in a language, ISO 639-1."""
    return [
        spec_pb2.Notice(
            code=each.code,
            severity=each.severity,
            message=narration.notice_text(each, language),
            field_path=each.field_path,
            rule=each.rule,
        )
        for each in notes
    ]


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
    spec.update_time.CopyFrom(timestamp(now))
    spec.create_time.CopyFrom(before.create_time if before else spec.update_time)
    spec.hash = spec_hash(spec)
    spec.etag = etag(spec)


def etag(spec: spec_pb2.Spec) -> str:
    """Return what changes with every revision and with approval."""
    text = f"{spec.name}/{spec.revision}/{spec.state}/{spec.hash}"
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _merged(said: Sequence[Note]) -> list[Note]:
    """Return one note on what a deadline took, from the first value to the last."""
    if not said:
        return []
    first, last = said[0], said[-1]
    if "before" in first.values and "before" in last.values:
        last = replace(last, values={**last.values, "before": first.values["before"]})
    return [last]


def _plan_notes(
    spec: spec_pb2.Spec, brief: Brief, sources: Sources, decision: Decision
) -> list[Note]:
    """Return what to say about the base model, and about rows that nobody has seen."""
    chosen = choose_base(
        brief,
        decision.task,
        sources.models,
        narrowed=sources.narrowed,
        longest_row_tokens=sources.longest("max_token_count"),
    )
    unseen = spec.data.provisional and spec.stages
    provisional = [note("provisional", field_path="data.dataset", rule="C1")] if unseen else []
    unjudged = judge_notes(spec, sources.has_judge)
    return [*provisional, *unjudged, *chosen.notes, *overlap_notes(sources)]


def _stepped(
    brief: Brief, patch: BriefPatch, before: spec_pb2.Spec, sources: Sources
) -> CatalogueModel | None:
    """Return the next smaller or larger model; None when there is none that fits."""
    assert patch.command is not None
    task, longest = before.objective.task, sources.longest("max_token_count")
    present = next(
        (model for model in sources.models if model.id == before.base_model.id),
        CatalogueModel(
            before.base_model.id,
            before.base_model.licence,
            before.base_model.context_length,
            before.base_model.parameter_count,
            "the plan",
        ),
    )
    direction = cast(Direction, DIRECTIONS[patch.command])
    return step(present, sources.models, direction, needs_of(brief, task, longest))


def _no_step(before: spec_pb2.Spec, patch: BriefPatch) -> Note:
    assert patch.command is not None
    code = f"no_{DIRECTIONS[patch.command]}_model"
    return note(code, field_path=BASE_PATH, model=before.base_model.id)
