"""The machine that is measured on: its cores, who may use which, memory of processes, and what a result must name."""

from __future__ import annotations

import contextlib
import os
import platform
import re
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

CORES = sorted(os.sched_getaffinity(0))
#: Servers have one core for themselves; load comes from another; upstreams have a third where there is one.
SERVERS = CORES[0]
LOAD = CORES[min(1, len(CORES) - 1)]
UPSTREAMS = CORES[min(2, len(CORES) - 1)]
ROOT = Path(__file__).parents[2]


@contextlib.contextmanager
def on_core(*cores):
    """Processes that are started in this block stay on these cores."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def move(pid, core):
    """Put a running process, with all its threads, on another core."""
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError):
            os.sched_setaffinity(int(task.name), {core})


def free_port():
    """A port on loopback that nobody listens on."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


def family(pid):
    """The process and all its descendants."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
    found = [pid]
    for one in found:
        found += [child for child, parent in parents.items() if parent == one]
    return found


def memory(pid):
    """Bytes of memory of a process and its descendants, shared pages divided among all who share them (PSS)."""
    total = 0
    for one in family(pid):
        with contextlib.suppress(OSError):
            total += (
                int(
                    re.search(r"^Pss:\s+(\d+) kB", Path(f"/proc/{one}/smaps_rollup").read_text(), re.MULTILINE).group(1)
                )
                * 1024
            )
    return total


def processor_time(pid):
    """Seconds of processor time that a process and its descendants have taken so far, the system's share included."""
    total = 0
    for one in family(pid):
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
            total += int(fields[11]) + int(fields[12])
    return total / os.sysconf("SC_CLK_TCK")


def end(process):
    """Stop a process of ours and wait for it; returns when it is gone."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def answers(url, seconds=60, process=None, headers=()):
    """Wait until `url` answers anything below 500; says what came last otherwise."""
    deadline, last = time.monotonic() + seconds, "nothing"
    while time.monotonic() < deadline:
        if process is not None and process.poll() is not None:
            raise RuntimeError(f"ended with {process.returncode}")
        try:
            with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(
                urllib.request.Request(url, headers=dict(headers)), timeout=10
            ):
                return
        except urllib.error.HTTPError as error:
            if error.code < 500:
                return
            last = f"status {error.code}"
        except OSError as error:
            last = str(error)
        time.sleep(0.1)
    raise RuntimeError(f"{url} did not answer within {seconds} s: {last}")


def debian(*packages):
    """Whether these commands are here, after trying to install the packages of the same names. Only root can."""
    missing = [name for name in packages if shutil.which(name) is None]
    if missing and os.geteuid() == 0 and shutil.which("apt-get"):
        # Debian starts a server that it installs, unless the system is in single-user mode.
        environ = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
        for words in (["update", "-qq"], ["install", "-y", "-qq", "--no-install-recommends", *missing]):
            subprocess.run(
                ["apt-get", *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environ, check=False
            )
    return all(shutil.which(name) for name in packages)


def described():
    """The machine, in a line."""
    model = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return (
        f"{model.group(1) if model else platform.machine()}, {len(CORES)} cores (servers on {SERVERS}, load on {LOAD}, upstreams on {UPSTREAMS}), "
        f"Linux {platform.release()}, Python {platform.python_version()}"
    )


def moment():
    """What a reader needs to place a row's numbers: date, commit, cores, and what else the machine was doing."""
    load = os.getloadavg()[0]
    return f"{time.strftime('%Y-%m-%d %H:%M', time.gmtime())} UTC, commit {commit()}, {len(CORES)} cores, load average {load:.1f} before"


def commit():
    """The checked-out commit, with a + where files differ from it."""

    def git(*words):
        return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()

    changed = git("status", "--porcelain", "--untracked-files=no", "--", "mirror")
    return (git("rev-parse", "--short", "HEAD") or "unknown") + ("+" if changed else "")
