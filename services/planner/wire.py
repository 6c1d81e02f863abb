"""Messages to and from what the planner works with."""

from __future__ import annotations

from collections.abc import Sequence

from attune.planner.v1 import dataset_pb2, planner_pb2

from services.common.errors import Violation, invalid
from services.common.names import parse
from services.common.wire_time import timestamp
from services.planner.conversation_store import ConversationRow
from services.planner.dataset.facts import DatasetFacts

PROJECT = "projects/{project}"
CONVERSATION = "projects/{project}/conversations/{conversation}"
SPEC = "projects/{project}/specs/{spec}"
DATASET = "projects/{project}/datasets/{dataset}"
JOB = "projects/{project}/jobs/{job}"
MESSAGE_CHARACTERS_MAX = 8000
ATTACHMENTS_MAX = 4
DISPLAY_NAME_CHARACTERS_MAX = 200


def conversation_to_proto(
    row: ConversationRow, turns: Sequence[planner_pb2.Turn]
) -> planner_pb2.Conversation:
    """Return a conversation with its turns as a message."""
    return planner_pb2.Conversation(
        name=row.name,
        turns=turns,
        spec=row.spec,
        create_time=timestamp(row.create_time),
        update_time=timestamp(row.update_time),
    )


def facts_from_proto(dataset: dataset_pb2.Dataset) -> DatasetFacts:
    """Return what a plan must know of a dataset."""
    return DatasetFacts(
        name=dataset.name,
        display_name=dataset.display_name,
        sha256=dataset.sha256,
        holdout_dataset=dataset.holdout_dataset,
        report=dataset.report,
        valid=dataset.state == dataset_pb2.Dataset.STATE_READY,
    )


def check_send_message(request: planner_pb2.SendMessageRequest) -> str:
    """Return the project of a request whose every field keeps its rule.

    Raises:
        InvalidArgument: With every violation but that of the conversation's name.
    """
    project = parse(request.conversation, CONVERSATION, field="conversation")["project"]
    found = []
    length = len(request.message)
    if length > MESSAGE_CHARACTERS_MAX or not request.message.strip():
        text = f"{length:,} characters; 1 to {MESSAGE_CHARACTERS_MAX:,} are taken, not only spaces."
        found.append(Violation("message", "LENGTH", text))
    _check_datasets(request.datasets, project, found)
    return project


def check_propose_spec(request: planner_pb2.ProposeSpecRequest) -> str:
    """Return the project of a request whose every field keeps its rule.

    Raises:
        InvalidArgument: With every violation but that of the parent.
    """
    project = parse(request.parent, PROJECT, field="parent")["project"]
    found = []
    length = len(request.objective)
    if length > MESSAGE_CHARACTERS_MAX:
        text = f"{length:,} characters; at most {MESSAGE_CHARACTERS_MAX:,} are taken. Shorten it."
        found.append(Violation("objective", "LENGTH", text))
    if not request.datasets and not request.objective.strip():
        text = "Neither datasets nor objective is set. Give one of them, or both."
        found.append(Violation("datasets", "REQUIRED", text))
    _check_datasets(request.datasets, project, found)
    return project


def _check_datasets(names: Sequence[str], project: str, found: list[Violation]) -> None:
    """Refuse names of datasets that break a rule, and whatever else was found before."""
    if len(names) > ATTACHMENTS_MAX or len(set(names)) < len(names):
        text = f"{len(names)} datasets; at most {ATTACHMENTS_MAX} different ones are taken."
        found.append(Violation("datasets", "COUNT", text))
    if found:
        raise invalid(found)
    for index, name in enumerate(names):
        field = f"datasets.{index}"
        if parse(name, DATASET, field=field)["project"] != project:
            text = f"'{name}' belongs to another project."
            raise invalid([Violation(field, "OTHER_PROJECT", text)])


def check_header(header: dataset_pb2.UploadHeader) -> str:
    """Return the project of an upload whose every field keeps its rule.

    Raises:
        InvalidArgument: If a name or the title breaks its rule.
    """
    project = parse(header.parent, PROJECT, field="parent")["project"]
    if len(header.display_name) > DISPLAY_NAME_CHARACTERS_MAX:
        text = f"At most {DISPLAY_NAME_CHARACTERS_MAX} characters are taken. Shorten it."
        raise invalid([Violation("display_name", "LENGTH", text)])
    holdout = header.holdout_dataset
    if holdout and parse(holdout, DATASET, field="holdout_dataset")["project"] != project:
        text = f"'{holdout}' belongs to another project than the upload."
        raise invalid([Violation("holdout_dataset", "OTHER_PROJECT", text)])
    return project


def check_revision(field: str, revision: int, least: int = 0) -> int:
    """Return a revision that is asked for; 0 for the newest.

    Args:
        field: Of the request.
        revision: As it was sent.
        least: 0, or 1 where a revision has to be named.

    Raises:
        InvalidArgument: If it is less.
    """
    if revision < least:
        hint = "" if least else "; leave it out for the newest"
        text = f"{revision} is no revision. They count from 1{hint}."
        raise invalid([Violation(field, "RANGE", text)])
    return revision
