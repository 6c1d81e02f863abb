"""Ports come from defaults, a base, or single variables."""

import pytest

from cli.ports import Ports
from services.common.errors import InvalidArgument


def test_the_defaults_are_those_of_the_services():
    assert dict(Ports.read({}).items()) == {
        "planner": 7101,
        "scheduler": 7102,
        "trainer": 7103,
        "serving": 7104,
        "nats": 7122,
        "mlflow": 7150,
        "openai": 7180,
        "metrics": 7181,
        "engine": 7190,
    }


def test_a_single_variable_wins_over_the_base():
    ports = Ports.read({"ATTUNE_PLANNER_PORT": "5", "ATTUNE_PORT_BASE": "9000"})
    assert (ports.planner, ports.scheduler) == (5, 9002)
    assert Ports.read({"ATTUNE_PORT_BASE": "9000"}, 8000).scheduler == 8002


def test_zero_becomes_ports_that_differ():
    ports = Ports.read({"ATTUNE_MLFLOW_PORT": "7777"}, 0).resolved()
    numbers = [port for _, port in ports.items()]
    assert ports.mlflow == 7777
    assert 0 not in numbers
    assert len(set(numbers)) == len(numbers)


@pytest.mark.parametrize("text", ["", "x", "-1", "65536"])
def test_what_is_no_port_is_refused_with_its_variable(text):
    with pytest.raises(InvalidArgument, match="ATTUNE_NATS_PORT"):
        Ports.read({"ATTUNE_NATS_PORT": text})
