"""What processes and their machine say of memory, and which errors mean that it is out."""

import errno
import signal
from pathlib import Path

import pytest
import torch
from attune.scheduler.v1.scheduler_pb2 import PHASE_TRAIN
from attune.scheduler.v1.worker_pb2 import FinishRunRequest

from services.trainer.attempt import Attempt
from services.trainer.memory import limit_bytes, oom_kill_count, peak_resident_bytes, restart_peak
from services.trainer.recipes.processor import is_out_of_memory
from services.trainer.run import ExitCode, Phase, Progress
from services.trainer.supervisor import outcome
from tests.trainer import tiny

MIB = 1024**2


def caused(error: Exception) -> Exception:
    try:
        try:
            raise error
        except Exception as first:
            raise ValueError("the batch could not be made") from first
    except ValueError as found:
        return found


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
        RuntimeError("CUDA out of memory. Tried to allocate 20.00 MiB (GPU 0; 1.00 GiB total)"),
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:124] err == 0. DefaultCPUAllocator: can't allocate "
            "memory: you tried to allocate 800000000000 bytes. Error code 12"
        ),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
        caused(MemoryError()),
    ],
    ids=lambda error: type(error).__name__,
)
def test_errors_of_too_little_memory_are_known(error):
    assert is_out_of_memory(error)


@pytest.mark.parametrize(
    "error", [ValueError("memory"), RuntimeError("shape mismatch"), OSError(errno.ENOSPC, "full")]
)
def test_other_errors_are_not(error):
    assert not is_out_of_memory(error)


def test_torch_itself_says_it_in_words_that_are_known():
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60, dtype=torch.uint8)
    assert is_out_of_memory(caught.value)


def test_the_peak_is_of_the_time_since_it_was_restarted():
    held = bytearray(200 * MIB)
    before = peak_resident_bytes()
    assert before > len(held)
    del held
    restart_peak()
    assert peak_resident_bytes() < before - 100 * MIB


def files(folder: Path, *, vmstat: int, events: int | None, control: int | None, path: str) -> dict:
    """Write what the system would say and return where."""
    group = folder / "cgroups" / path.lstrip("/")
    old = folder / "cgroups" / "memory" / path.lstrip("/")
    group.mkdir(parents=True, exist_ok=True)
    old.mkdir(parents=True, exist_ok=True)
    (folder / "vmstat").write_text(f"pgfault 5\noom_kill {vmstat}\n")
    lines = []
    if events is not None:
        (group / "memory.events").write_text(f"low 0\noom 9\noom_kill {events}\n")
        lines.append(f"0::{path}")
    if control is not None:
        (old / "memory.oom_control").write_text(f"under_oom 0\noom_kill {control}\n")
        lines.append(f"4:cpu,memory:{path}")
    (folder / "cgroup").write_text("\n".join([*lines, "2:pids:/", ""]))
    return {
        "vmstat": folder / "vmstat",
        "cgroup": folder / "cgroup",
        "cgroups": folder / "cgroups",
    }


@pytest.mark.parametrize("path", ["/", "/run/part"])
def test_kills_are_counted_on_the_machine_and_in_the_groups(tmp_path, path):
    count = oom_kill_count(**files(tmp_path, vmstat=3, events=2, control=None, path=path))
    assert count == 5
    count = oom_kill_count(**files(tmp_path, vmstat=3, events=None, control=4, path=path))
    assert count == 7


def test_a_system_that_says_nothing_has_killed_nothing(tmp_path):
    gone = tmp_path / "gone"
    assert oom_kill_count(gone, gone, gone) == 0


@pytest.fixture
def killed(tmp_path: Path):
    """A lease and the folder of its attempt, which was at step 3 of its training."""
    spec = tiny.a_spec("r" * 64, "a" * 64, "b" * 64)
    manifest = tiny.a_manifest(tmp_path, spec)
    attempt = Attempt.create(tmp_path / "run" / "attempt-000001", manifest)
    attempt.report(Progress(Phase.TRAIN, 3, 18, 1.5, None, 700 * MIB))
    return tiny.a_lease(spec), attempt


def test_a_killed_run_ran_out_only_if_the_system_killed_for_memory(killed):
    request = outcome(*killed, -signal.SIGKILL, oom_killed=True)
    assert request.outcome == FinishRunRequest.OUTCOME_OUT_OF_MEMORY
    memory = request.memory
    assert (memory.phase, memory.step_count, memory.peak_bytes) == (PHASE_TRAIN, 3, 700 * MIB)
    assert memory.parallel_plan == killed[0].placement.parallel_plan
    assert memory.checkpoint_step_count == 0
    for code, oom_killed in ((-signal.SIGKILL, False), (-signal.SIGTERM, True)):
        request = outcome(*killed, code, oom_killed=oom_killed)
        assert request.outcome == FinishRunRequest.OUTCOME_LOST


def test_a_run_that_says_so_itself_ran_out(killed):
    facts = {"done": 5, "peak_bytes": 900 * MIB, "max_token_count": 40}
    killed[1].write_error("OUT_OF_MEMORY", "MemoryError: ", **facts)
    request = outcome(*killed, ExitCode.CRASHED)
    assert request.outcome == FinishRunRequest.OUTCOME_OUT_OF_MEMORY
    assert request.memory.step_count == 5
    assert request.memory.peak_bytes == 900 * MIB
    assert request.memory.max_token_count == 40


def test_the_least_limit_of_our_groups_holds(tmp_path):
    cgroup = tmp_path / "cgroup"
    cgroup.write_text("0::/slice/unit\n")
    inner = tmp_path / "groups" / "slice" / "unit"
    inner.mkdir(parents=True)
    (inner / "memory.max").write_text("max\n")
    assert limit_bytes(cgroup, tmp_path / "groups") is None
    (inner.parent / "memory.max").write_text("2048\n")
    assert limit_bytes(cgroup, tmp_path / "groups") == 2048
    (inner / "memory.max").write_text("1024\n")
    assert limit_bytes(cgroup, tmp_path / "groups") == 1024


def test_in_a_container_the_limit_is_that_of_the_root(tmp_path):
    cgroup = tmp_path / "cgroup"
    cgroup.write_text("0::/path/of/the/host\n")
    (tmp_path / "groups").mkdir()
    (tmp_path / "groups" / "memory.max").write_text("4096\n")
    assert limit_bytes(cgroup, tmp_path / "groups") == 4096
