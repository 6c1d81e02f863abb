"""Addresses are written for every client, and missing ones are explained."""

import json

import pytest

from cli.endpoints import Endpoints
from cli.home import Home
from cli.launcher.launch import Launch
from cli.ports import Ports
from services.common.errors import FailedPrecondition


def test_the_file_has_the_seven_addresses(tmp_path):
    home = Home(tmp_path)
    Endpoints.of("127.0.0.1", Ports.read({})).write(home)
    assert json.loads(home.endpoints.read_text()) == {
        "planner": "127.0.0.1:7101",
        "scheduler": "127.0.0.1:7102",
        "trainer": "127.0.0.1:7103",
        "serving": "127.0.0.1:7104",
        "openai": "http://127.0.0.1:7180/v1",
        "mlflow": "http://127.0.0.1:7150",
        "nats": "nats://127.0.0.1:7122",
    }
    assert Endpoints.read(home) == Endpoints.of("127.0.0.1", Ports.read({}))


def test_what_listens_everywhere_is_reached_on_loopback():
    assert Endpoints.of("0.0.0.0", Ports.read({})).planner == "127.0.0.1:7101"


@pytest.mark.parametrize("text", [None, "", "{", '{"planner": "x"}', "[]"])
def test_no_file_or_a_broken_one_means_that_nothing_runs(tmp_path, text):
    home = Home(tmp_path)
    if text is not None:
        home.endpoints.write_text(text)
    with pytest.raises(FailedPrecondition, match="attune up"):
        Endpoints.read(home)


def test_a_launch_is_kept_as_it_was(tmp_path):
    launch = Launch("127.0.0.1", Ports.read({}), "local/m", "/data/m", at_hand=True)
    launch.write(Home(tmp_path))
    assert Launch.find(Home(tmp_path)) == launch


def test_a_broken_launch_is_none(tmp_path):
    assert Launch.find(Home(tmp_path)) is None
    Home(tmp_path).launch.write_text('{"ports": 3}')
    assert Launch.find(Home(tmp_path)) is None
