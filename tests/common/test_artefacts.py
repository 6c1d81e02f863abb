import pytest

from services.common.artefacts import (
    MANIFEST,
    Artefacts,
    publish,
    read_manifest,
    staging_folder,
    write_manifest,
)


def a_folder(root, text="weights"):
    target = root / "adapters" / "x"
    staged = staging_folder(target)
    (staged / "a.bin").write_text(text)
    digest = write_manifest(staged, {"fence": 3})
    publish(staged, target)
    return target, digest


def test_a_published_folder_is_whole(tmp_path):
    target, digest = a_folder(tmp_path)
    assert read_manifest(target) == {"fence": 3}
    assert len(digest) == 64
    assert [path.name for path in target.parent.iterdir()] == ["x"]


def test_the_same_content_has_the_same_hash(tmp_path):
    assert a_folder(tmp_path / "1")[1] == a_folder(tmp_path / "2")[1]
    assert a_folder(tmp_path / "1b", "other")[1] != a_folder(tmp_path / "2b")[1]


@pytest.mark.parametrize("damage", ["truncate", "flip", "remove", "manifest"])
def test_a_damaged_folder_is_not_read(tmp_path, damage):
    target, _ = a_folder(tmp_path)
    path = target / "a.bin"
    if damage == "truncate":
        path.write_text("weigh")
    elif damage == "flip":
        path.write_text("weighTs")
    elif damage == "remove":
        path.unlink()
    else:
        (target / MANIFEST).write_text('{"files": ')
    assert read_manifest(target) is None


def test_the_first_of_two_equal_results_stays(tmp_path):
    target, _ = a_folder(tmp_path)
    before = (target / "a.bin").stat().st_ino
    a_folder(tmp_path)
    assert (target / "a.bin").stat().st_ino == before
    assert [path.name for path in target.parent.iterdir()] == ["x"]


def test_a_model_id_becomes_one_folder(tmp_path):
    assert Artefacts(tmp_path).model("attune/starter").parent == tmp_path / "models"
