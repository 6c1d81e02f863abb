"""Shows a job as it goes: in place on a terminal, as plain lines elsewhere."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self

from attune.scheduler.v1 import scheduler_pb2
from attune.spec.v1 import evaluation_pb2, stage_pb2
from rich.live import Live
from rich.table import Table
from rich.text import Text

from cli.resource_names import short
from cli.views.figures import bar, moment, money, number, seconds_of, span, words
from cli.views.screen import Screen

LINE_EVERY_S = 5.0
"""How often a plain line tells of progress within a phase."""
PHASES = (
    scheduler_pb2.PHASE_VALIDATE,
    scheduler_pb2.PHASE_BASELINE,
    scheduler_pb2.PHASE_TRAIN,
    scheduler_pb2.PHASE_EVALUATE,
    scheduler_pb2.PHASE_REGISTER,
)
LEASED = (
    scheduler_pb2.Job.STATE_RUNNING,
    scheduler_pb2.Job.STATE_CANCELLING,
    scheduler_pb2.Job.STATE_PAUSING,
    scheduler_pb2.Job.STATE_YIELDING,
)


class JobView:
    """One job on a screen, for as long as it is watched."""

    def __init__(self, screen: Screen) -> None:
        """Keep the screen; nothing is shown yet."""
        self._screen = screen
        self._live = Live(console=screen.console, auto_refresh=False) if screen.live else None
        self._last = ("", 0, 0)
        self._told = 0.0

    def __enter__(self) -> Self:
        """Begin."""
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End, and leave the last picture standing."""
        if self._live is not None:
            self._live.stop()

    def show(self, job: scheduler_pb2.Job) -> None:
        """Show the job as it is now."""
        if self._live is not None:
            self._live.update(_picture(job), refresh=True)
            return
        key = (state_of(job), int(job.stage_index), int(job.progress.phase))
        now = time.monotonic()
        if key != self._last or now - self._told >= LINE_EVERY_S:
            self._last, self._told = key, now
            self._screen.say("  " + progress_line(job))


def progress_line(job: scheduler_pb2.Job) -> str:
    """Return state, phase, how far, loss and the estimate of the time left, on one line."""
    parts = [state_of(job), stage_of(job)]
    progress = job.progress
    if job.state in LEASED:
        if progress.phase:
            parts.append(phase_name(progress.phase))
            parts.append(_count(progress))
        if progress.HasField("loss"):
            parts.append(f"loss {progress.loss:.4f}")
        if progress.HasField("remaining_duration"):
            parts.append(f"about {span(seconds_of(progress.remaining_duration))} left")
        if job.attempt_count > 1:
            parts.append(f"attempt {job.attempt_count}")
        if job.cost_micro_usd:
            parts.append(f"{money(job.cost_micro_usd)} so far")
    else:
        if job.queue_position:
            parts.append(f"position {number(job.queue_position)}")
        if job.HasField("estimated_start_time"):
            parts.append(start_of(job))
        if job.state_reason:
            parts.append(job.state_reason)
    return " · ".join(part for part in parts if part)


def state_of(job: scheduler_pb2.Job) -> str:
    """Return a job's state in words."""
    return words(scheduler_pb2.Job.State.Name(job.state), "STATE_")


def stage_of(job: scheduler_pb2.Job) -> str:
    """Return which stage a job is at, as `stage 2 of 2 (DPO)`; empty for a job of one stage."""
    if len(job.stages) < 2:
        return ""
    technique = technique_of(job.stages[job.stage_index])
    return f"stage {job.stage_index + 1} of {len(job.stages)} ({technique})"


def technique_of(stage: scheduler_pb2.JobStage) -> str:
    """Return a stage's technique, as `DPO`."""
    return stage_pb2.Technique.Name(stage.technique).removeprefix("TECHNIQUE_")


def position_of(job: scheduler_pb2.Job) -> str:
    """Return a job's position in the queue, or a dash when it does not wait."""
    return number(job.queue_position) if job.queue_position else "-"


def start_of(job: scheduler_pb2.Job) -> str:
    """Return when a job starts, as what it was told: promised or likely."""
    sure = "starts by" if job.start_promised else "likely to start at"
    return f"{sure} {moment(job.estimated_start_time)}"


def show_job(screen: Screen, job: scheduler_pb2.Job) -> None:
    """Show all that a person may want to know of one job."""
    why = "" if asks(job) else job.state_reason  # It is the question, which stands below.
    rows = [("state", state_of(job)), ("why", why), ("stage", stage_of(job))]
    rows += [("", ended) for ended in _ended_stages(job)]
    if job.HasField("question"):
        rows.append(("asks" if asks(job) else "asked", question_of(job)))
    if job.waived_reasons:
        rows.append(("goes on despite", ", ".join(words(one, "") for one in job.waived_reasons)))
    if job.queue_position:
        rows.append(("position", position_of(job)))
    if job.HasField("estimated_start_time"):
        rows.append(("start", start_of(job)))
    if job.HasField("estimated_end_time"):
        rows.append(("likely end", moment(job.estimated_end_time)))
    if job.state in LEASED and job.progress.phase:
        rows.append(("progress", progress_line(job)))
    priority = words(scheduler_pb2.Job.Priority.Name(job.priority), "PRIORITY_")
    rows += [
        ("priority", priority if job.priority else ""),
        ("cost so far", money(job.cost_micro_usd)),
        ("attempts", number(job.attempt_count)),
        ("made", moment(job.create_time)),
        ("started", moment(job.start_time)),
        ("ended", moment(job.end_time)),
    ]
    screen.say(f"{short(job.name)}  {job.display_name}".rstrip(), "bold")
    rows += [("ran out", told) for told in job.memory_shortages]
    screen.table(("", ""), [row for row in rows if row[1]])


def asks(job: scheduler_pb2.Job) -> bool:
    """Return whether a job rests until a person has answered its run."""
    return job.state == scheduler_pb2.Job.STATE_PAUSED and job.HasField("question")


def question_of(job: scheduler_pb2.Job) -> str:
    """Return what a job's run asks, with its figures."""
    figures = ", ".join(f"{words(one.name, '')} {one.value:.4g}" for one in job.question.figures)
    return f"{job.question.message} ({figures})" if figures else job.question.message


def answers_of(job: scheduler_pb2.Job) -> list[str]:
    """Return the two commands that answer a job."""
    command = f"attune job resume {short(job.name)}"
    return [f"{command} --continue", f"{command} --stop"]


def _ended_stages(job: scheduler_pb2.Job) -> list[str]:
    """Return what each stage that ended has made, beside what it began with."""
    if len(job.stages) < 2:
        return []
    found = []
    for position, stage in enumerate(job.stages, 1):
        if stage.adapter_sha256:
            verdict = evaluation_pb2.EvaluationReport.Verdict.Name(stage.verdict)
            begun = f"stage {position - 1}" if position > 1 else "the base"
            found.append(
                f"stage {position} ({technique_of(stage)}) scored {stage.score:.3f}, beside "
                f"{begun}: {words(verdict, 'VERDICT_')}; adapter {stage.adapter_sha256[:12]}"
            )
    return found


def phase_name(phase: scheduler_pb2.Phase.ValueType) -> str:
    """Return a phase's name, as `TRAIN`."""
    return scheduler_pb2.Phase.Name(phase).removeprefix("PHASE_")


def _count(progress: scheduler_pb2.JobProgress) -> str:
    unit = "step" if progress.phase == scheduler_pb2.PHASE_TRAIN else "row"
    if not progress.total_count:
        return f"{unit} {number(progress.done_count)}" if progress.done_count else ""
    return f"{unit} {number(progress.done_count)} of {number(progress.total_count)}"


def _picture(job: scheduler_pb2.Job) -> Table:
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    succeeded = job.state == scheduler_pb2.Job.STATE_SUCCEEDED
    for phase in PHASES:
        now = phase == job.progress.phase and not succeeded
        done = succeeded or phase < job.progress.phase
        mark = "●" if now else "✔" if done else "·"
        drawn = bar(job.progress.done_count, job.progress.total_count) if now else ""
        style = "bold" if now else "green" if done else "dim"
        table.add_row(Text(f"  {mark} {phase_name(phase)}", style=style), Text(drawn))
    table.add_row(Text("  " + progress_line(job)), Text())
    return table
