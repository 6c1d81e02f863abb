"""The commands `dataset upload`, `show` and `list`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import click
from attune.planner.v1 import dataset_pb2

from cli.client import Client, all_pages, new_request_id, with_client
from cli.options import json_option
from cli.resource_names import PROJECT, short, whole_name
from cli.views.figures import moment, number, share, size
from cli.views.screen import Screen, print_json
from services.common.errors import InvalidArgument, Violation
from services.common.peers import call

CHUNK_BYTES = 1024 * 1024
UPLOAD_TIMEOUT_S = 600.0


@click.group(epilog="Example:  attune dataset upload train.jsonl --holdout holdout.jsonl")
def dataset() -> None:
    """Upload files of examples and look at them."""


@dataset.command(epilog="Example:  attune dataset upload train.jsonl --holdout holdout.jsonl")
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--holdout",
    type=click.Path(path_type=Path),
    help="Rows to judge on, never trained on; without it a share of FILE is held out.",
)
@json_option
def upload(file: Path, holdout: Path | None, as_json: bool) -> None:
    """Check every row of FILE and store it.

    FILE has one JSON object per line: {"messages": [{"role": ..., "content": ...}, ...]}, with
    the answer to learn as the last message, of the assistant.
    """
    screen = Screen(as_json)
    with screen.busy("checking every row"):
        stored = with_client(lambda client: upload_files(client, file, holdout))
    if as_json:
        print_json(stored)
        return
    show_dataset(screen, stored)
    name = short(stored.name)
    screen.next_steps(f'attune ask "What the model should do" --dataset {name}')


@dataset.command(epilog="Example:  attune dataset show datasets/a01h8c")
@click.argument("name")
@json_option
def show(name: str, as_json: bool) -> None:
    """Show what the rows of a dataset look like."""
    request = dataset_pb2.GetDatasetRequest(name=whole_name("datasets", name))
    found = with_client(lambda client: call(client.datasets.GetDataset, request))
    if as_json:
        print_json(found)
        return
    screen = Screen()
    show_dataset(screen, found)
    screen.next_steps(f'attune ask "What the model should do" --dataset {short(found.name)}')


@dataset.command("list", epilog="Example:  attune dataset list")
@json_option
def list_datasets(as_json: bool) -> None:
    """List all datasets, newest first."""
    request = dataset_pb2.ListDatasetsRequest(parent=PROJECT)
    found = with_client(lambda client: all_pages(client.datasets.ListDatasets, request))
    if as_json:
        print_json(found)
        return
    screen = Screen()
    rows = [
        (
            short(one.name),
            one.display_name,
            number(one.report.row_count),
            size(one.size_bytes),
            moment(one.create_time),
        )
        for one in found.datasets
    ]
    screen.table(("name", "file", "rows", "size", "uploaded"), rows)
    screen.next_steps("attune dataset show NAME" if rows else "attune dataset upload FILE")


async def upload_files(client: Client, file: Path, holdout: Path | None) -> dataset_pb2.Dataset:
    """Upload a file, and before it the one that is held out.

    Raises:
        InvalidArgument: With every bad row; its field begins with the file's name.
    """
    for path in filter(None, (file, holdout)):
        _check_readable(path)
    held_out = await _upload(client, holdout, "") if holdout is not None else None
    return await _upload(client, file, held_out.name if held_out is not None else "")


def show_dataset(screen: Screen, stored: dataset_pb2.Dataset) -> None:
    """Write what is known of a dataset."""
    report = stored.report
    rows = [
        ("name", short(stored.name)),
        ("file", f"{stored.display_name}, {size(stored.size_bytes)}, sha256 {stored.sha256}"),
        ("rows", f"{number(report.row_count)} in the format {report.format}"),
        (
            "tokens",
            f"{number(report.total_token_count)} in all; a row has "
            f"{number(report.median_token_count)} in the middle, "
            f"{number(report.max_token_count)} at most (counted for {report.tokenizer_model})",
        ),
        (
            "answers",
            f"{number(report.distinct_answer_count)} different; "
            f"{share(report.majority_answer_share)} are the most frequent one; "
            f"{share(report.json_answer_share)} are JSON objects; "
            f"{number(report.max_answer_token_count)} tokens at most",
        ),
        ("duplicates", number(report.duplicate_row_count)),
    ]
    if stored.holdout_dataset:
        overlap = number(report.holdout_overlap_count)
        rows.append(("held out", f"{short(stored.holdout_dataset)}; {overlap} rows in both"))
    screen.table(("", ""), rows)


def _check_readable(path: Path) -> None:
    if path.is_file():
        return
    what = "is a folder" if path.is_dir() else "does not exist"
    raise InvalidArgument(
        f"{path} {what}. Name a file with one JSON object per line.",
        reason="NO_FILE",
        path=str(path),
    )


async def _upload(client: Client, path: Path, holdout_dataset: str) -> dataset_pb2.Dataset:
    header = dataset_pb2.UploadHeader(
        parent=PROJECT,
        display_name=path.name,
        holdout_dataset=holdout_dataset,
        request_id=new_request_id(),
    )
    try:
        stored = await call(
            client.datasets.UploadDataset, _pieces(header, path), timeout_s=UPLOAD_TIMEOUT_S
        )
    except InvalidArgument as error:
        violations = [
            Violation(f"{path.name} {item.field}", item.rule, item.message)
            for item in error.violations
        ]
        raise InvalidArgument(error.message, reason=error.reason, violations=violations) from None
    assert isinstance(stored, dataset_pb2.Dataset)
    return stored


async def _pieces(
    header: dataset_pb2.UploadHeader, path: Path
) -> AsyncIterator[dataset_pb2.UploadDatasetRequest]:
    yield dataset_pb2.UploadDatasetRequest(header=header)
    for chunk in _chunks(path):
        yield dataset_pb2.UploadDatasetRequest(chunk=chunk)


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            yield chunk
