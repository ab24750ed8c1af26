"""Every system call by which a `mirror` command changes something on disk: counted, and the Nth one killed, failed, or cut short.

The kernel stops each of these calls before it is done and asks us (seccomp_unotify(2), Linux 5.6 or newer), in whichever
thread it is made: so one number names one moment of a run, and nothing of the command itself is changed. Neither root nor
strace is needed; `demand` fails where the kernel does not do it, and never skips by itself.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os
import platform
import select
import signal
import socket
import struct
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final

import pytest

from tests.support import preloaded

#: Names and numbers of the calls, by machine (the kernel's tables), and where a call says which file it is about.
_BY_DESCRIPTOR: Final = {
    "x86_64": {
        "write": 1, "pwrite64": 18, "writev": 20, "sendfile": 40, "fsync": 74, "fdatasync": 75, "ftruncate": 77, "fchmod": 91, "fchown": 93,
        "fsetxattr": 190, "fallocate": 285, "pwritev": 296, "syncfs": 306, "pwritev2": 328,
    },
    "aarch64": {
        "write": 64, "pwrite64": 68, "writev": 66, "sendfile": 71, "fsync": 82, "fdatasync": 83, "ftruncate": 46, "fchmod": 52, "fchown": 55,
        "fsetxattr": 7, "fallocate": 47, "pwritev": 70, "syncfs": 267, "pwritev2": 287,
    },
}  # fmt: skip
_BY_NAME: Final = {
    "x86_64": {
        "rename": 82, "mkdir": 83, "rmdir": 84, "creat": 85, "link": 86, "unlink": 87, "symlink": 88, "chmod": 90, "truncate": 76, "setxattr": 188,
        "mkdirat": 258, "unlinkat": 263, "renameat": 264, "linkat": 265, "symlinkat": 266, "fchmodat": 268, "renameat2": 316,
    },
    "aarch64": {
        "truncate": 45, "setxattr": 5, "mkdirat": 34, "unlinkat": 35, "symlinkat": 36, "linkat": 37, "renameat": 38, "fchmodat": 53, "renameat2": 276,
    },
}  # fmt: skip
_COPY: Final = {"x86_64": {"copy_file_range": 326}, "aarch64": {"copy_file_range": 285}}
#: Opening is counted where it may make a file or empty one: number, and which argument has the flags.
_OPEN: Final = {"x86_64": {"open": (2, 1), "openat": (257, 2)}, "aarch64": {"openat": (56, 2)}}
_SECCOMP: Final = {"x86_64": 317, "aarch64": 277}
_AUDIT_ARCH: Final = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
#: Reading is asked about too, where a medium is to fail.
_READ: Final = {"x86_64": {"read": 0, "pread64": 17, "readv": 19}, "aarch64": {"read": 63, "pread64": 67, "readv": 65}}
_PIDFD_GETFD: Final = 438
_NEW_LISTENER: Final = 8
_MODE_FILTER: Final = 1
_NO_NEW_PRIVS: Final = 38
_ALLOW, _ASK = 0x7FFF0000, 0x7FC00000
_RECV, _SEND, _CONTINUE = 0xC0502100, 0xC0182101, 1
_LIBC: Final = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class Call:
    """The `number`th of a run, from 1; `path` of the file, as the call has it where it names it; `size` of what is written, else 0."""

    number: int
    name: str
    path: str
    size: int


@dataclass(frozen=True, slots=True)
class Kill:
    """The process ends before the call; of a write, `after` bytes reach the file first."""

    after: int = 0


Answer = int | Kill | None  # an errno that the call fails with, or nothing: it is done


@dataclass(slots=True)
class Ran:
    """What became of a command: its exit status (negative: a signal), what it printed, and every call that was asked about."""

    code: int
    out: str
    err: str
    calls: list[Call] = field(default_factory=list)


def demand() -> None:
    """Fail where this machine's kernel does not ask."""
    machine = platform.machine()
    if machine not in _SECCOMP:
        pytest.fail(f"no system calls are known here for {machine}", pytrace=False)


def run(
    arguments: Sequence[str], decide: Callable[[Call], Answer], *, below: Sequence[Path], cwd: Path, env: Mapping[str, str],
    first: str = __name__, reads: bool = False, seconds: float = 60.0,
) -> Ran:  # fmt: skip
    """`mirror <arguments>` to its end, however that comes.

    `decide` is asked of each call about a file below one of `below`, or about a name; with `reads` of reads too. `first`
    names a module whose `surrender` takes the place of ours, and calls it.
    """
    demand()
    done = Ran(0, "", "")
    prefixes = tuple(f"{path.resolve()}/" for path in below)
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as door, preloaded.open_temporary() as out, preloaded.open_temporary() as err:
        door.bind("")  # an abstract address of the kernel's choice
        door.listen(1)
        name = door.getsockname()[1:].decode()
        command = preloaded.start(arguments, cwd=cwd, env=env, stderr=err, stdout=out, first=f"{first}:{'reads' if reads else 'writes'}:{name}")
        door.settimeout(20)
        try:
            line, _ = door.accept()
        except TimeoutError:
            pytest.fail(f"no system call is asked about here: Linux 5.6 or newer has to, and its seccomp filters must be allowed: {_text(err)}", pytrace=False)
        with line:
            _, (listener, *_), _, _ = socket.recv_fds(line, 1, 1)
        try:
            _answered(listener, command, decide, prefixes, done, time.monotonic() + seconds)
        finally:
            os.close(listener)
            command.kill()
        done.code = command.wait(20)
        done.out, done.err = (_text(file) for file in (out, err))
    return done


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode("utf-8", "replace")


def _answered(listener: int, command: Any, decide: Callable[[Call], Answer], prefixes: tuple[str, ...], done: Ran, deadline: float) -> None:
    names = _numbers(reads=True)
    poll = select.poll()
    poll.register(listener, select.POLLIN)
    while True:
        ready = poll.poll(1000)
        assert time.monotonic() < deadline, f"the command did not end: {done.calls[-3:]}"
        if not ready:
            continue
        if ready[0][1] & select.POLLHUP and not ready[0][1] & select.POLLIN:
            return  # nobody is left who could call
        asked = bytearray(80)
        try:
            fcntl.ioctl(listener, _RECV, asked)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.EINTR):
                continue  # its thread was killed meanwhile
            raise
        (identity, pid), (number,), arguments = struct.unpack_from("QI", asked), struct.unpack_from("i", asked, 16), struct.unpack_from("6Q", asked, 32)
        call = _call(len(done.calls) + 1, names[number], pid, arguments, prefixes)
        answer: Answer = None
        if call is not None:
            done.calls.append(call)
            answer = decide(call)
        if isinstance(answer, Kill):
            if answer.after:
                _cut(pid, names[number], arguments, answer.after)
            os.kill(command.pid, signal.SIGKILL)
            return
        with contextlib.suppress(FileNotFoundError):
            fcntl.ioctl(listener, _SEND, struct.pack("QqiI", identity, 0, -answer if answer else 0, 0 if answer else _CONTINUE))


def _call(number: int, name: str, pid: int, arguments: tuple[int, ...], prefixes: tuple[str, ...]) -> Call | None:
    machine = platform.machine()
    at = 2 if name == "copy_file_range" else 0
    if name in _BY_DESCRIPTOR[machine] or name in _COPY[machine] or name in _READ[machine]:
        try:
            path = os.readlink(f"/proc/{pid}/fd/{ctypes.c_int(arguments[at] & 0xFFFFFFFF).value}")
        except OSError:
            return None
        return Call(number, name, path, arguments[2] if name in ("write", "pwrite64") else 0) if f"{path}/".startswith(prefixes) else None
    return Call(number, name, _named(pid, arguments[1 if "at" in name[-2:] or name == "renameat2" else 0]), 0)


def _named(pid: int, address: int) -> str:
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        memory.seek(address)
        return os.fsdecode(memory.read(4096 - address % 4096).partition(b"\0")[0])


def _cut(pid: int, name: str, arguments: tuple[int, ...], count: int) -> None:
    """Do the beginning of a write for the process that asked, into its own open file."""
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        memory.seek(arguments[1])
        data = memory.read(count)
    process = os.pidfd_open(_leader(pid))
    theirs = _LIBC.syscall(_PIDFD_GETFD, process, arguments[0], 0)
    os.close(process)
    if theirs < 0:
        raise OSError(ctypes.get_errno(), "pidfd_getfd")
    try:
        assert (os.pwrite(theirs, data, arguments[3]) if name == "pwrite64" else os.write(theirs, data)) == count
    finally:
        os.close(theirs)


def _leader(thread: int) -> int:
    for line in Path(f"/proc/{thread}/status").read_text().splitlines():
        if line.startswith("Tgid:"):
            return int(line.split()[1])
    raise ProcessLookupError(thread)


def _numbers(*, reads: bool) -> dict[int, str]:
    machine = platform.machine()
    tables = [_BY_DESCRIPTOR[machine], _BY_NAME[machine], _COPY[machine], *([_READ[machine]] if reads else [])]
    return {number: name for table in tables for name, number in table.items()} | {number: name for name, (number, _) in _OPEN[machine].items()}


# --- in the process that is asked about ---------------------------------------------------------------------------


def surrender(kind: str, door: str) -> None:
    """From here on every such call of this process waits for an answer from whoever listens at `door`."""
    program = _program(reads=kind == "reads")
    code = ctypes.create_string_buffer(program)
    head = struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(code))
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as line:
        line.connect("\0" + door)
        if _LIBC.prctl(_NO_NEW_PRIVS, 1, 0, 0, 0):
            raise OSError(ctypes.get_errno(), "prctl")
        listener = _LIBC.syscall(_SECCOMP[platform.machine()], _MODE_FILTER, _NEW_LISTENER, head)
        if listener < 0:
            raise OSError(ctypes.get_errno(), "seccomp: this kernel does not ask about system calls")
        socket.send_fds(line, [b"."], [listener])
        os.close(listener)


def _program(*, reads: bool) -> bytes:
    """Classic BPF (linux/filter.h) over `struct seccomp_data`: number at 0, machine at 4, low half of argument n at 16 + 8n."""
    machine = platform.machine()
    load, equal, any_of, give = 0x20, 0x15, 0x45, 0x06
    lines = [(load, 0, 0, 4), (equal, 1, 0, _AUDIT_ARCH[machine]), (give, 0, 0, _ALLOW), (load, 0, 0, 0)]
    opening = {number for number, _ in _OPEN[machine].values()}
    for number in sorted(set(_numbers(reads=reads)) - opening):
        lines += [(equal, 0, 1, number), (give, 0, 0, _ASK)]
    for number, place in _OPEN[machine].values():
        lines += [(equal, 0, 4, number), (load, 0, 0, 16 + 8 * place), (any_of, 0, 1, os.O_CREAT | os.O_TRUNC), (give, 0, 0, _ASK), (give, 0, 0, _ALLOW)]
    lines.append((give, 0, 0, _ALLOW))
    return b"".join(struct.pack("HBBI", *line) for line in lines)
