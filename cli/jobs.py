"""The commands `job list`, `watch` and `cancel`."""

from __future__ import annotations

import click
from attune.scheduler.v1 import scheduler_pb2

from cli.client import Client, all_pages, new_request_id, with_client
from cli.job_watch import watch_job
from cli.options import json_option
from cli.resource_names import PROJECT, short, whole_name
from cli.views.figures import moment
from cli.views.job import JobView, phase_name, state_of
from cli.views.listing import show_list
from cli.views.report import show_report
from cli.views.screen import Screen, json_of, print_json
from services.common.errors import FailedPrecondition, ServiceError
from services.common.peers import call


@click.group(epilog="Example:  attune job watch jobs/a01h8c")
def job() -> None:
    """Watch what an approved plan does."""


@job.command("list", epilog="Example:  attune job list --json")
@json_option
def list_jobs(as_json: bool) -> None:
    """List all jobs, newest first."""
    request = scheduler_pb2.ListJobsRequest(parent=PROJECT)
    found = with_client(lambda client: all_pages(client.scheduler.ListJobs, request))
    rows = (
        (
            short(one.name),
            one.display_name,
            state_of(one),
            phase_name(one.progress.phase) if one.progress.phase else "-",
            short(one.spec),
            moment(one.create_time),
        )
        for one in found.jobs
    )
    headers = ("name", "plan", "state", "phase", "spec", "made")
    then = ("attune job watch NAME",)
    show_list(found, as_json, headers, rows, then, 'attune ask "What I want"')


@job.command(epilog="Example:  attune job watch jobs/a01h8c")
@click.argument("name")
@json_option
def watch(name: str, as_json: bool) -> None:
    """Follow a job to its end: phase, step, loss and the time left.

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
        screen.next_steps("attune model list")


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


async def cancel_job(client: Client, name: str) -> scheduler_pb2.Job:
    """Ask a job to stop and return it."""
    request = scheduler_pb2.CancelJobRequest(name=name, request_id=new_request_id())
    stopped: scheduler_pb2.Job = await call(client.scheduler.CancelJob, request)
    return stopped


def why_not(ended: scheduler_pb2.Job) -> ServiceError:
    """Return the error that says why a job has no result."""
    reason = ended.error.message or ended.state_reason or "no reason was given"
    return FailedPrecondition(
        f"{short(ended.name)} is {state_of(ended)}: {reason}",
        reason="JOB_WITHOUT_RESULT",
        job=ended.name,
    )
