"""Each broken precondition is one line that names the remedy."""

import os
import socket

import pytest

from cli.launcher import checks
from cli.launcher.launch import RunEngine
from cli.ports import Ports


def test_this_machine_passes(tmp_path):
    ports = Ports.read({}, 0).resolved()
    assert checks.broken_preconditions(tmp_path / "home", "127.0.0.1", ports, {}, RunEngine()) == []


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (checks.machine_line("Darwin", "arm64"), ("Darwin on arm64", "Linux on x86-64")),
        (checks.python_line((3, 10)), ("Python 3.10", "make setup")),
        (checks.torch_build_line("cpu", "12.8"), ("CUDA 12.8", checks.CPU_TORCH)),
        (checks.torch_build_line("cuda", None), ("CPU build", "CUDA build")),
        (checks.torch_line("tpu"), ("'tpu'", "cpu or cuda")),
    ],
)
def test_a_line_says_what_is_wrong_and_what_to_do(line, words):
    assert all(word in line for word in words)
    assert "\n" not in line


def test_what_is_right_has_no_line():
    assert checks.machine_line("Linux", "x86_64") is None
    assert checks.python_line((3, 11)) is None
    assert checks.torch_build_line("cpu", None) is None
    assert checks.torch_build_line("cuda", "12.8") is None


def test_a_full_disk_says_how_much_is_needed(tmp_path):
    assert checks.disk_line(tmp_path, 3 * 10**9) is None
    line = checks.disk_line(tmp_path, 10**9)
    assert "1.0 GB are free" in line
    assert "3 GB" in line
    assert "ATTUNE_HOME" in line


def test_a_home_that_is_a_file_cannot_be_written(tmp_path):
    (tmp_path / "home").write_text("")
    line = checks.home_line(tmp_path / "home")
    assert str(tmp_path / "home") in line
    assert "set ATTUNE_HOME" in line


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_home_without_permission_cannot_be_written(tmp_path):
    tmp_path.chmod(0o500)
    assert "Permission denied" in checks.home_line(tmp_path / "home")


def test_a_port_in_use_names_the_process_the_port_and_the_variable():
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        line = checks.port_line("serving", port, "127.0.0.1")
    assert f"Port {port} for serving" in line
    assert "ATTUNE_SERVING_PORT" in line
    assert checks.port_line("serving", port, "127.0.0.1") is None


@pytest.mark.parametrize(
    ("name", "address", "said"),
    [
        ("slurm", "", "ATTUNE_ENGINE='slurm' is unknown"),
        ("local", "10.0.0.1:6379", "is for --engine ray"),
        ("ray", "", "needs --ray-address"),
        ("ray", "ray://10.0.0.1:10001", "is not HOST:PORT"),
        ("ray", "10.0.0.1", "is not HOST:PORT"),
        ("ray", "10.0.0.1:99999", "is not HOST:PORT"),
    ],
)
def test_an_engine_that_cannot_be_is_one_line_with_the_remedy(name, address, said):
    line = checks.engine_line(RunEngine(name, address), has_ray=True)
    assert said in line
    assert "\n" not in line


def test_an_engine_that_can_be_is_no_line():
    assert checks.engine_line(RunEngine(), has_ray=False) is None
    assert checks.engine_line(RunEngine("ray", "auto"), has_ray=True) is None
    assert checks.engine_line(RunEngine("ray", "head:6379"), has_ray=True) is None
    assert "make setup" in checks.engine_line(RunEngine("ray", "auto"), has_ray=False)


def test_a_head_that_nobody_runs_is_told_before_anything_starts(tmp_path):
    with socket.socket() as head:
        head.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{head.getsockname()[1]}"
        engine = RunEngine("ray", address)
        ports = Ports.read({}, 0).resolved()
        (line,) = checks.broken_preconditions(tmp_path / "home", "127.0.0.1", ports, {}, engine)
        assert line.startswith(f"--ray-address {address}: nobody answers there")
        assert "ray start --head" in line
        head.listen()
        assert checks.head_line(address) is None
    assert checks.head_line("auto") is None
