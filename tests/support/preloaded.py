"""The `mirror` command in processes of its own, without a second of imports each.

One process a test run (and xdist worker) imports the product once and forks for every command that a test asks for: the
child has its own memory, files, signals and working directory, and differs from `python -m mirror.cli.main` in when its
modules were read. Where that matters (start-up itself, an installed command) a test starts the command afresh; an
environment that says something to the interpreter or to the linker of programs does so by itself.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import json
import os
import pkgutil
import random
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any, NoReturn

_FRAME = 1 << 20
_MODULE = [sys.executable, "-m", "mirror.cli.main"]
_WITHOUT_EFFECT = ("PYTHONDONTWRITEBYTECODE",)
_LOCK = threading.RLock()
_ENDED: dict[int, int] = {}
_NURSERY: list[tuple[socket.socket, subprocess.Popen[bytes]]] = []


def afresh(env: Mapping[str, str]) -> bool:
    """Whether `env` holds what only a new interpreter obeys."""
    names = {name for name in {*env, *os.environ} if name.startswith(("PYTHON", "LD_")) and name not in _WITHOUT_EFFECT}
    return any(env.get(name) != os.environ.get(name) for name in names)


class Command:
    """A running `mirror` command; as `subprocess.Popen` where tests use it."""

    def __init__(self, pid: int, stdout: IO[str] | None) -> None:
        self.pid, self.stdout = pid, stdout
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Its exit status once it has ended, negative for a signal."""
        if self.returncode is None:
            self.returncode = _ended(self.pid, 0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Its exit status; raises `subprocess.TimeoutExpired`."""
        if self.returncode is None:
            self.returncode = _ended(self.pid, timeout)
        if self.returncode is None:
            raise subprocess.TimeoutExpired("mirror", timeout or 0)
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Nothing where it has ended."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def start(
    arguments: Sequence[str], *, cwd: Path, env: Mapping[str, str], stderr: IO[Any] | None = None, stdout: IO[Any] | None = None, first: str = ""
) -> Command | subprocess.Popen[str]:
    """`mirror <arguments>`, its standard output as text in `stdout`; its standard error too where it has no file of its own.

    `first` is what the new process does before anything else: `tests.support.calls:<kind>:<where>` has its system calls asked about.
    """
    if stdout is not None and stderr is not None:
        return Command(_forked(arguments, cwd, env, stdout.fileno(), stderr.fileno(), first), None)
    if afresh(env):
        return subprocess.Popen([*_MODULE, *arguments], cwd=cwd, env=env, text=True, stdout=subprocess.PIPE, stderr=stderr or subprocess.STDOUT)
    readable, writable = os.pipe()
    try:
        pid = _forked(arguments, cwd, env, writable, writable if stderr is None else stderr.fileno())
    finally:
        os.close(writable)
    return Command(pid, os.fdopen(readable, encoding="utf-8"))


def run(arguments: Sequence[str], *, cwd: Path, env: Mapping[str, str] | None = None, timeout: float = 60) -> subprocess.CompletedProcess[str]:
    """`mirror <arguments>` to its end, both outputs captured."""
    env = os.environ if env is None else env
    if afresh(env):
        return subprocess.run([*_MODULE, *arguments], cwd=cwd, env=env, text=True, capture_output=True, timeout=timeout, check=False)
    with open_temporary() as out, open_temporary() as err:
        command = Command(_forked(arguments, cwd, env, out.fileno(), err.fileno()), None)
        try:
            code = command.wait(timeout)
        except subprocess.TimeoutExpired:
            command.kill()
            raise
        texts = []
        for file in (out, err):
            file.seek(0)
            texts.append(file.read().decode("utf-8", "replace"))
    return subprocess.CompletedProcess(["mirror", *arguments], code, *texts)


def open_temporary() -> IO[bytes]:
    """An unnamed file in memory."""
    return os.fdopen(os.memfd_create("output"), "w+b")


def _forked(arguments: Sequence[str], cwd: Path, env: Mapping[str, str], stdout: int, stderr: int, first: str = "") -> int:
    wish = json.dumps({"arguments": list(arguments), "cwd": str(cwd), "env": dict(env), "first": first}).encode()
    assert len(wish) < _FRAME
    with _LOCK:
        line = _nursery()
        socket.send_fds(line, [wish], [stdout, stderr])
        while True:
            told = json.loads(line.recv(_FRAME))
            if "born" in told:
                return int(told["born"])
            _ENDED[told["ended"]] = told["status"]


def _ended(pid: int, timeout: float | None) -> int | None:
    deadline = None if timeout is None else time.monotonic() + timeout
    while True:
        with _LOCK:
            line = _nursery()
            while pid not in _ENDED and select.select([line], [], [], 0)[0]:
                told = json.loads(line.recv(_FRAME))
                _ENDED[told["ended"]] = told["status"]
            if pid in _ENDED:
                return _ENDED.pop(pid)
        left = None if deadline is None else deadline - time.monotonic()
        if left is not None and left <= 0:
            return None
        select.select([line], [], [], min(0.2, left) if left is not None else 0.2)  # others may take what comes


def _nursery() -> socket.socket:
    """The line to the process that forks, which is started on first use."""
    if not _NURSERY:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            process = subprocess.Popen(
                [sys.executable, "-m", __name__, str(theirs.fileno())], pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL,
                cwd=Path(__file__).parents[2],
            )
        _NURSERY.append((ours, process))
        atexit.register(ours.close)
    return _NURSERY[0][0]


# --- the process that forks ---------------------------------------------------------------------------------------


def _serve(line: socket.socket) -> None:
    """Fork for every wish, tell of every end; at the end of the line, end whatever is left."""
    _read_the_product()
    waker, wakes = socket.socketpair()
    wakes.setblocking(False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wakes.fileno(), warn_on_full_buffer=False)
    alive: set[int] = set()
    while True:
        ready, _, _ = select.select([line, waker], [], [])
        if waker in ready:
            waker.recv(4096)
            for pid, status in _reaped():
                alive.discard(pid)
                with contextlib.suppress(OSError):
                    line.send(json.dumps({"ended": pid, "status": status}).encode())
        if line in ready:
            data, outputs, _, _ = socket.recv_fds(line, _FRAME, 2)
            if not data:
                for pid in alive:
                    os.kill(pid, signal.SIGKILL)
                return
            wish = json.loads(data)
            pid = os.fork()
            if pid == 0:
                for one in (line, waker, wakes):
                    signal.set_wakeup_fd(-1)
                    one.close()
                _become(wish, outputs)
            for descriptor in outputs:
                os.close(descriptor)
            alive.add(pid)
            line.send(json.dumps({"born": pid}).encode())


def _read_the_product() -> None:
    """All its modules, what those import only when they are used, and what every command reads alike."""
    import mirror

    for module in pkgutil.walk_packages(mirror.__path__, "mirror."):
        if ".migrations." not in module.name:  # Alembic's, which runs them
            importlib.import_module(module.name)
    for name in ("alembic.command", "asyncpg", "sqlalchemy.dialects.postgresql.asyncpg", "sqlalchemy.dialects.sqlite.aiosqlite", "uvloop"):
        importlib.import_module(name)
    from mirror.config import load
    from mirror.lists.loading import load_catalogue, load_lineage

    load(Path(__file__).parents[2] / "config/profiles/observe/mirror.yaml", {})
    load_catalogue()
    load_lineage()
    gc.freeze()


def _reaped() -> list[tuple[int, int]]:
    found = []
    with contextlib.suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            found.append((ended[0], os.waitstatus_to_exitcode(ended[1])))
    return found


def _become(wish: Mapping[str, Any], outputs: Sequence[int]) -> NoReturn:
    """Run one command in this process, and end it as the interpreter would."""
    from mirror.cli.main import main

    status = 1
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for number, descriptor in enumerate(outputs, start=1):
            os.dup2(descriptor, number)
            os.close(descriptor)
        os.environ.clear()
        os.environ.update(wish["env"])
        os.chdir(wish["cwd"])
        random.seed()
        sys.argv = ["mirror", *wish["arguments"]]
        if wish["first"]:
            module, kind, where = wish["first"].split(":")
            importlib.import_module(module).surrender(kind, where)
        main()
    except SystemExit as done:
        status = done.code if isinstance(done.code, int) else int(done.code is not None)
    except KeyboardInterrupt:
        status = 130
    except BaseException:  # as the interpreter does
        sys.excepthook(*sys.exc_info())
    finally:
        with contextlib.suppress(Exception):
            threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):
                stream.flush()
        os._exit(status)


if __name__ == "__main__":
    _serve(socket.socket(fileno=int(sys.argv[1])))
