"""The commands of `grader`: grade answers, and try a grader before anything is trained on it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import click
from attune.spec.v1.grader_pb2 import Grader
from attune.trainer.v1 import grader_pb2 as pb

from cli.client import Client, with_client
from cli.grader_file import read_grader, read_samples
from cli.options import json_option
from cli.views.figures import number, share, span
from cli.views.screen import Screen, print_json
from services.common.errors import FailedPrecondition
from services.common.peers import call

BATCH_MAX = 100
"""Samples of one call; what any kind of grader takes."""
BATCH_BYTES_MAX = 1024 * 1024
VALIDATED_MAX, JUDGED_VALIDATED_MAX = 50, 12
"""Rows that a grader is tried on; fewer where each asks a model."""
SHOWN_MAX = 20
"""Results that are shown to people, the lowest first."""
CALL_TIMEOUT_S = 600.0
"""Longest time of one call: a judge may be slow."""
JUDGED = ("score_model", "label_model", "win_rate")

file_type = click.Path(path_type=Path, dir_okay=False)
grader_argument = click.argument("grader_file", type=file_type)
rows_argument = click.argument("rows_file", type=file_type)
name_option = click.option("--name", default="", help="Grader of a plan; its first one otherwise.")


@click.group(epilog="Example:  attune grader run grader.yaml rows.jsonl")
def grader() -> None:
    """Grade answers, and try graders before training."""


@grader.command(epilog="Example:  attune grader run plan.json answers.jsonl --name exact")
@grader_argument
@rows_argument
@name_option
@json_option
def run(grader_file: Path, rows_file: Path, name: str, as_json: bool) -> None:
    """Grade the rows of a file: their `output_text`, or their own reference where they have none.

    GRADER_FILE is JSON or YAML: a grader, OpenAI's shape of one, or a plan. ROWS_FILE has one JSON
    object a line.
    """
    made, samples = read_grader(grader_file, name), read_samples(rows_file)
    screen = Screen(as_json)

    async def work(client: Client) -> pb.RunGraderResponse:
        whole = pb.RunGraderResponse()
        for batch in _batches(samples):
            request = pb.RunGraderRequest(grader=made, samples=batch)
            answer = await call(client.graders.RunGrader, request, timeout_s=CALL_TIMEOUT_S)
            whole.results.extend(answer.results)
            _add(whole.metadata, answer.metadata)
        return whole

    found = with_client(work)
    rewards = [each.reward for each in found.results if each.HasField("reward")]
    if rewards:
        found.metadata.mean_reward = sum(rewards) / len(rewards)
    if as_json:
        print_json(found)
        return
    _show_results(screen, found)
    rest = f" --name {name}" if name else ""
    screen.next_steps(f"attune grader validate {grader_file} {rows_file}{rest}")


@grader.command(epilog="Example:  attune grader validate grader.yaml rows.jsonl")
@grader_argument
@rows_argument
@name_option
@click.option("--other", type=file_type, help="File of a grader that should rank answers alike.")
@click.option("--other-name", default="", help="Grader of that file, if it is a plan.")
@json_option
def validate(
    grader_file: Path,
    rows_file: Path,
    name: str,
    other: Path | None,
    other_name: str,
    as_json: bool,
) -> None:
    """Try a grader: determinism, errors, time, bad answers, agreement. Exits with 1 if it fails.

    The rows hold right answers, as for `run`; the first 50 count, or 12 where a model is asked.
    """
    request = pb.ValidateGraderRequest(grader=read_grader(grader_file, name))
    if other is not None:
        request.other.CopyFrom(read_grader(other, other_name))
    most = JUDGED_VALIDATED_MAX if _asks(request.grader) or _asks(request.other) else VALIDATED_MAX
    request.samples.extend(read_samples(rows_file)[:most])
    found = with_client(
        lambda client: call(client.graders.ValidateGrader, request, timeout_s=CALL_TIMEOUT_S)
    )
    if as_json:
        print_json(found)
    else:
        _show_validation(Screen(), request.grader.name, found)
    if not found.passed:
        raise FailedPrecondition(
            f"Grader '{request.grader.name}' is not fit to train on. {found.problems[0]}",
            reason="GRADER_UNFIT",
            grader=request.grader.name,
        )
    if not as_json:
        Screen().next_steps('attune ask "What I want"')


def _batches(samples: Sequence[pb.GraderSample]) -> Iterator[list[pb.GraderSample]]:
    batch: list[pb.GraderSample] = []
    size = 0
    for sample in samples:
        bytes_more = sample.ByteSize()
        if batch and (len(batch) == BATCH_MAX or size + bytes_more > BATCH_BYTES_MAX):
            yield batch
            batch, size = [], 0
        batch.append(sample)
        size += bytes_more
    yield batch


def _add(whole: pb.GraderMetadata, part: pb.GraderMetadata) -> None:
    seconds, tokens, errors = whole.execution_s, whole.token_usage, whole.error_count
    whole.CopyFrom(part)
    whole.execution_s += seconds
    whole.token_usage += tokens
    whole.error_count += errors


def _asks(made: Grader) -> bool:
    """Return whether a grader, or one that it combines, asks a model."""
    return made.WhichOneof("kind") in JUDGED or any(map(_asks, made.multi.graders))


def _show_results(screen: Screen, found: pb.RunGraderResponse) -> None:
    facts, results = found.metadata, found.results
    mean = _figure(facts.mean_reward) if facts.HasField("mean_reward") else "none"
    screen.heading(f"{facts.name} ({facts.type}): mean {mean}, {len(results):,} rows")
    order = sorted(range(len(results)), key=lambda index: _rank(results[index]))
    rows = [(str(index + 1), *_cells(results[index])) for index in order[:SHOWN_MAX]]
    screen.table(("row", "reward", "parts", "error"), rows)
    if len(results) > SHOWN_MAX:
        screen.say(f"The {SHOWN_MAX} lowest are shown; --json has all.")
    if facts.error_count:
        screen.say(f"{facts.error_count:,} could not be graded; they are no 0 and not in the mean.")
    tokens = f", {facts.token_usage:,} tokens of the judge" if facts.token_usage else ""
    screen.say(f"It took {span(facts.execution_s)}{tokens}.")


def _cells(result: pb.GraderResult) -> tuple[str, str, str]:
    reward = _figure(result.reward) if result.HasField("reward") else "-"
    parts = ", ".join(f"{name} {_figure(score)}" for name, score in result.sub_rewards.items())
    return reward, parts or "-", result.error or "-"


def _figure(value: float) -> str:
    return number(round(value, 4))


def _rank(result: pb.GraderResult) -> float:
    return result.reward if result.HasField("reward") else -1.0


def _show_validation(screen: Screen, name: str, found: pb.ValidateGraderResponse) -> None:
    screen.heading(f"{name}: {'fit to train on' if found.passed else 'not fit to train on'}")
    count = found.sample_count
    right = _figure(found.reference_mean) if found.HasField("reference_mean") else "-"
    planted = [(one.kind.replace("_", " "), _figure(one.mean_score)) for one in found.planted]
    rows = [
        ("rows graded twice", number(count)),
        ("other score again", share(found.changed_count / count if count else 0.0)),
        ("not gradable", share(found.error_count / count if count else 0.0)),
        ("time, median", f"{1000 * found.latency_p50_s:.2f} ms"),
        ("time, 95 %", f"{1000 * found.latency_p95_s:.2f} ms"),
        ("right answers", right),
        *((f"bad: {kind}", mean) for kind, mean in planted),
        ("agreement", f"{found.agreement:.2f}" if found.HasField("agreement") else "-"),
    ]
    screen.table(("figure", "value"), rows)
    for text in (*found.problems, *found.notices):
        screen.say(f"- {text}")
