"""The commands `dataset upload`, `show`, `preview`, `list` and `delete`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import click
from attune.planner.v1 import dataset_pb2

from cli.client import Client, all_pages, new_request_id, with_client
from cli.options import json_option
from cli.resource_names import PROJECT, short, whole_name
from cli.views.dataset import (
    ANALYSING,
    ERROR,
    INVALID,
    show_dataset,
    show_findings,
    show_previews,
    state_of,
)
from cli.views.figures import moment, number, size
from cli.views.listing import show_list
from cli.views.screen import Screen, print_json
from services.common.errors import FailedPrecondition, InvalidArgument
from services.common.peers import call

CHUNK_BYTES = 1024 * 1024
UPLOAD_TIMEOUT_S = 3600.0
POLL_S = 0.1
REPORT_WAIT_S = 3600.0
"""Longest wait for a report; it goes on being made when nobody waits."""
CODES_SHOWN = 3
"""Codes that a refusal names."""
FORMATS = "jsonl, csv, json or parquet, with .gz or .zst behind it when it is compressed"

name_argument = click.argument("name")


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
@click.option("--format", "file_format", default="", help=f"How to read FILE: {FORMATS}.")
@click.option("--corrects", metavar="NAME", default="", help="Dataset that FILE corrects.")
@json_option
def upload(
    file: Path, holdout: Path | None, file_format: str, corrects: str, as_json: bool
) -> None:
    """Store FILE and report on every row.

    FILE holds examples as JSONL, CSV, JSON or Parquet; its ending says which. A row is a chat
    ({"messages": [...]} with the answer last), a prompt with a completion, with a chosen and a
    rejected answer or with a reference, or a text. Ends with 1 when a row has an error.
    """
    screen = Screen(as_json)
    previous = whole_name("datasets", corrects) if corrects else ""

    async def work(client: Client) -> list[dataset_pb2.Dataset]:
        with screen.busy("uploading") as tell:
            stored = await upload_files(client, file, holdout, file_format, previous, tell)
        held = stored.holdout_dataset
        both = [stored, await get(client, held)] if held else [stored]
        for one in both:
            await _add_findings(client, one)
        return both

    stored, *held = with_client(work)
    if as_json:
        print_json(stored)
    else:
        show_dataset(screen, stored)
        show_findings(screen, stored.report)
        for one in held:
            if one.state == INVALID:
                screen.heading(f"The hold-out {one.display_name} has errors")
                show_findings(screen, one.report)
    if any(one.state == INVALID for one in (stored, *held)):
        name, held_out = short(stored.name), f" --holdout {holdout}" if holdout else ""
        screen.next_steps(
            f"attune dataset show {name} --findings",
            f"attune dataset upload {file}{held_out} --corrects {name}    once rows are mended",
        )
        raise SystemExit(1)
    if not as_json:
        screen.next_steps(f'attune ask "What the model should do" --dataset {short(stored.name)}')


@dataset.command(epilog="Example:  attune dataset show datasets/a01h8c --findings")
@name_argument
@click.option("--findings", is_flag=True, help="Write every finding with its line and field.")
@json_option
def show(name: str, findings: bool, as_json: bool) -> None:
    """Show what the rows of a dataset look like, and what is wrong with them."""

    async def work(client: Client) -> dataset_pb2.Dataset:
        found = await get(client, whole_name("datasets", name))
        await _add_findings(client, found)
        return found

    found = with_client(work)
    if as_json:
        print_json(found)
        return
    screen = Screen()
    if not findings:
        show_dataset(screen, found)
    show_findings(screen, found.report, each=findings)
    if findings and not found.report.finding_counts:
        screen.say("Nothing is wrong." if found.state != ANALYSING else state_of(found))
    screen.next_steps(f'attune ask "What the model should do" --dataset {short(found.name)}')


@dataset.command(epilog="Example:  attune dataset preview datasets/a01h8c --line 7")
@name_argument
@click.option("--line", "lines", type=int, multiple=True, help="Line of a row; may be repeated.")
@click.option("--base-model", default="", help="Model whose template renders them.")
@click.option("--max-length", type=int, default=0, help="Tokens at which rows are cut.")
@json_option
def preview(
    name: str, lines: tuple[int, ...], base_model: str, max_length: int, as_json: bool
) -> None:
    """Show rows as training sees them: the chat template, the tokens, what is learnt."""
    request = dataset_pb2.PreviewRowsRequest(
        name=whole_name("datasets", name),
        lines=lines,
        base_model=base_model,
        max_length=max_length,
    )
    shown = with_client(lambda client: call(client.datasets.PreviewRows, request))
    if as_json:
        print_json(shown)
        return
    show_previews(Screen(), shown)


@dataset.command("list", epilog="Example:  attune dataset list")
@json_option
def list_datasets(as_json: bool) -> None:
    """List all datasets, newest first."""
    request = dataset_pb2.ListDatasetsRequest(parent=PROJECT)
    found = with_client(lambda client: all_pages(client.datasets.ListDatasets, request))
    rows = (
        (
            short(one.name),
            one.display_name,
            state_of(one),
            one.report.format,
            number(one.report.row_count),
            size(one.size_bytes),
            moment(one.create_time),
        )
        for one in found.datasets
    )
    headers = ("name", "file", "state", "shape", "rows", "size", "uploaded")
    then = ("attune dataset show NAME",)
    show_list(found, as_json, headers, rows, then, "attune dataset upload FILE")


@dataset.command(epilog="Example:  attune dataset delete datasets/a01h8c")
@name_argument
@json_option
def delete(name: str, as_json: bool) -> None:
    """Remove a dataset that no approved plan and no other dataset needs."""
    request = dataset_pb2.DeleteDatasetRequest(
        name=whole_name("datasets", name), request_id=new_request_id()
    )
    answer = with_client(lambda client: call(client.datasets.DeleteDataset, request))
    if as_json:
        print_json(answer)
        return
    Screen().say(f"{short(request.name)} is gone.")


async def upload_files(
    client: Client,
    file: Path,
    holdout: Path | None,
    file_format: str = "",
    previous: str = "",
    tell: Callable[[str], None] = lambda text: None,
) -> dataset_pb2.Dataset:
    """Upload a file, and before it the one that is held out, and wait for the reports.

    Args:
        client: Of the services.
        file: The rows to learn from.
        holdout: The rows to judge on, if they are given.
        file_format: How to read both; told by their names when empty.
        previous: Name of the dataset that the file corrects; may be empty.
        tell: Told what goes on.

    Raises:
        InvalidArgument: If a file cannot be read, or is refused.
    """
    for path in filter(None, (file, holdout)):
        _check_readable(path)
    held_out = ""
    if holdout is not None:
        header = _header(holdout, file_format)
        held_out = (await _upload(client, holdout, header, tell)).name
    header = _header(file, file_format)
    header.holdout_dataset, header.previous_dataset = held_out, previous
    return await _upload(client, file, header, tell)


async def require_valid(client: Client, stored: dataset_pb2.Dataset) -> None:
    """Refuse a dataset with errors, or with a hold-out that has some.

    Raises:
        FailedPrecondition: With what is found most often, and how to see all of it.
    """
    both = [stored]
    if stored.holdout_dataset:
        both.append(await get(client, stored.holdout_dataset))
    for one in both:
        if one.state != INVALID:
            continue
        errors = [each.code for each in one.report.finding_counts if each.severity == ERROR]
        codes = ", ".join(errors[:CODES_SHOWN])
        raise FailedPrecondition(
            f"{one.display_name} has errors ({codes}), so nothing is trained on it. See them with "
            f"`attune dataset show {short(one.name)} --findings`.",
            reason="DATASET_INVALID",
            dataset=one.name,
        )


async def get(client: Client, name: str) -> dataset_pb2.Dataset:
    """Return a dataset by its whole name.

    Raises:
        NotFound: If there is none.
    """
    found = await call(client.datasets.GetDataset, dataset_pb2.GetDatasetRequest(name=name))
    assert isinstance(found, dataset_pb2.Dataset)
    return found


async def _add_findings(client: Client, stored: dataset_pb2.Dataset) -> None:
    """Put the whole report in place of the one without findings."""
    if stored.state == ANALYSING or not stored.report.finding_counts:
        return
    request = dataset_pb2.GetDatasetReportRequest(name=stored.name)
    stored.report.CopyFrom(await call(client.datasets.GetDatasetReport, request))


def _check_readable(path: Path) -> None:
    if path.is_file():
        return
    what = "is a folder" if path.is_dir() else "does not exist"
    raise InvalidArgument(
        f"{path} {what}. Name a file of examples.", reason="NO_FILE", path=str(path)
    )


def _header(path: Path, file_format: str) -> dataset_pb2.UploadHeader:
    return dataset_pb2.UploadHeader(
        parent=PROJECT,
        display_name=path.name,
        file_format=file_format,
        request_id=new_request_id(),
    )


async def _upload(
    client: Client,
    path: Path,
    header: dataset_pb2.UploadHeader,
    tell: Callable[[str], None],
) -> dataset_pb2.Dataset:
    """Upload one file and return it with its report."""
    tell(f"uploading {path.name}")
    stored = await call(
        client.datasets.UploadDataset, _pieces(header, path), timeout_s=UPLOAD_TIMEOUT_S
    )
    assert isinstance(stored, dataset_pb2.Dataset)
    latest = time.monotonic() + REPORT_WAIT_S
    while stored.state == ANALYSING and time.monotonic() < latest:
        await asyncio.sleep(POLL_S)
        stored = await get(client, stored.name)
        tell(f"checking every row of {path.name}: {stored.progress:.0%}")
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
