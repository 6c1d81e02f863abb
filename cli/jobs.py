"""The commands of `job`: look at jobs, and change what becomes of them."""

from __future__ import annotations

from pathlib import Path

import click
from attune.scheduler.v1 import scheduler_pb2
from attune.trainer.v1 import trainer_pb2

from cli.client import Client, all_pages, new_request_id, with_client
from cli.job_watch import FINAL, watch_job
from cli.options import json_option
from cli.resource_names import PROJECT, short, whole_name
from cli.views.figures import moment, money
from cli.views.job import (
    JobView,
    answers_of,
    asks,
    phase_name,
    position_of,
    question_of,
    show_job,
    state_of,
)
from cli.views.listing import show_list
from cli.views.report import show_report
from cli.views.screen import Screen, json_of, print_json
from services.common.errors import FailedPrecondition, ServiceError
from services.common.peers import call

PRIORITIES = ("low", "normal", "high")


@click.group(epilog="Example:  attune job watch jobs/a01h8c")
def job() -> None:
    """Watch what an approved plan does."""


@job.command("list", epilog="Example:  attune job list --json")
@json_option
def list_jobs(as_json: bool) -> None:
    """List all jobs, newest first: state, place in the queue, likely times, cost so far."""
    request = scheduler_pb2.ListJobsRequest(parent=PROJECT)
    found = with_client(lambda client: all_pages(client.scheduler.ListJobs, request))
    rows = (
        (
            short(one.name),
            one.display_name,
            state_of(one),
            phase_name(one.progress.phase) if one.progress.phase else "-",
            position_of(one),
            moment(one.estimated_start_time) or "-",
            moment(one.estimated_end_time) or moment(one.end_time) or "-",
            money(one.cost_micro_usd),
            short(one.spec),
            moment(one.create_time),
            one.state_reason or "-",
        )
        for one in found.jobs
    )
    headers = (
        "name",
        "plan",
        "state",
        "phase",
        "position",
        "likely start",
        "end",
        "cost",
        "spec",
        "made",
        "why",
    )
    then = ("attune job show NAME", "attune job watch NAME")
    show_list(found, as_json, headers, rows, then, 'attune ask "What I want"')


@job.command(epilog="Example:  attune job show jobs/a01h8c")
@click.argument("name")
@json_option
def show(name: str, as_json: bool) -> None:
    """Show one job: state and why, place in the queue, likely times, cost so far."""
    request = scheduler_pb2.GetJobRequest(name=whole_name("jobs", name))
    found = with_client(lambda client: call(client.scheduler.GetJob, request))
    if as_json:
        print_json(found)
        return
    screen = Screen()
    show_job(screen, found)
    screen.next_steps(*_next_of(found))


@job.command(epilog="Example:  attune job watch jobs/a01h8c")
@click.argument("name")
@json_option
def watch(name: str, as_json: bool) -> None:
    """Follow a job to its end: place in the queue, phase, step, loss, time left, cost so far.

    Ends as well when the job's run asks something, with the two commands that answer it.

    With --json, one line for every change. Exits with 1 unless the job succeeds.
    """
    screen, whole = Screen(as_json), whole_name("jobs", name)

    async def work(client: Client) -> scheduler_pb2.Job:
        last = scheduler_pb2.Job()
        if as_json:
            async for last in watch_job(client, whole):
                print(json_of(last, indent=None), flush=True)
            return last
        with JobView(screen) as view:
            async for last in watch_job(client, whole):
                view.show(last)
        return last

    ended = with_client(work)
    if ended.state != scheduler_pb2.Job.STATE_SUCCEEDED:
        raise why_not(ended)
    if not as_json:
        show_report(screen, ended.result.report)
        screen.next_steps(f"attune job report {name}", "attune model list")


@job.command(epilog="Example:  attune job report jobs/a01h8c --html report.html")
@click.argument("name")
@click.option(
    "--html",
    "html_path",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    help="Write the page with its charts to this file, to look at and to send on.",
)
@json_option
def report(name: str, html_path: Path | None, as_json: bool) -> None:
    """Show what the evaluation of a job found: verdict, scores, kinds of rows, what got worse.

    Written as Markdown. With --json, the figures; with --html, a page for a browser.
    """

    async def work(client: Client) -> trainer_pb2.RunReport:
        request = scheduler_pb2.GetJobRequest(name=whole_name("jobs", name))
        found: scheduler_pb2.Job = await call(client.scheduler.GetJob, request)
        if not found.run:
            raise FailedPrecondition(
                f"{short(found.name)} is {state_of(found)} and has not begun. Wait for it with "
                f"`attune job watch {short(found.name)}`.",
                reason="JOB_NOT_BEGUN",
                job=found.name,
            )
        asked = trainer_pb2.GetReportRequest(name=found.run)
        page: trainer_pb2.RunReport = await call(client.trainer.GetReport, asked)
        return page

    page = with_client(work)
    screen = Screen(as_json)
    if html_path is not None:
        _write(html_path, page.html)
        screen.say(f"Wrote {html_path}; open it in a browser.")
    if as_json:
        print_json(page.report)
    elif html_path is None:
        screen.write(page.markdown)
        screen.next_steps(f"attune job report {name} --html report.html")


@job.command(epilog="Example:  attune job cancel jobs/a01h8c")
@click.argument("name")
@json_option
def cancel(name: str, as_json: bool) -> None:
    """Stop a job; a waiting one never starts."""
    stopped = with_client(lambda client: cancel_job(client, whole_name("jobs", name)))
    if as_json:
        print_json(stopped)
        return
    screen = Screen()
    screen.say(f"{short(stopped.name)} is {state_of(stopped)}.")
    screen.next_steps("attune job list")


@job.command(epilog="Example:  attune job pause jobs/a01h8c")
@click.argument("name")
@json_option
def pause(name: str, as_json: bool) -> None:
    """Let a job rest; a running one halts at its next checkpoint and lets go of its hardware."""
    request = scheduler_pb2.PauseJobRequest(
        name=whole_name("jobs", name), request_id=new_request_id()
    )
    changed = with_client(lambda client: call(client.scheduler.PauseJob, request))
    _tell(changed, as_json, f"attune job resume {short(changed.name)}")


@job.command(epilog="Example:  attune job resume jobs/a01h8c --continue")
@click.argument("name")
@click.option(
    "--continue/--stop",
    "goes_on",
    default=None,
    help="Whether the job goes on or ends. Needed when its run asked something.",
)
@json_option
def resume(name: str, goes_on: bool | None, as_json: bool) -> None:
    """Answer a paused job: it continues from its checkpoint, or ends without a result."""
    decisions = scheduler_pb2.ResumeJobRequest
    request = scheduler_pb2.ResumeJobRequest(
        name=whole_name("jobs", name),
        request_id=new_request_id(),
        decision=decisions.DECISION_UNSPECIFIED
        if goes_on is None
        else decisions.DECISION_CONTINUE
        if goes_on
        else decisions.DECISION_STOP,
    )
    changed = with_client(lambda client: call(client.scheduler.ResumeJob, request))
    then = "attune job list" if changed.state in FINAL else f"attune job watch {short(name)}"
    _tell(changed, as_json, then)


@job.command(epilog="Example:  attune job prioritize jobs/a01h8c high")
@click.argument("name")
@click.argument("priority", type=click.Choice(PRIORITIES))
@json_option
def prioritize(name: str, priority: str, as_json: bool) -> None:
    """Rank a job among those of its project; low ones may have to make room when they run."""
    request = scheduler_pb2.SetJobPriorityRequest(
        name=whole_name("jobs", name),
        priority=scheduler_pb2.Job.Priority.Value(f"PRIORITY_{priority.upper()}"),
        request_id=new_request_id(),
    )
    changed = with_client(lambda client: call(client.scheduler.SetJobPriority, request))
    _tell(changed, as_json, f"attune job show {short(changed.name)}")


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise FailedPrecondition(
            f"{path} cannot be written: {error.strerror}. Name a file in a folder that is there.",
            reason="NOT_WRITABLE",
            path=str(path),
        ) from None


def _tell(changed: scheduler_pb2.Job, as_json: bool, then: str) -> None:
    if as_json:
        print_json(changed)
        return
    screen = Screen()
    screen.say(f"{short(changed.name)} is {state_of(changed)}. {changed.state_reason}".strip())
    screen.next_steps(then)


def _next_of(found: scheduler_pb2.Job) -> list[str]:
    """Return what can be done with a job in its state."""
    name, state = short(found.name), scheduler_pb2.Job
    if asks(found):
        return answers_of(found)
    if found.state == state.STATE_PAUSED:
        return [f"attune job resume {name}", f"attune job cancel {name}"]
    if found.state == state.STATE_SUCCEEDED:
        return [f"attune job report {name}", "attune model list"]
    if found.state in FINAL:
        return ["attune job list"]
    return [f"attune job watch {name}", f"attune job pause {name}"]


async def cancel_job(client: Client, name: str) -> scheduler_pb2.Job:
    """Ask a job to stop and return it."""
    request = scheduler_pb2.CancelJobRequest(name=name, request_id=new_request_id())
    stopped: scheduler_pb2.Job = await call(client.scheduler.CancelJob, request)
    return stopped


def why_not(ended: scheduler_pb2.Job) -> ServiceError:
    """Return the error that says why a job has no result."""
    if asks(ended):
        return FailedPrecondition(
            f"{short(ended.name)} asks: {question_of(ended)} Answer with "
            f"`{'` or `'.join(answers_of(ended))}`.",
            reason="JOB_ASKS",
            job=ended.name,
        )
    reason = ended.error.message or ended.state_reason or "no reason was given"
    return FailedPrecondition(
        f"{short(ended.name)} is {state_of(ended)}: {reason}",
        reason="JOB_WITHOUT_RESULT",
        job=ended.name,
    )
