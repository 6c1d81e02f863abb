"""The model that is made on first use."""

import json
from itertools import islice
from pathlib import Path

import pytest

from services.common.artefacts import file_sha256
from services.trainer.recipes import starter, starter_text

pytestmark = pytest.mark.system

EXAMPLE = Path(__file__).parents[3] / "examples" / "support-tickets"


@pytest.fixture(scope="module")
def two_folders(tmp_path_factory):
    """The starter made twice, but for a few steps only."""
    folders = [tmp_path_factory.mktemp("starter") / "model" for _ in range(2)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(starter, "STEP_COUNT", 3)
        for folder in folders:
            starter.make_starter(folder, report=lambda *_: None)
    return folders


def test_two_makes_are_equal_byte_for_byte(two_folders):
    first, second = (
        {path.name: file_sha256(path) for path in folder.iterdir()} for folder in two_folders
    )
    assert first == second


def test_it_is_small_and_of_a_shape_that_the_engine_serves(two_folders):
    config = json.loads((two_folders[0] / "config.json").read_text())
    assert config["head_dim"] == 32
    assert config["max_position_embeddings"] == 1024
    size = (two_folders[0] / "model.safetensors").stat().st_size
    assert 1_000_000 <= size / 4 <= 1_500_000


def test_only_safetensors_hold_weights(two_folders):
    endings = {path.suffix for path in two_folders[0].iterdir()}
    assert endings <= {".json", ".safetensors", ".jinja"}


def test_its_text_does_not_know_the_bundled_task():
    rows = [json.loads(line) for line in (EXAMPLE / "train.jsonl").open()]
    answers = {row["messages"][-1]["content"] for row in rows}
    keys = {key for answer in answers for key in json.loads(answer)}
    for dialogue in islice(starter_text.dialogues(1), 3000):
        for turn in dialogue:
            assert turn.content not in answers
            if turn.role == "assistant" and turn.content.startswith("{"):
                assert not keys <= set(json.loads(turn.content))


def test_nothing_is_made_over_an_existing_folder(tmp_path):
    with pytest.raises(FileExistsError):
        starter.make_starter(tmp_path, report=lambda *_: None)
    assert list(tmp_path.iterdir()) == []
