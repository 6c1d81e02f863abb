"""The command `demo`: the whole way once, for real."""

from __future__ import annotations

import asyncio
from pathlib import Path

import click
from attune.serving.v1 import model_pb2

from cli.client import Client
from cli.demo.plan import MESSAGE, Wish, approve, plan, upload
from cli.demo.report import Outcome, failed_conditions, outcome_json, show_outcome
from cli.demo.serving import (
    Chat,
    call_deployed,
    compare,
    deploy,
    example_chats,
    prove,
    unseen_chats,
)
from cli.demo.steps import Steps
from cli.demo.training import train
from cli.home import Home, write_whole
from cli.launcher.bring_up import Running, bring_up, ending_when_interrupted
from cli.options import model_option, port_base_option
from cli.specs import check_somebody_can_approve
from cli.views.screen import Screen
from services.common.errors import FailedPrecondition, InvalidArgument

EXAMPLE = Path(__file__).parents[2] / "examples" / "support-tickets"
ALIAS = "support-tickets"


@click.command("demo", epilog="Example:  attune demo --approve --json outcome.json")
@click.option("--approve", "approve_for_me", is_flag=True, help="Approve the plan without asking.")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write the outcome.")
@model_option
@click.option("--dataset", type=click.Path(path_type=Path), help="Your rows to learn from.")
@click.option("--holdout", type=click.Path(path_type=Path), help="Your rows to judge on.")
@click.option("--message", default=MESSAGE, help="What is said to the planner.")
@port_base_option
def demo(
    approve_for_me: bool,
    json_file: Path | None,
    model: str,
    dataset: Path | None,
    holdout: Path | None,
    message: str,
    port_base: int | None,
) -> None:
    """Go the whole way, from a sentence to a deployed model.

    Starts what does not run yet and leaves it running. Exits with 0 only if the tuned model beats
    the base, the few-shot prompt and the most frequent answer, and gets 60 % exactly right.
    """
    if not approve_for_me:
        check_somebody_can_approve("--approve")
    if holdout is not None and dataset is None:
        raise InvalidArgument("--holdout goes with --dataset. Give both.", reason="NO_DATASET")
    wish = Wish(
        dataset=dataset or EXAMPLE / "train.jsonl",
        holdout=holdout if dataset else EXAMPLE / "holdout.jsonl",
        message=message,
        approve=approve_for_me,
    )
    home, steps = Home.read(), Steps(Screen())
    with steps.step("start", "Starting what does not run yet") as step:
        running = bring_up(home, model, port_base, steps.screen)
        step.result = "started" if running.anew else "ran already"
    with ending_when_interrupted(home, running.anew):
        outcome = asyncio.run(_journey(steps, running, wish))
        alias = outcome.deployment.name.rsplit("/", 1)[1]
        chat = _chats(wish, outcome.version)[0]
        call_deployed(steps, outcome.deployment.endpoint, alias, chat)
    show_outcome(outcome, steps, chat)
    if json_file is not None:
        write_whole(json_file, outcome_json(outcome, steps))
    failed = failed_conditions(outcome.job.result.report)
    if failed:
        raise FailedPrecondition(
            "The demo did not pass: " + "; ".join(failed) + ".", reason="DEMO_FAILED"
        )


async def _journey(steps: Steps, running: Running, wish: Wish) -> Outcome:
    async with Client(running.endpoints) as client:
        dataset = await upload(client, steps, wish)
        proposed = await plan(client, steps, wish, dataset)
        approved = await approve(client, steps, wish, proposed)
        job, run = await train(client, steps, approved)
        version = await prove(client, steps, job.name, running.launch)
        comparisons = await compare(client, steps, version, _chats(wish, version))
        alias = approved.serving.alias or ALIAS
        deployment = await deploy(client, steps, version, alias)
    return Outcome(job, run, version, deployment, comparisons, running.endpoints)


def _chats(wish: Wish, version: model_pb2.ModelVersion) -> list[Chat]:
    return unseen_chats(wish.holdout) if wish.holdout else example_chats(version)
