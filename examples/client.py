"""From a file to an approved plan, with nothing but the generated stubs.

Usage: python examples/client.py PLANNER_ADDRESS ROWS.jsonl
"""

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import grpc
from attune.planner.v1 import dataset_pb2, dataset_pb2_grpc, planner_pb2, planner_pb2_grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status

PROJECT = "projects/default"
TIMEOUT_S = 60
REPORT_TIMEOUT_S = 600


def pieces(path: Path) -> Iterator[dataset_pb2.UploadDatasetRequest]:
    """Yield the header, then the file in chunks of 1 MiB."""
    header = dataset_pb2.UploadHeader(
        parent=PROJECT, display_name=path.name, request_id=str(uuid4())
    )
    yield dataset_pb2.UploadDatasetRequest(header=header)
    with path.open("rb") as file:
        while chunk := file.read(1024 * 1024):
            yield dataset_pb2.UploadDatasetRequest(chunk=chunk)


def main(address: str, path: Path) -> None:
    """Upload, talk until there is a plan, read it, approve exactly that plan."""
    channel = grpc.insecure_channel(address)
    datasets = dataset_pb2_grpc.DatasetServiceStub(channel)
    planner = planner_pb2_grpc.PlannerServiceStub(channel)

    dataset = datasets.UploadDataset(pieces(path), timeout=TIMEOUT_S)
    deadline = time.monotonic() + REPORT_TIMEOUT_S
    while dataset.state == dataset_pb2.Dataset.STATE_ANALYSING:
        if time.monotonic() > deadline:
            raise SystemExit(f"The report of {dataset.name} is {dataset.progress:.0%} made.")
        time.sleep(0.1)  # The report is made in the background; there is no call that waits for it.
        dataset = datasets.GetDataset(
            dataset_pb2.GetDatasetRequest(name=dataset.name), timeout=TIMEOUT_S
        )
    print(f"{dataset.name}: {dataset.report.row_count} rows")
    for count in dataset.report.finding_counts:  # GetDatasetReport has their lines and remedies.
        print(f"  {count.code}: {count.count}")

    conversation = planner.CreateConversation(
        planner_pb2.CreateConversationRequest(parent=PROJECT, request_id=str(uuid4())), timeout=10
    )
    spec_name = ""
    for message in ("Answer support tickets with a JSON routing record.", "At least 80 %."):
        request = planner_pb2.SendMessageRequest(
            conversation=conversation.name,
            message=message,
            datasets=[dataset.name],
            request_id=str(uuid4()),
        )
        *_, last = planner.SendMessage(request, timeout=TIMEOUT_S)
        print(f"> {message}\n{last.turn.reply}")
        spec_name = last.turn.spec or spec_name  # Empty when a message changes nothing.

    spec = planner.GetSpec(planner_pb2.GetSpecRequest(name=spec_name), timeout=10)
    approve = planner_pb2.ApproveSpecRequest(
        name=spec.name, hash=spec.hash, request_id=str(uuid4())
    )
    approved = planner.ApproveSpec(approve, timeout=TIMEOUT_S)
    print(f"{approved.name} revision {approved.approval.revision} approved: {approved.hash}")


def explain(error: grpc.RpcError) -> str:
    """Return what a refusal says: the message, and every bad field with its remedy."""
    lines = [error.details() or error.code().name]
    status = rpc_status.from_call(error)
    for detail in status.details if status else ():
        bad = error_details_pb2.BadRequest()
        if detail.Unpack(bad):
            lines += [f"  {each.field}: {each.description}" for each in bad.field_violations]
    return "\n".join(lines)


if __name__ == "__main__":
    try:
        main(sys.argv[1], Path(sys.argv[2]))
    except grpc.RpcError as refusal:
        raise SystemExit(explain(refusal)) from None
