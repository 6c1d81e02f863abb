"""Steps 2 to 4 of the demo: the dataset, the talk that ends in a plan, the approval."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from attune.planner.v1 import planner_pb2
from attune.spec.v1 import spec_pb2

from cli.ask import begin, say, show_question
from cli.client import Client
from cli.datasets import require_valid, upload_files
from cli.demo.steps import Steps
from cli.resource_names import short
from cli.spec_reading import read_spec
from cli.specs import approve_spec, confirm_approval
from cli.views.dataset import show_dataset
from cli.views.figures import number
from cli.views.spec import show_spec
from services.common.errors import FailedPrecondition

MESSAGE = (
    "Route our customers' support tickets: read each message and answer with a JSON record of "
    "team, product, priority and order."
)
ANSWER = "At least 80 percent exactly right."
OTHER_ANSWER = "Use what you recommend."
TURNS_MAX = 4


@dataclass(frozen=True)
class Wish:
    """What the demo is to do."""

    dataset: Path
    holdout: Path | None
    message: str
    approve: bool
    """Whether the demo approves by itself."""


async def upload(client: Client, steps: Steps, wish: Wish) -> str:
    """Upload the examples and return the dataset's name."""
    with steps.step("upload dataset", f"Uploading {wish.dataset}") as step:
        stored = await upload_files(client, wish.dataset, wish.holdout)
        show_dataset(steps.screen, stored)
        await require_valid(client, stored)
        step.result = f"{short(stored.name)}, {number(stored.report.row_count)} rows"
    return stored.name


async def plan(client: Client, steps: Steps, wish: Wish, dataset: str) -> spec_pb2.Spec:
    """Talk until there is a plan, show it whole and return it.

    Raises:
        FailedPrecondition: If the planner still asks after four turns.
    """
    with steps.step("agree on a plan", "Talking to the planner") as step:
        conversation = await begin(client)
        message, datasets = wish.message, [dataset]
        for _ in range(TURNS_MAX):
            turn = await _turn(client, steps, conversation, message, datasets)
            if turn.spec:
                break
            message, datasets = _answer(turn, first=message == wish.message), []
        else:
            raise FailedPrecondition(
                f"The planner proposed nothing in {TURNS_MAX} turns. Go on by hand: "
                f'attune ask "..." --conversation {short(conversation)}',
                reason="NO_PLAN",
                conversation=conversation,
            )
        proposed = await read_spec(client, turn.spec)
        show_spec(steps.screen, proposed)
        step.result = f"{short(proposed.name)} revision {proposed.revision}"
    return proposed


async def approve(
    client: Client, steps: Steps, wish: Wish, proposed: spec_pb2.Spec
) -> spec_pb2.Spec:
    """Approve exactly the plan that was shown.

    Raises:
        FailedPrecondition: If a person was asked and said no.
    """
    with steps.step("approve", "Approving") as step:
        if wish.approve:
            steps.screen.say("  The demo approves for you (--approve).")
        else:
            confirm_approval(steps.screen)
        approved = await approve_spec(client, proposed.name, proposed.hash)
        steps.screen.say(f"  Approved by its hash {approved.hash}")
        step.result = f"hash {approved.hash[:12]}"
    return approved


async def _turn(
    client: Client, steps: Steps, conversation: str, message: str, datasets: list[str]
) -> planner_pb2.Turn:
    steps.screen.say(f"  You:    {message}")
    steps.screen.write("  Attune: ")
    turn = await say(client, conversation, message, datasets, steps.screen.write)
    steps.screen.write("\n")
    if turn.HasField("question"):
        show_question(steps.screen, turn.question)
    return turn


def _answer(turn: planner_pb2.Turn, first: bool) -> str:
    """Return what the demo says to a question; the first one is about the target."""
    if first:
        return ANSWER
    options = turn.question.options
    return options[0] if options else OTHER_ANSWER
