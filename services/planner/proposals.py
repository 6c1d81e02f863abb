"""A complete plan in one call, from a dataset, an objective, or both."""

from __future__ import annotations

from dataclasses import replace

from attune.planner.v1 import planner_pb2
from attune.spec.v1 import spec_pb2

from services.common.clock import Clock, new_id
from services.common.errors import FailedPrecondition
from services.planner import wire
from services.planner.attachment import assign
from services.planner.brief import PROBLEM_PATH, Brief
from services.planner.drafts import Drafts, stamp, worded
from services.planner.interpretation import Interpreter, interpret
from services.planner.peers import Scheduler
from services.planner.plan.decision import decide
from services.planner.reading.interpreter import PROBLEM_CHARACTERS_MAX
from services.planner.row_objective import from_rows, read_objective
from services.planner.source_reader import SourceReader
from services.planner.spec_store import SpecStore
from services.planner.store import Store
from services.planner.vocabulary import Signal

NO_OBJECTIVE = {Signal.ASKS_CAPABILITY, Signal.HARMFUL, Signal.OUT_OF_SCOPE}


class Proposals:
    """Makes plans without a conversation."""

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
        self._specs = SpecStore(store)
        self._interpreter = interpreter
        self._sources = sources
        self._drafts = Drafts(sources, scheduler)
        self._clock = clock

    async def propose(self, request: planner_pb2.ProposeSpecRequest) -> spec_pb2.Spec:
        """Return the plan, or the one that the same request made before.

        Raises:
            InvalidArgument: If a field breaks its rule, or there is neither dataset nor objective.
            NotFound: If a dataset does not exist.
            FailedPrecondition: If no plan may exist for this objective (rule V1).
            Unavailable: If scheduler or trainer cannot be asked now; nothing is kept.
        """
        found = await self._store.find_answer(request, spec_pb2.Spec)
        if found is not None:
            return found
        project = wire.check_propose_spec(request)
        brief = await self._read(request)
        dataset, holdout = await self._sources.rows(brief.dataset, brief.holdout_dataset)
        shown = dataset is not None and not brief.problem
        if dataset is not None:
            brief = from_rows(brief, dataset)
        decision = decide(brief, dataset, holdout)
        if decision.recommendation is None:
            raise FailedPrecondition(
                f"There is no plan for this: {decision.reason} Say what a language model should "
                "do: what goes in, and what comes out.",
                reason="NO_PLAN_POSSIBLE",
                rule=decision.rules[0],
                why=decision.reason,
            )
        draft = await self._drafts.propose(brief, decision)
        spec, now = draft.spec, self._clock.now()
        if shown and dataset is not None:
            _tell_origin(spec, read_objective(dataset).origin)
        spec.name = f"projects/{project}/specs/{new_id(now)}"
        spec.notices.extend(worded(draft.notes, brief.language))
        stamp(spec, None, now)
        return await self._specs.create(request, spec, brief.to_json(), now)

    async def _read(self, request: planner_pb2.ProposeSpecRequest) -> Brief:
        brief = Brief()
        if request.objective.strip():
            patch = await interpret(self._interpreter, request.objective, brief)
            brief = brief.apply(patch, request.objective)
            if not (brief.problem or brief.signals & NO_OBJECTIVE):
                # Nobody can be asked, so whatever was said is the problem.
                said = " ".join(request.objective.split())[:PROBLEM_CHARACTERS_MAX]
                brief = replace(brief, problem=said)
        if request.datasets:
            parts = assign([await self._sources.dataset(name) for name in request.datasets])
            brief = brief.with_data(parts.dataset, parts.holdout_dataset)
        return brief


def _tell_origin(spec: spec_pb2.Spec, origin: str) -> None:
    """Write that the problem was read from the rows, and said by nobody."""
    for choice in spec.choices:
        if choice.field_path == PROBLEM_PATH:
            choice.source, choice.origin = spec_pb2.Choice.SOURCE_DATA, origin
