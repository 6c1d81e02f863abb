import pytest

from services.common.settings import Port, Settings


class SomeSettings(Settings):
    port: int = Port
    """Port."""
    name: str = "x"
    """A name."""


def test_own_and_shared_variables_are_read(tmp_path):
    environ = {
        "ATTUNE_HOME": str(tmp_path),
        "ATTUNE_SOME_PORT": "12",
        "ATTUNE_OTHER_PORT": "13",
        "PATH": "/bin",
    }
    settings = SomeSettings.read("some", environ)
    assert (settings.home, settings.port, settings.name) == (tmp_path, 12, "x")
    assert settings.artefact_root == tmp_path / "artefacts"


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        ("ATTUNE_SOME_PROT", "1", "ATTUNE_SOME_PROT is not a setting"),
        ("ATTUNE_SOME_PORT", "many", "ATTUNE_SOME_PORT='many'"),
        ("ATTUNE_SOME_PORT", "70000", "less than or equal to 65535"),
    ],
)
def test_a_wrong_variable_is_one_line(variable, value, words):
    environ = {"ATTUNE_SOME_PORT": "1"} | {variable: value}
    with pytest.raises(SystemExit) as caught:
        SomeSettings.read("some", environ)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_every_setting_is_described():
    text = SomeSettings.describe("some")
    for name in ("ATTUNE_HOME", "ATTUNE_NATS_URL", "ATTUNE_SOME_PORT", "ATTUNE_SOME_NAME"):
        assert name in text


def test_a_value_may_stand_in_a_file(tmp_path):
    (tmp_path / "name").write_text("secret\n")
    (tmp_path / "nats").write_text("nats://user:secret@nats:4222")
    environ = {
        "ATTUNE_SOME_PORT": "1",
        "ATTUNE_SOME_NAME_FILE": str(tmp_path / "name"),
        "ATTUNE_NATS_URL_FILE": str(tmp_path / "nats"),
    }
    settings = SomeSettings.read("some", environ)
    assert (settings.name, settings.nats_url) == ("secret", "nats://user:secret@nats:4222")


def test_a_field_whose_own_name_ends_like_that_holds_a_path():
    class WithFile(SomeSettings):
        name_file: str = ""

    assert WithFile.read("some", {"ATTUNE_SOME_PORT": "1", "ATTUNE_SOME_NAME_FILE": "x"}).name_file


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "cannot be read (No such file or directory). Check the path"),
        (b"", "must hold 1 to 65,536 characters"),
        (b"x" * 70_000, "must hold 1 to 65,536 characters"),
        (b"\xff\xfe", "it is no UTF-8 text"),
    ],
)
def test_a_file_that_is_no_use_is_named(tmp_path, content, words):
    if content is not None:
        (tmp_path / "name").write_bytes(content)
    environ = {"ATTUNE_SOME_PORT": "1", "ATTUNE_SOME_NAME_FILE": str(tmp_path / "name")}
    with pytest.raises(SystemExit) as caught:
        SomeSettings.read("some", environ)
    assert f"ATTUNE_SOME_NAME_FILE='{tmp_path / 'name'}'" in str(caught.value)
    assert words in str(caught.value)


def test_what_a_file_held_is_in_no_error(tmp_path):
    (tmp_path / "port").write_text("secret")
    with pytest.raises(SystemExit) as caught:
        SomeSettings.read("some", {"ATTUNE_SOME_PORT_FILE": str(tmp_path / "port")})
    assert "What ATTUNE_SOME_PORT_FILE names: " in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_value_and_a_file_for_it_are_too_much(tmp_path):
    environ = {"ATTUNE_SOME_PORT": "1", "ATTUNE_SOME_PORT_FILE": str(tmp_path)}
    with pytest.raises(SystemExit, match="are both set"):
        SomeSettings.read("some", environ)


def test_a_file_for_what_is_no_setting_is_refused(tmp_path):
    environ = {"ATTUNE_SOME_PORT": "1", "ATTUNE_SOME_PROT_FILE": str(tmp_path)}
    with pytest.raises(SystemExit, match="ATTUNE_SOME_PROT_FILE is not a setting"):
        SomeSettings.read("some", environ)
