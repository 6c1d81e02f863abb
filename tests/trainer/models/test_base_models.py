import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from services.common.artefacts import read_manifest
from services.common.errors import FailedPrecondition, NotFound, ServiceError
from services.trainer.models import base_models
from services.trainer.models.base_models import ensure, find_local, list_local
from tests.trainer import tiny


def quiet(done: int, total: int, loss: float) -> None:
    """Nobody listens."""


@pytest.fixture
def source(saved_model: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(saved_model, tmp_path / "source"))


def edit(source: Path, name: str, **values: object) -> None:
    path = source / name
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def test_a_local_folder_is_taken_under_the_hash_of_its_files(artefacts, source):
    (source / "notes.md").write_text("not needed")
    folder = ensure(artefacts, "org/mine", source, quiet)
    assert folder == artefacts.model("org/mine") / folder.name
    assert len(folder.name) == 64
    assert read_manifest(folder)["id"] == "org/mine"
    assert not (folder / "notes.md").exists()
    (shape,) = list_local(artefacts)
    assert (shape.id, shape.revision, shape.context_length) == ("org/mine", folder.name, 256)
    assert find_local(artefacts, "org/mine") == (shape, folder)


def test_the_same_files_have_the_same_revision_and_others_do_not(artefacts, source):
    first = ensure(artefacts, "org/mine", source, quiet)
    assert ensure(artefacts, "org/mine", source, quiet) == first
    edit(source, "config.json", rope_theta=5.0)
    second = ensure(artefacts, "org/mine", source, quiet)
    assert second != first
    assert find_local(artefacts, "org/mine")[1] == second
    # What is imported last is what is used, also when it was there before.
    ensure(artefacts, "org/mine", source, quiet)
    assert [shape.revision for shape in list_local(artefacts)] == [second.name]


def test_what_is_there_is_found_at_once_and_without_torch(artefacts, revision):
    assert ensure(artefacts, tiny.MODEL, None, quiet).name == revision
    code = "import sys; import services.trainer.models.base_models; print('torch' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "False"


def test_parameters_are_counted_from_the_headers(artefacts, revision, saved_model):
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(saved_model)
    (shape,) = list_local(artefacts)
    assert shape.parameter_count == model.num_parameters()


@pytest.mark.parametrize("name", ["pytorch_model.bin", "code.py", "deep/weights.pt"])
def test_files_that_can_hold_code_are_refused(artefacts, source, name):
    (source / name).parent.mkdir(exist_ok=True)
    (source / name).write_bytes(b"x")
    with pytest.raises(FailedPrecondition, match="can hold code"):
        ensure(artefacts, "org/mine", source, quiet)
    assert list_local(artefacts) == []


@pytest.mark.parametrize("name", ["config.json", "tokenizer_config.json"])
def test_a_model_that_wants_to_run_its_own_code_is_refused(artefacts, source, name):
    edit(source, name, auto_map={"AutoModel": "x--y"})
    with pytest.raises(FailedPrecondition, match="auto_map"):
        ensure(artefacts, "org/mine", source, quiet)


def test_an_unknown_kind_of_model_is_refused(artefacts, source):
    edit(source, "config.json", model_type="mystery")
    with pytest.raises(ServiceError, match="mystery"):
        ensure(artefacts, "org/mine", source, quiet)


def test_a_model_without_a_chat_template_is_refused(artefacts, source):
    (source / "chat_template.jinja").unlink()
    with pytest.raises(FailedPrecondition, match="no chat template"):
        ensure(artefacts, "org/mine", source, quiet)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_folder_that_is_no_model_is_refused(artefacts, source, name):
    (source / name).unlink()
    with pytest.raises(FailedPrecondition, match=name.split(".")[-1]):
        ensure(artefacts, "org/mine", source, quiet)


def test_a_half_revision_is_not_at_hand(artefacts, revision):
    (artefacts.model(tiny.MODEL) / revision / "MANIFEST.json").unlink()
    with pytest.raises(NotFound, match="at hand: none"):
        find_local(artefacts, tiny.MODEL)


def test_a_changed_revision_is_named(artefacts, revision):
    path = artefacts.model(tiny.MODEL) / revision / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(FailedPrecondition, match="manifest"):
        ensure(artefacts, tiny.MODEL, None, quiet)


def test_the_starter_is_made_once_and_says_how_far_it_is(artefacts, monkeypatch, saved_model):
    made = []

    def make_starter(folder: Path, *, report) -> None:
        made.append(folder)
        report(1, 2, 3.0)
        shutil.copytree(saved_model, folder)

    starter = pytest.importorskip("services.trainer.recipes.starter")
    monkeypatch.setattr(starter, "make_starter", make_starter)
    heard = []
    folder = ensure(artefacts, base_models.STARTER, None, lambda *values: heard.append(values))
    assert ensure(artefacts, base_models.STARTER, None, quiet) == folder
    assert len(made) == 1
    assert heard == [(1, 2, 3.0)]
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def command(tmp_path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    import os

    environ = {**os.environ, "ATTUNE_HOME": str(tmp_path / "home"), "HF_ENDPOINT": "http://[::1]:9"}
    return subprocess.run(
        [sys.executable, "-m", "services.trainer.models.base_models", "ensure", *arguments],
        capture_output=True,
        text=True,
        env=environ,
        check=False,
        cwd=Path(__file__).parents[3],
    )


@pytest.mark.system
def test_the_command_prints_json_lines(tmp_path, source):
    done = command(tmp_path, "org/mine", "--from", str(source))
    assert done.returncode == 0, done.stderr
    last = json.loads(done.stdout.splitlines()[-1])
    assert set(last) == {"id", "revision", "folder"}
    assert Path(last["folder"]).parent.name == "org--mine"


@pytest.mark.system
def test_a_hub_that_cannot_be_reached_is_one_line(tmp_path):
    done = command(tmp_path, "org/absent")
    assert done.returncode == 1
    (line,) = done.stderr.strip().splitlines()
    assert "'org/absent' could not be fetched from the hub" in line
    assert "--from" in line
