"""Versions deleted through the service: refused while needed, their weights gone afterwards."""

from uuid import uuid4

import grpc
import pytest
from attune.serving.v1 import deployment_pb2, model_pb2, playground_pb2

from services.common.artefacts import read_manifest, write_manifest
from services.common.errors import NotFound, Unavailable
from services.serving.registry.version import lineage_of, whole_weights
from tests.serving.parts import a_job

NAME = "projects/default/deployments/tickets"
CHAT = [{"role": "user", "content": "how are you"}]


async def delete(stubs, name):
    return await stubs[0].DeleteModelVersion(model_pb2.DeleteModelVersionRequest(name=name))


async def refusal(stubs, name):
    with pytest.raises(grpc.RpcError) as error:
        await delete(stubs, name)
    return error.value.code().name, error.value.details()


async def deploy(parts, version):
    request = deployment_pb2.CreateDeploymentRequest(
        parent="projects/default",
        deployment_id="tickets",
        deployment={"model_version": version.name, "target": "shared"},
        request_id=str(uuid4()),
    )
    await parts.deployer.create(request, "default")


async def update(parts, path, **fields):
    await parts.deployer.update(
        deployment_pb2.UpdateDeploymentRequest(
            deployment={"name": NAME, **fields},
            update_mask={"paths": [path]},
            request_id=str(uuid4()),
        )
    )


async def test_a_version_is_gone_for_ever_and_what_is_known_of_it_stays(parts, stubs):
    version = await parts.ready()
    folder = parts.artefacts.adapter(version.adapter_sha256)
    size = (folder / "adapter_model.safetensors").stat().st_size
    freed = await delete(stubs, version.name)
    assert (freed.freed_bytes, list(freed.kept)) == (size, [])
    assert not (folder / "adapter_model.safetensors").exists()
    assert (folder / "MANIFEST.json").exists()
    got = await stubs[0].GetModelVersion(model_pb2.GetModelVersionRequest(name=version.name))
    assert got.state == model_pb2.ModelVersion.STATE_DELETED
    assert got.spec_hash == version.spec_hash
    assert (await delete(stubs, version.name)).freed_bytes == 0
    call = stubs[1].Generate(
        playground_pb2.GenerateRequest(model=version.name, prompt={"messages": CHAT})
    )
    with pytest.raises(grpc.RpcError, match="Deleted on") as error:
        [piece async for piece in call]
    assert error.value.code().name == "NOT_FOUND"
    assert (await parts.ready()).name.endswith("/2")  # A number is not given again.


async def test_no_deployment_is_made_of_a_deleted_version(parts, stubs):
    version = await parts.ready()
    await delete(stubs, version.name)
    with pytest.raises(NotFound, match="Deleted on"):
        await deploy(parts, version)


async def test_a_version_is_kept_while_deployed_tried_or_the_way_back(parts, stubs):
    one, two, three = [await parts.ready() for _ in range(3)]
    await deploy(parts, one)
    await update(parts, "canary", canary={"model_version": two.name, "percent": 1})
    for version in (one, two):
        code, text = await refusal(stubs, version.name)
        assert code == "FAILED_PRECONDITION"
        assert f"deployed as {NAME}" in text
    await update(parts, "model_version", model_version=two.name)
    assert f"way back of {NAME}" in (await refusal(stubs, one.name))[1]
    await update(parts, "model_version", model_version=three.name)
    await delete(stubs, one.name)


async def test_weights_that_another_version_has_stay_until_both_are_gone(parts, stubs):
    one = await parts.ready()
    two = await parts.versions.stage(lineage_of(a_job(one.adapter_sha256)), None)
    await parts.settled(two.name)
    freed = await delete(stubs, one.name)
    assert (freed.freed_bytes, len(freed.kept)) == (0, 1)
    assert two.name in freed.kept[0]
    assert read_manifest(parts.artefacts.adapter(one.adapter_sha256)) is not None
    assert (await delete(stubs, two.name)).freed_bytes > 0


async def test_a_whole_model_goes_with_the_base_that_plans_may_name(parts, stubs):
    version = await parts.ready(use_dora=True)
    weights = whole_weights(version.merged_sha256)
    merged = parts.artefacts.merged(version.merged_sha256)
    (merged / "model.safetensors").write_bytes(b"x" * 1000)
    at_hand = parts.artefacts.model(weights.model_id) / weights.revision
    assert (await delete(stubs, version.name)).freed_bytes >= 1000
    assert list(at_hand.parent.iterdir()) == []
    assert [path.name for path in merged.glob("*.safetensors")] == []
    assert (merged / "MANIFEST.json").exists()


async def test_a_base_of_a_version_or_of_an_unfinished_job_is_kept(parts, stubs):
    parent = await parts.ready(use_dora=True)
    job = a_job(revision=parent.merged_sha256)
    parts.scheduler.unfinished = [job]
    code, text = await refusal(stubs, parent.name)
    assert (code, job.name in text) == ("FAILED_PRECONDITION", True)
    parts.scheduler.unfinished = []
    child = await parts.versions.stage(lineage_of(job), None)
    assert child.name in (await refusal(stubs, parent.name))[1]
    await delete(stubs, child.name)
    await delete(stubs, parent.name)


async def test_a_base_is_kept_while_the_scheduler_is_away(parts, stubs, monkeypatch):
    parent = await parts.ready(use_dora=True)

    async def away():
        raise Unavailable("The scheduler is away.", reason="AWAY")
        yield

    monkeypatch.setattr(parts.scheduler, "list_unfinished_jobs", away)
    assert (await refusal(stubs, parent.name))[0] == "UNAVAILABLE"
    assert (await parts.versions.get(parent.name)).state == "READY"


async def test_a_base_that_somebody_merged_for_plans_stays_and_is_named(parts, stubs):
    version = await parts.ready()
    folder = parts.artefacts.merged("c" * 64)
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(b"weights")
    write_manifest(folder, {"adapter_sha256": version.adapter_sha256})
    freed = await delete(stubs, version.name)
    assert f"merged/{'c' * 12} stays" in freed.kept[0]
    assert (folder / "model.safetensors").exists()
