"""One turn of a conversation: read, decide, ask or propose, estimate, word, keep."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from attune.planner.v1 import planner_pb2
from attune.spec.v1 import spec_pb2

from services.common.clock import Clock, new_id
from services.common.wire_time import timestamp
from services.planner import narration, wire
from services.planner.attachment import assign
from services.planner.brief import Brief, BriefPatch
from services.planner.changes import to_proto
from services.planner.conversation_store import ConversationRow, ConversationStore
from services.planner.dataset.facts import DatasetFacts
from services.planner.drafts import DIRECTIONS, Draft, Drafts, stamp, worded
from services.planner.interpretation import Interpreter, interpret
from services.planner.peers import Scheduler
from services.planner.plan.choice import place
from services.planner.plan.decision import Decision, decide
from services.planner.plan.notices import Note, note
from services.planner.plan.policy import Question, next_question
from services.planner.refinement import restored
from services.planner.row_objective import from_rows
from services.planner.source_reader import SourceReader
from services.planner.spec.edit import Change, diff
from services.planner.spec.scale import scale
from services.planner.spec_store import SpecStore
from services.planner.store import Store
from services.planner.vocabulary import Command

REFUSALS = frozenset({"harmful_declined", "out_of_scope"})
REVISIONS_MAX = 1000
"""Revisions that going back looks through; a conversation makes at most 200."""


@dataclass(frozen=True)
class Met:
    """What a message meets."""

    project: str
    conversation: str
    message: str
    patch: BriefPatch
    known: Brief
    """What was known."""
    brief: Brief
    """What is known, this message included."""
    before: spec_pb2.Spec | None
    """The newest revision of the conversation's spec, if there is one."""
    dataset: DatasetFacts | None
    """The rows to learn from."""
    holdout: DatasetFacts | None
    """The rows that are held out."""
    remarks: tuple[str, ...]
    """Sentences about the message itself; empty unless the reply is in English."""

    @property
    def language(self) -> str:
        """Language of the reply, ISO 639-1."""
        return self.brief.language

    @property
    def known_here(self) -> Brief:
        """What was known, in the language of the message."""
        return replace(self.known, language=self.brief.language)

    @cached_property
    def decision(self) -> Decision:
        """What follows from the brief and the data."""
        return decide(self.brief, self.dataset, self.holdout)

    @property
    def tells_something(self) -> bool:
        """Whether the message adds to what is known."""
        return _facts(self.brief) != _facts(self.known)


@dataclass(frozen=True)
class Outcome:
    """What a message leads to."""

    brief: Brief
    """What is known afterwards."""
    reply: str
    """What is said."""
    notes: Sequence[Note] = ()
    """What is pointed out."""
    question: Question | None = None
    """What is asked."""
    spec: spec_pb2.Spec | None = None
    """The revision that was made."""
    changes: Sequence[Change] = ()
    """What it changes."""
    withdrawn: bool = False
    """Whether the conversation has no plan any more."""


class Dialogue:
    """Answers messages."""

    def __init__(
        self,
        store: Store,
        interpreter: Interpreter,
        sources: SourceReader,
        scheduler: Scheduler,
        clock: Clock,
    ) -> None:
        """Keep the stores and peers."""
        self._store = store
        self._conversations = ConversationStore(store)
        self._specs = SpecStore(store)
        self._interpreter = interpreter
        self._sources = sources
        self._drafts = Drafts(sources, scheduler)
        self._clock = clock

    async def answer(self, request: planner_pb2.SendMessageRequest) -> planner_pb2.Turn:
        """Return the turn, or the one that the same request made before.

        Raises:
            InvalidArgument: If a field of the request breaks its rule.
            NotFound: If conversation or dataset do not exist.
            Unavailable: If scheduler or trainer cannot be asked now, or a dataset's report takes
                long; nothing is kept.
        """
        found = await self._store.find_answer(request, planner_pb2.Turn)
        if found is not None:
            return found
        project = wire.check_send_message(request)
        row = await self._conversations.get(request.conversation)
        await self._conversations.check_room(row)
        met = await self._meet(request, row, project)
        outcome = await self._lead(met)
        now = self._clock.now()
        turn = planner_pb2.Turn(
            turn_index=row.turn_count,
            message=request.message,
            reply=outcome.reply,
            notices=worded(outcome.notes, met.language),
            language=met.language,
            create_time=timestamp(now),
        )
        if outcome.question is not None:
            turn.question.CopyFrom(_question_to_proto(outcome.question, met.language))
        if outcome.spec is not None:
            turn.spec, turn.spec_revision = outcome.spec.name, outcome.spec.revision
            turn.changes.extend(to_proto(outcome.changes))
        return await self._conversations.add_turn(
            request,
            row,
            outcome.brief.to_json(),
            turn,
            outcome.spec,
            met.before,
            now,
            withdrawn=outcome.withdrawn,
        )

    async def _meet(
        self, request: planner_pb2.SendMessageRequest, row: ConversationRow, project: str
    ) -> Met:
        known = Brief.from_json(row.brief)
        patch = await interpret(self._interpreter, request.message, known)
        before = await self._specs.get(row.spec) if row.spec else None
        if before is not None and patch.factors:
            patch = replace(patch, overrides={**scale(before, patch.factors), **patch.overrides})
        brief, said = known.apply(patch, request.message), patch.notes
        if patch.parameters_max_b is not None and patch.base_model is None:
            # A size that is named later opens the choice again.
            brief = replace(brief, base_model="")
        if request.datasets:
            attached = [await self._sources.dataset(name) for name in request.datasets]
            parts = assign(attached)
            brief, said = brief.with_data(parts.dataset, parts.holdout_dataset), said + parts.notes
        dataset, holdout = await self._sources.rows(brief.dataset, brief.holdout_dataset)
        return Met(
            project,
            row.name,
            request.message,
            patch,
            known,
            brief,
            before,
            dataset,
            holdout,
            said if brief.language == "en" else (),
        )

    async def _lead(self, met: Met) -> Outcome:
        if met.decision.recommendation is None:
            return _without_plan(met)
        if met.before is None:
            return await self._begin(met)
        command, patch = met.patch.command, met.patch
        if command is Command.RESTORE:
            return await self._restore(met, met.before)
        # A question changes nothing (rule R3), whatever was noticed beside it.
        asks = command in (Command.EXPLAIN, Command.EXPERT_REVIEW)
        sets_values = bool(patch.paths or patch.criteria or patch.criteria_removed)
        if command in DIRECTIONS or (met.tells_something and (sets_values or not asks)):
            return await self._refine(met, met.before)
        return await self._remark(met, met.before)

    async def _begin(self, met: Met) -> Outcome:
        """Ask what is missing, or propose."""
        decision, brief, language = met.decision, met.brief, met.language
        if met.patch.command is not Command.PROPOSE_NOW:
            question = next_question(brief, decision, met.dataset)
            if question is not None:
                reply = narration.ask(question, [*met.remarks, *decision.notes], language)
                asked = brief.asked(question.field_path)
                return Outcome(asked, reply, decision.notes, question)
        if not brief.problem:
            if met.dataset is None:
                reply = narration.lacking("objective", decision.notes, language)
                return Outcome(brief, reply, decision.notes)
            brief = from_rows(brief, met.dataset)
            decision = decide(brief, met.dataset, met.holdout)
        draft = await self._drafts.propose(brief, decision)
        name = f"projects/{met.project}/specs/{new_id(self._clock.now())}"
        self._name(draft, met, name, None)
        return Outcome(
            _without_refused(met, draft),
            narration.present(draft.spec, [*met.remarks, *draft.notes], language),
            draft.notes,
            spec=draft.spec,
        )

    async def _refine(self, met: Met, before: spec_pb2.Spec) -> Outcome:
        """Change what the message touches, and nothing else."""
        language, command = met.language, met.patch.command
        draft = await self._drafts.refine(met.known, met.brief, met.patch, met.message, before)
        known = {(each.code, each.field_path) for each in before.notices}
        notes = [each for each in draft.notes if (each.code, each.field_path) not in known]
        explanation = ""
        if command is Command.EXPLAIN:
            notes.append(note("reason_given"))
            explained = draft.spec if draft.changes else before
            explanation = narration.explain(explained, met.patch.explain_paths, language)
        brief = _without_refused(met, draft)
        if not draft.changes:
            if command is Command.COMPARE_TECHNIQUE:
                brief = replace(brief, technique=met.known.technique)
            if explanation:
                return Outcome(brief, explanation, notes)
            if met.patch.agreement and not notes:
                return Outcome(brief, narration.agree(before, language))
            return Outcome(brief, narration.unchanged([*met.remarks, *notes], language), notes)
        self._name(draft, met, before.name, before)
        reply = narration.refine(draft.spec, draft.changes, [*met.remarks, *notes], language)
        if explanation:
            reply = f"{reply}\n{explanation}"
        return Outcome(brief, reply, notes, spec=draft.spec, changes=draft.changes)

    async def _restore(self, met: Met, before: spec_pb2.Spec) -> Outcome:
        """Bring the decisions of an earlier revision back, and what was known then."""
        earlier = await self._earlier(before, met.patch.restore_revision or -1)
        if earlier is None or earlier.hash == before.hash:
            return Outcome(met.known_here, narration.unchanged((), met.language))
        spec = restored(earlier, before)
        changes = diff(before, spec)
        await self._drafts.estimate(spec)
        stamp(spec, before, self._clock.now())
        then = await self._specs.brief(before.name, earlier.revision)
        brief = Brief.from_json(then) if then else met.known
        talk = met.known_here
        brief = replace(
            brief, language=talk.language, questions=talk.questions, answers=talk.answers
        )
        reply = narration.restored(spec, changes, met.language)
        if not (paths := met.patch.explain_paths):
            return Outcome(brief, reply, spec=spec, changes=changes)
        reply = f"{reply}\n{narration.explain(spec, paths, met.language)}"
        return Outcome(brief, reply, [note("reason_given")], spec=spec, changes=changes)

    async def _earlier(self, before: spec_pb2.Spec, revision: int) -> spec_pb2.Spec | None:
        """Return the revision that is meant; -1 is the last one that decided something else."""
        found = await self._specs.list_revisions(before.name, before.revision, REVISIONS_MAX)
        if revision > 0:
            return next((spec for spec in found if spec.revision == revision), None)
        return next((spec for spec in found if spec.hash != before.hash), None)

    async def _remark(self, met: Met, before: spec_pb2.Spec) -> Outcome:
        """Answer what changes nothing: a question, a yes, a no."""
        language, brief, patch = met.language, met.known_here, met.patch
        if patch.command is Command.EXPLAIN:
            reply = narration.explain(before, patch.explain_paths, language)
            return Outcome(brief, reply, [note("reason_given")])
        if patch.command is Command.EXPERT_REVIEW:
            notes = await self._drafts.review(before, met.decision)
            return Outcome(brief, narration.expert_review(before, notes, language), notes)
        if patch.agreement is None:
            return Outcome(met.brief, narration.unchanged(met.remarks, language))
        reply = narration.agree(before, language) if patch.agreement else narration.wait(language)
        return Outcome(met.brief, reply)

    def _name(self, draft: Draft, met: Met, name: str, before: spec_pb2.Spec | None) -> None:
        """Make a draft a revision of this conversation's spec."""
        draft.spec.name, draft.spec.conversation = name, met.conversation
        draft.spec.notices.extend(worded(draft.notes, met.language))
        stamp(draft.spec, before, self._clock.now())


def _without_plan(met: Met) -> Outcome:
    """Decline, or ask what is wanted (rule V1)."""
    decision, language = met.decision, met.language
    question = next_question(met.brief, decision, met.dataset)
    if question is not None and met.before is None:
        reply = narration.ask(question, decision.notes, language)
        return Outcome(met.brief.asked(question.field_path), reply, decision.notes, question)
    reply = narration.decline(decision, decision.notes, language)
    refused = any(each.code in REFUSALS for each in decision.notes)
    return Outcome(met.brief, reply, decision.notes, withdrawn=refused)


def _without_refused(met: Met, draft: Draft) -> Brief:
    """Return what is known without wishes that were refused, so that they are refused once."""
    refused = {each.field_path for each in draft.notes if each.code == "user_value_rejected"}
    refused |= {
        each.field_path
        for each in draft.notes
        if each.code == "conflict_named" and each.field_path == "base_model.id"
    }
    techniques = [stage.technique for stage in draft.spec.stages]
    paths = {path for path in met.patch.paths if place(path, techniques) in refused}
    return draft.brief.without(paths, met.known) if paths else draft.brief


def _facts(brief: Brief) -> Brief:
    """Return what is known of the task, without what is known of the talk."""
    return replace(brief, language="", sentences={}, answers={}, questions=())


def _question_to_proto(question: Question, language: str) -> planner_pb2.Question:
    text, reason, options = narration.question_text(question, language)
    return planner_pb2.Question(
        field_path=question.field_path, text=text, reason=reason, options=options
    )
