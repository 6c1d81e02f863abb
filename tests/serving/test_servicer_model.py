import grpc
import pytest
from attune.serving.v1 import model_pb2

from tests.serving.calls import code


async def test_versions_are_read_and_listed_page_by_page(parts, stubs):
    models, *_ = stubs
    made = [await parts.ready(alias=alias) for alias in ("x", "y", "x")]
    got = await models.GetModelVersion(model_pb2.GetModelVersionRequest(name=made[0].name))
    assert got.state == model_pb2.ModelVersion.STATE_READY
    assert got.parity.prompt_count == 1
    names, token = [], ""
    while True:
        page = await models.ListModelVersions(
            model_pb2.ListModelVersionsRequest(
                parent="projects/default/models/-", page_size=2, page_token=token
            )
        )
        names += [version.name for version in page.model_versions]
        token = page.next_page_token
        if not token:
            break
    assert sorted(names) == sorted(version.name for version in made)
    assert names[0] != names[-1]
    request = model_pb2.ListModelVersionsRequest(
        parent="projects/default/models/x", job=made[2].job
    )
    (found,) = (await models.ListModelVersions(request)).model_versions
    assert found.name == made[2].name


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (model_pb2.ListModelVersionsRequest(), "INVALID_ARGUMENT"),
        (model_pb2.ListModelVersionsRequest(parent="projects/default"), "INVALID_ARGUMENT"),
        (
            model_pb2.ListModelVersionsRequest(parent="projects/a/models/-", page_token="?"),
            "INVALID_ARGUMENT",
        ),
        (
            model_pb2.ListModelVersionsRequest(parent="projects/a/models/-", page_size=-1),
            "INVALID_ARGUMENT",
        ),
        (
            model_pb2.ListModelVersionsRequest(parent="projects/a/models/-", job="j1"),
            "INVALID_ARGUMENT",
        ),
        (model_pb2.GetModelVersionRequest(name="x"), "INVALID_ARGUMENT"),
        (
            model_pb2.GetModelVersionRequest(name="projects/a/models/b/versions/1"),
            "NOT_FOUND",
        ),
    ],
)
async def test_bad_reads_get_the_right_code(stubs, request_, status):
    get = isinstance(request_, model_pb2.GetModelVersionRequest)
    call = stubs[0].GetModelVersion if get else stubs[0].ListModelVersions
    with pytest.raises(grpc.RpcError) as error:
        await call(request_)
    assert code(error) == status
