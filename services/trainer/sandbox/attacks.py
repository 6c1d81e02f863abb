"""What a sandbox must hold against. Runs behind the walls, as a grader: 1 means that it got out.

The first seven are those that any sandbox is tried with; the others go around single walls.
"""

from __future__ import annotations

import ctypes
import os
import resource
import socket
import time
from typing import Any

FLOOD_BYTES = 64 * 1024 * 1024
HANDLES = 64


def grade(sample: dict[str, Any], item: dict[str, Any]) -> float:
    """Return 1 if the attack that the sample names succeeds."""
    return float(ATTACKS[sample["output_text"]](item))


def _network(item: dict[str, Any]) -> bool:
    with socket.create_connection(("127.0.0.1", item["port"]), timeout=1):
        return True


def _memory(item: dict[str, Any]) -> bool:
    return len(bytearray(item["memory_bytes"])) > 0


def _endless(item: dict[str, Any]) -> bool:
    ends_s = time.monotonic() + item["time_s"]
    while time.monotonic() < ends_s:
        pass
    return True


def _large_file(item: dict[str, Any]) -> bool:
    with open("large", "wb", buffering=0) as file:
        return bool(file.write(b"x" * item["file_bytes"]) == item["file_bytes"])


def _environment(_item: dict[str, Any]) -> bool:
    return bool(os.environ)


def _files(item: dict[str, Any]) -> bool:
    with open(item["secret"]) as file:
        return bool(file.read())


def _processes(_item: dict[str, Any]) -> bool:
    child = os.fork()
    if not child:
        os._exit(0)
    return True


def _program(_item: dict[str, Any]) -> bool:
    return os.spawnv(os.P_WAIT, "/bin/sh", ["sh", "-c", "exit 0"]) == 0


def _other_processes(item: dict[str, Any]) -> bool:
    with open(f"/proc/{item['pid']}/environ", "rb") as file:
        return bool(file.read())


def _machine(_item: dict[str, Any]) -> bool:
    return os.getppid() != 1  # Behind the walls, the interpreter that stays is the first process.


def _write_outside(item: dict[str, Any]) -> bool:
    with open(item["folder"] + "/planted", "w") as file:
        return bool(file.write("x"))


def _modes(item: dict[str, Any]) -> bool:
    os.chmod(item["secret"], 0o777)
    return True


def _local_socket(item: dict[str, Any]) -> bool:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(item["socket"])
        return True


def _system_calls(_item: dict[str, Any]) -> bool:
    library = ctypes.CDLL(None)
    everything, user = 0x7E020000, 0x10000000
    results = (
        library.unshare(everything),
        library.unshare(user),
        library.mount(b"none", b"/", None, 0x21, None),
        library.setuid(0),
        library.ptrace(16, 1, 0, 0),
        library.syscall(425, 1, ctypes.create_string_buffer(256)),
    )
    return any(result >= 0 for result in results)


def _limits_of_others(_item: dict[str, Any]) -> bool:
    resource.prlimit(os.getppid(), resource.RLIMIT_CORE)
    return True


def _many_files(item: dict[str, Any]) -> bool:
    for index in range(2 * item["scratch_bytes"] // 65536):
        with open(f"part{index}", "wb", buffering=0) as file:
            if file.write(b"x" * 65536) < 65536:
                return False
    return True


def _output(_item: dict[str, Any]) -> bool:
    os.write(1, b"x" * 1024 * 1024)
    raise ValueError("x" * FLOOD_BYTES)


def _handles(_item: dict[str, Any]) -> bool:
    forged = b'{"score": 0.5}'
    for handle in range(HANDLES):
        if handle == 3:
            continue  # This sample's own reply.
        try:
            os.write(handle, len(forged).to_bytes(4, "big") + forged)
        except OSError:
            continue
    return False


def _leave(_item: dict[str, Any]) -> bool:
    with open("left", "w") as file:
        file.write("x")
    ATTACKS["left"] = lambda item: True
    time.left = True  # type: ignore[attr-defined]
    return False


def _left(_item: dict[str, Any]) -> bool:
    return bool(os.listdir(".")) or hasattr(time, "left")


ATTACKS = {
    "network": _network,
    "memory": _memory,
    "endless": _endless,
    "large_file": _large_file,
    "environment": _environment,
    "files": _files,
    "processes": _processes,
    "program": _program,
    "other_processes": _other_processes,
    "machine": _machine,
    "write_outside": _write_outside,
    "modes": _modes,
    "local_socket": _local_socket,
    "system_calls": _system_calls,
    "limits_of_others": _limits_of_others,
    "many_files": _many_files,
    "output": _output,
    "handles": _handles,
    "leave": _leave,
    "left": _left,
}
"""By name, in the order in which they are tried."""
