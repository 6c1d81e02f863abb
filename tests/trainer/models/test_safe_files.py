"""Nothing that can run is published, whatever it is called."""

import pickle
import zipfile

import pytest
import torch
from safetensors.torch import save_file

from services.trainer.models.safe_files import check_safe
from services.trainer.run import RunFailed


@pytest.fixture
def folder(tmp_path):
    save_file({"a": torch.zeros(2)}, tmp_path / "adapter_model.safetensors")
    (tmp_path / "README.md").write_text("# A card")
    return tmp_path


def refused(folder):
    with pytest.raises(RunFailed) as caught:
        check_safe(folder)
    assert caught.value.reason == "UNSAFE_FILE"
    return caught.value.message


def test_safetensors_and_text_may_be_published(folder):
    check_safe(folder)


@pytest.mark.parametrize("size", [0x0280, 0x0480, 0x04034B50])
def test_a_header_as_long_as_a_pickle_s_first_bytes_say_is_no_pickle(folder, size):
    path = folder / "model.safetensors"
    path.write_bytes(size.to_bytes(8, "little") + b"{")
    with path.open("r+b") as file:
        file.truncate(size + 8)
    check_safe(folder)


@pytest.mark.parametrize("name", ["adapter_model.bin", "optimizer.pt", "a.pkl", "modeling.py", "x"])
def test_other_kinds_of_files_may_not(folder, name):
    (folder / name).write_text("harmless")
    assert name in refused(folder)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_a_pickle_by_another_name_is_found(folder, protocol):
    (folder / "weights.safetensors").write_bytes(pickle.dumps({"a": 1}, protocol))
    assert "weights.safetensors" in refused(folder)


def test_an_archive_by_another_name_is_found_in_a_folder_too(folder):
    (folder / "deep").mkdir()
    with zipfile.ZipFile(folder / "deep" / "model.json", "w") as archive:
        archive.writestr("data.pkl", b"x")
    assert "model.json" in refused(folder)


def test_a_link_is_not_followed(folder, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("else") / "secret.txt"
    elsewhere.write_text("x")
    (folder / "notes.txt").symlink_to(elsewhere)
    assert "notes.txt" in refused(folder)
