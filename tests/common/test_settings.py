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
