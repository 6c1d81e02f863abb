"""One turn of a conversation: read, decide, propose, estimate, word, keep."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from attune.planner.v1 import planner_pb2
from attune.spec.v1 import spec_pb2

from services.common.clock import Clock, new_id
from services.common.errors import InvalidArgument, invalid
from services.planner import narrator, wire
from services.planner.attachment import assign
from services.planner.brief import Brief, BriefPatch
from services.planner.conversation_store import ConversationStore, check_room
from services.planner.peers import Scheduler
from services.planner.plan.notes import plan_notes
from services.planner.plan.policy import Question, is_ready, next_question
from services.planner.plan.propose import propose
from services.planner.plan.stages import Sources
from services.planner.reading.interpreter import Interpreter
from services.planner.revision import stamp
from services.planner.source_reader import SourceReader
from services.planner.spec.edit import carry_over, diff
from services.planner.spec.rules import violations
from services.planner.spec_store import SpecStore
from services.planner.store import Store


@dataclass(frozen=True)
class Outcome:
    """What a message leads to."""

    brief: Brief
    """What is known afterwards."""
    reply: str
    """What is said."""
    question: Question | None = None
    """What is asked."""
    spec: spec_pb2.Spec | None = None
    """The revision that was made."""


@dataclass(frozen=True)
class Situation:
    """What a message meets."""

    project: str
    conversation: str
    patch: BriefPatch
    known: Brief
    """What was known."""
    brief: Brief
    """What is known, this message included."""
    before: spec_pb2.Spec | None
    """The newest revision of the conversation's spec, if there is one."""
    has_new_data: bool
    notes: tuple[str, ...]


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
        self._scheduler = scheduler
        self._clock = clock

    async def answer(self, request: planner_pb2.SendMessageRequest) -> planner_pb2.Turn:
        """Return the turn, or the one that the same request made before.

        Raises:
            InvalidArgument: If a field of the request breaks its rule.
            NotFound: If conversation or dataset do not exist.
            Unavailable: If scheduler or trainer cannot be asked now; nothing is kept.
        """
        found = await self._store.find_answer(request, planner_pb2.Turn)
        if found is not None:
            return found
        project = wire.check_send_message(request)
        row = await self._conversations.get(request.conversation)
        check_room(row)
        known = Brief.from_json(row.brief)
        patch = self._interpreter.read(request.message, known)
        brief, notes = known.apply(patch, request.message), patch.notes
        if request.datasets:
            attached = [await self._sources.dataset(name) for name in request.datasets]
            parts = assign(attached)
            brief = brief.with_data(parts.dataset, parts.holdout_dataset)
            notes += parts.notes
        before = await self._specs.get(row.spec) if row.spec else None
        situation = Situation(
            project, row.name, patch, known, brief, before, bool(request.datasets), notes
        )
        outcome = await self._decide(situation)
        now = self._clock.now()
        turn = planner_pb2.Turn(
            turn_index=row.turn_count,
            message=request.message,
            reply=outcome.reply,
            question=wire.question_to_proto(outcome.question) if outcome.question else None,
            spec=outcome.spec.name if outcome.spec else "",
            spec_revision=outcome.spec.revision if outcome.spec else 0,
            create_time=wire.timestamp(now),
        )
        return await self._conversations.add_turn(
            request, row, outcome.brief.to_json(), turn, outcome.spec, before, now
        )

    async def _decide(self, situation: Situation) -> Outcome:
        brief, before, notes = situation.brief, situation.before, situation.notes
        if before is None:
            if question := next_question(brief):
                reply = narrator.ask(question, notes)
                return Outcome(brief.asked(question.field_path), reply, question)
            if not is_ready(brief):
                return Outcome(brief, narrator.lacking(bool(brief.problem), notes))
            return await self._plan(situation)
        patch = situation.patch
        if not (patch.paths or patch.technique or situation.has_new_data):
            if patch.agreement is None:
                return Outcome(brief, narrator.unchanged(notes))
            reply = narrator.agree(before) if patch.agreement else narrator.wait()
            return Outcome(brief, reply)
        return await self._plan(situation)

    async def _plan(self, situation: Situation) -> Outcome:
        before = situation.before
        sources = await self._sources.read(situation.brief.dataset, situation.brief.holdout_dataset)
        brief, spec, refused = _propose(situation.brief, situation.known, sources)
        notes = [*situation.notes, *refused]
        now = self._clock.now()
        spec.conversation = situation.conversation
        if before is None:
            spec.name = f"projects/{situation.project}/specs/{new_id(now)}"
            notes += plan_notes(brief, sources)
        else:
            spec.name = before.name
            carry_over(before, spec, situation.patch.paths)
            if broken := violations(spec):
                raise invalid(broken)
            if situation.has_new_data or situation.patch.technique:
                notes += plan_notes(brief, sources)
        changes = diff(before, spec) if before else []
        if before is not None and not changes:
            return Outcome(brief, narrator.unchanged(notes))
        spec.compute.CopyFrom(await self._scheduler.estimate(spec, sources.dataset))
        stamp(spec, before, now)
        reply = narrator.refine(spec, changes, notes) if before else narrator.present(spec, notes)
        return Outcome(brief, reply, spec=spec)


def _propose(
    brief: Brief, known: Brief, sources: Sources
) -> tuple[Brief, spec_pb2.Spec, Sequence[str]]:
    """Return the plan, and what had to be left out of the brief because it breaks a rule.

    What the message says is taken back first; if the rest does not fit either, as a length that
    suited another base model, all that was ever said about these fields is.
    """
    notes: list[str] = []
    for earlier in (known, Brief()):
        try:
            return brief, propose(brief, sources), notes
        except InvalidArgument as error:
            brief = brief.without([each.field for each in error.violations], earlier)
            notes += [f"I did not change {each.field}: {each.message}" for each in error.violations]
    return brief, propose(brief, sources), notes
