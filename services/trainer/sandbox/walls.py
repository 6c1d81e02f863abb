"""The walls of a sandbox, by system call: namespaces, read-only mounts, Landlock, seccomp, limits.

Each wall stops what the others let through. Landlock hides files but lets their modes be changed,
so all mounts are read-only; neither stops a socket that lies in a folder, so folders that hold some
are covered and sockets are refused; process limits do not bind root, so new processes are refused.
"""

from __future__ import annotations

import ctypes
import os
import platform
import resource
import struct
from collections.abc import Sequence

_libc = ctypes.CDLL(None, use_errno=True)

CLONE_NEWNS, CLONE_NEWIPC, CLONE_NEWUSER = 0x00020000, 0x08000000, 0x10000000
CLONE_NEWPID, CLONE_NEWNET, CLONE_THREAD = 0x20000000, 0x40000000, 0x00010000
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC = 1, 2, 4, 8
MS_PRIVATE_ALL = 0x00044000
"""MS_REC and MS_PRIVATE."""
AT_FDCWD, AT_RECURSIVE = -100, 0x8000
PR_SET_PDEATHSIG, PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS, SIGKILL = 1, 22, 38, 9
MOUNT_SETATTR = 442
LANDLOCK_CREATE, LANDLOCK_ADD, LANDLOCK_RESTRICT = 444, 445, 446
"""Numbers of system calls, the same on every processor."""
CAPABILITY_VERSION = 0x20080522
NOBODY = 65534
"""User and group inside."""
HIDDEN = ("/proc", "/sys", "/run", "/var", "/tmp", "/dev/shm", "/home", "/root", "/srv", "/opt")
"""Folders that are covered with nothing, unless the interpreter lies in one."""
SCRATCHES = ("/tmp", "/var/tmp", "/mnt", "/srv", "/media")
"""Where the one folder that can be written may be; the first that hides nothing needed."""
SYSTEM_LIBRARIES = ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/share/zoneinfo")
SYSTEM_FILES = ("/etc/ld.so.cache", "/etc/localtime", "/dev/urandom")

READ_FILE, READ_FOLDER, IOCTL_DEVICE = 1 << 2, 1 << 3, 1 << 15
WRITE = (1 << 1) | sum(1 << bit for bit in range(4, 15))
"""Write, make, remove, rename and cut files of every kind."""
RIGHTS_BY_ABI = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 5: (1 << 16) - 1}
"""What a version of Landlock can refuse on files; between two, what the lower one can."""
NET_ABI, SCOPE_ABI = 4, 6
"""Versions since which it refuses TCP, and signals and abstract sockets to the outside."""

ARCHITECTURE = 0xC000003E
"""AUDIT_ARCH_X86_64, whose numbers the filter knows; the lock is for this processor alone."""
REFUSED_CALLS = (
    41, 42, 43, 49, 50, 53, 288,  # socket, connect, accept, bind, listen, socketpair, accept4
    57, 58, 59, 322,  # fork, vfork, execve, execveat
    101, 310, 311, 434, 438, 424,  # ptrace, other processes' memory, pidfd
    155, 161, 165, 166, 272, 308,  # pivot_root, chroot, mount, umount, unshare, setns
    428, 429, 430, 431, 432, 433, 442,  # the newer ways to mount
    29, 30, 64, 68, 240, 319, 447,  # shared memory, semaphores, queues, memfd, memfd_secret
    248, 249, 250, 298, 321, 323, 425, 426, 427,  # keys, perf, bpf, userfaultfd, io_uring
    303, 304, 175, 313, 246, 320, 169, 149, 151, 325,  # handles, modules, kexec, reboot, mlock
    141, 142, 144, 203, 251, 314,  # priorities and schedules
    103, 206,  # the kernel's log, and requests that the whole machine has a number of
)  # fmt: skip
"""Numbers of what graders have no use for."""
CLONE, CLONE3, PRLIMIT = 56, 435, 302
EPERM, ENOSYS = 1, 38
LOAD, EQUAL, MASKED, AT_LEAST, RETURN = 0x20, 0x15, 0x45, 0x35, 0x06
"""BPF: load a word, jump if equal, jump if bits are set, jump if at least, return."""
ALLOW, REFUSE, KILL = 0x7FFF0000, 0x00050000, 0x80000000


class WallMissing(Exception):
    """The kernel or its settings do not let a wall be built."""


def landlock_abi() -> int:
    """Return the version of Landlock; 0 where there is none."""
    return max(0, int(_libc.syscall(LANDLOCK_CREATE, None, 0, 1)))


def enter_namespaces() -> None:
    """Leave users, mounts, network, processes and shared memory of the machine behind.

    Processes that are made from now on see only each other.

    Raises:
        WallMissing: If the machine does not allow it.
    """
    user, group = os.getuid(), os.getgid()
    flags = CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWPID | CLONE_NEWIPC
    _check(_libc.unshare(flags), "namespaces")
    for name, text in (
        ("setgroups", "deny"),
        ("uid_map", f"{NOBODY} {user} 1"),
        ("gid_map", f"{NOBODY} {group} 1"),
    ):
        with open(f"/proc/self/{name}", "w") as file:
            file.write(text)


def die_with_parent() -> None:
    """Have this process killed when the one that made it is gone."""
    _check(_libc.prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0), "the parent's end")


def close_files(readable: Sequence[str], scratch_bytes: int) -> str:
    """Make all that is mounted read-only, hide most of it, and return the one folder for writing.

    Args:
        readable: Files and folders that the interpreter needs.
        scratch_bytes: What that folder may hold; it is kept in memory.

    Raises:
        WallMissing: If the kernel refuses.
    """
    needed = [*readable, *SYSTEM_LIBRARIES]
    _check(_libc.mount(None, b"/", None, MS_PRIVATE_ALL, None), "mounts of its own")
    attributes = struct.pack("QQQQ", MS_RDONLY | MS_NOSUID, 0, 0, 0)
    done = _libc.syscall(MOUNT_SETATTR, AT_FDCWD, b"/", AT_RECURSIVE, attributes, len(attributes))
    _check(done, "read-only mounts")
    for folder in HIDDEN:
        if _may_cover(folder, needed):
            _cover(folder, MS_RDONLY, "size=4k,nr_inodes=2")
    scratch = next((each for each in SCRATCHES if _may_cover(each, needed)), None)
    if scratch is None:
        raise WallMissing(f"None of {', '.join(SCRATCHES)} can be its folder.")
    _cover(scratch, 0, f"size={scratch_bytes},nr_inodes=256,mode=700")
    return scratch


def drop_capabilities() -> None:
    """Give up all rights of root, and the way back to them.

    Raises:
        WallMissing: If the kernel refuses.
    """
    header = struct.pack("Ii", CAPABILITY_VERSION, 0)
    _check(_libc.capset(header, struct.pack("6I", *[0] * 6)), "capabilities")
    _check(_libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no new privileges")


def restrict_files(readable: Sequence[str], scratch: str) -> None:
    """Allow reading what is named, writing the one folder, and no other file, for good.

    Raises:
        WallMissing: If the kernel has no Landlock.
    """
    abi = landlock_abi()
    if abi < 1:
        raise WallMissing("The kernel has no Landlock (security/landlock, since Linux 5.13).")
    handled = RIGHTS_BY_ABI[max(known for known in RIGHTS_BY_ABI if known <= abi)]
    net, scopes = (0b11 if abi >= NET_ABI else 0), (0b11 if abi >= SCOPE_ABI else 0)
    size = 24 if abi >= SCOPE_ABI else 16 if abi >= NET_ABI else 8
    attributes = struct.pack("QQQ", handled, net, scopes)
    rules = int(_libc.syscall(LANDLOCK_CREATE, attributes, size, 0))
    _check(rules, "Landlock")
    read = READ_FILE | READ_FOLDER
    for path in (*readable, *SYSTEM_LIBRARIES):
        _allow(rules, path, read)
    for path in SYSTEM_FILES:
        _allow(rules, path, READ_FILE)
    _allow(rules, scratch, (read | WRITE) & handled & ~IOCTL_DEVICE)
    _check(_libc.syscall(LANDLOCK_RESTRICT, rules, 0), "Landlock")
    os.close(rules)


def limit(memory_bytes: int, file_bytes: int, cpu_s: int) -> None:
    """Bound what this process may use, for good.

    Args:
        memory_bytes: Address space, what is there already included.
        file_bytes: Size of one file.
        cpu_s: Seconds of computing.
    """
    for name, value in (
        (resource.RLIMIT_AS, memory_bytes),
        (resource.RLIMIT_FSIZE, file_bytes),
        (resource.RLIMIT_CPU, cpu_s),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_MEMLOCK, 0),
        (resource.RLIMIT_NOFILE, 64),
        (resource.RLIMIT_NPROC, 64),
    ):
        hard = resource.getrlimit(name)[1]
        bound = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(name, (bound, bound))


def refuse_calls() -> None:
    """Refuse system calls that open ways out or make processes, for good; threads may be made.

    Raises:
        WallMissing: If the processor is another one, or the kernel has no filters.
    """
    if platform.machine() != "x86_64":
        raise WallMissing(f"There is no filter of system calls for {platform.machine()}.")
    program = _filter()
    code = ctypes.create_string_buffer(program)
    count = len(program) // 8
    # struct sock_fprog: a count, padding, the address.
    handle = struct.pack("HxxxxxxQ", count, ctypes.addressof(code))
    _check(_libc.prctl(PR_SET_SECCOMP, 2, handle, 0, 0), "a filter of system calls")


def _filter() -> bytes:
    """Return the filter as BPF.

    It refuses what is listed, `clone` unless it makes a thread, and limits of another process: the
    interpreter that stays would hand them on to the next sample.
    """
    lines: list[tuple[int, str, str, int]] = [
        (LOAD, "", "", 4),  # The processor
        (EQUAL, "", "kill", ARCHITECTURE),
        (LOAD, "", "", 0),  # Number of the call
        (AT_LEAST, "refuse", "", 0x40000000),  # Calls of another word size
        (EQUAL, "none", "", CLONE3),  # Its flags cannot be seen; libraries then try `clone`.
        (EQUAL, "clone", "", CLONE),
        (EQUAL, "limit", "", PRLIMIT),
        *((EQUAL, "refuse", "", number) for number in REFUSED_CALLS),
        (RETURN, "", "", ALLOW),
    ]
    labels = {"clone": len(lines)}
    lines += [(LOAD, "", "", 16), (MASKED, "", "refuse", CLONE_THREAD), (RETURN, "", "", ALLOW)]
    labels["limit"] = len(lines)
    lines += [(LOAD, "", "", 16), (EQUAL, "", "refuse", 0), (RETURN, "", "", ALLOW)]
    for label, value in (("refuse", REFUSE | EPERM), ("none", REFUSE | ENOSYS), ("kill", KILL)):
        labels[label] = len(lines)
        lines.append((RETURN, "", "", value))
    packed = bytearray()
    for index, (code, then, otherwise, value) in enumerate(lines):
        jumps = (labels[each] - index - 1 if each else 0 for each in (then, otherwise))
        packed += struct.pack("HBBI", code, *jumps, value)
    return bytes(packed)


def _may_cover(folder: str, needed: Sequence[str]) -> bool:
    inside = os.path.join(folder, "")
    return (
        os.path.isdir(folder)
        and not os.path.islink(folder)
        and not any(path == folder or path.startswith(inside) for path in needed)
    )


def _cover(folder: str, flags: int, options: str) -> None:
    all_flags = flags | MS_NOSUID | MS_NODEV | MS_NOEXEC
    done = _libc.mount(b"none", folder.encode(), b"tmpfs", all_flags, options.encode())
    _check(done, f"a mount on {folder}")


def _allow(rules: int, path: str, rights: int) -> None:
    try:
        handle = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        if not os.path.isdir(path):
            rights &= READ_FILE | (1 << 1)
        rule = struct.pack("=Qi", rights, handle)
        _check(_libc.syscall(LANDLOCK_ADD, rules, 1, rule, 0), "Landlock")
    finally:
        os.close(handle)


def _check(result: int, wall: str) -> None:
    if result < 0:
        reason = os.strerror(ctypes.get_errno())
        raise WallMissing(f"The machine does not give it {wall}: {reason}.")
