"""What tests of serving's RPCs ask, and how they read errors and answers."""

from uuid import uuid4

from attune.serving.v1 import deployment_pb2
from google.rpc import error_details_pb2
from grpc_status import rpc_status

STARTER = "projects/default/baseModels/attune~starter"
CHAT = [{"role": "user", "content": "how are you"}]
PROMPT = {"messages": CHAT}


def details(error):
    """Return reason, violated fields and retry delay of an RPC error."""
    info, bad, retry = (
        error_details_pb2.ErrorInfo(),
        error_details_pb2.BadRequest(),
        error_details_pb2.RetryInfo(),
    )
    for detail in rpc_status.from_call(error.value).details:
        for message in (info, bad, retry):
            detail.Unpack(message)
    return info.reason, [item.field for item in bad.field_violations], retry.retry_delay


def code(error):
    return error.value.code().name


def creation(version, alias="tickets", **fields):
    return deployment_pb2.CreateDeploymentRequest(
        parent="projects/default",
        deployment_id=alias,
        deployment={"model_version": version, "target": "shared"} | fields,
        request_id=str(uuid4()),
    )


def update(version, alias="tickets", etag="", paths=("model_version",)):
    name = f"projects/default/deployments/{alias}"
    return deployment_pb2.UpdateDeploymentRequest(
        deployment={"name": name, "model_version": version, "etag": etag},
        update_mask={"paths": list(paths)},
        request_id=str(uuid4()),
    )


async def answered(call):
    pieces = [piece async for piece in call]
    assert [piece.WhichOneof("piece") for piece in pieces[:-1]] == ["text_delta"] * (
        len(pieces) - 1
    )
    return "".join(piece.text_delta for piece in pieces[:-1]), pieces[-1].end
