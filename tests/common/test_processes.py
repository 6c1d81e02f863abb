import os
import subprocess
import sys
import time

import psutil
import pytest

from services.common.processes import ProcessFolder, ProcessRecord, group_members

SLEEPER = "import time; time.sleep(60)"
STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)"
PARENT = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {STUBBORN!r}])"


@pytest.fixture
def started():
    processes = []

    def start(code: str) -> subprocess.Popen:
        process = subprocess.Popen([sys.executable, "-c", code], start_new_session=True)
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.poll() is None and os.killpg(process.pid, 9)
        process.wait()


def wait_for_members(record, count):
    for _ in range(400):
        if len(group_members(record)) == count:
            return
        time.sleep(0.02)
    raise AssertionError(group_members(record))


def test_a_recorded_process_is_found_by_who_comes_later(tmp_path, started):
    process = started(SLEEPER)
    ProcessFolder(tmp_path).record("one", process.pid)
    record = ProcessFolder(tmp_path).find("one")
    assert record is not None
    assert record.is_alive()
    process.kill()
    process.wait()
    assert not record.is_alive()


def test_another_process_with_the_same_id_is_not_ours(tmp_path, started):
    process = started(SLEEPER)
    record = ProcessFolder(tmp_path).record("one", process.pid)
    later = ProcessRecord("one", record.pid, record.start_time + 1000)
    assert not later.is_alive()
    ProcessFolder(tmp_path).end(later, grace_s=0.1)
    assert record.is_alive()


def test_a_child_that_outlives_its_killed_parent_is_ended_too(tmp_path, started):
    process = started(PARENT)
    folder = ProcessFolder(tmp_path)
    record = folder.record("parent", process.pid)
    wait_for_members(record, 2)
    process.kill()
    process.wait()
    assert len(group_members(record)) == 1
    folder.end(record, grace_s=0.2)
    wait_for_members(record, 0)
    assert folder.all() == []


def test_a_torn_record_is_passed_over(tmp_path):
    folder = ProcessFolder(tmp_path)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "torn.json").write_text('{"name": "torn", "pi')
    assert folder.all() == []


def test_a_process_that_has_ended_cannot_be_recorded(tmp_path, started):
    process = started("pass")
    process.wait()
    with pytest.raises(psutil.NoSuchProcess):
        ProcessFolder(tmp_path).record("gone", process.pid)


def test_a_process_that_leads_its_group_already_is_recorded(tmp_path):
    code = (
        "import pathlib, sys; from services.common.processes import ProcessFolder; "
        "ProcessFolder(pathlib.Path(sys.argv[1])).record_self('one')"
    )
    # As the init process of a container starts its child: a group of its own, no session.
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], process_group=0)
    assert process.wait() == 0
    record = ProcessFolder(tmp_path).find("one")
    assert record is not None
    assert record.pid == process.pid
