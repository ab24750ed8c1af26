"""Load from a core of its own: wrk where it is installed, `bench.contest.pull` otherwise and for what wrk cannot do."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys

from bench.contest.machine import LOAD, ROOT, on_core


class Wrong(Exception):
    """A server gave something else than it should; it is not timed."""


def requests_per_second(url, seconds, connections=16, headers=None):
    """GET again and again over connections that stay open. Raises `Wrong`."""
    headers = headers or {}
    if shutil.which("wrk") is None:
        return pulled_rate(url, seconds, connections, headers=headers)["requests"]
    words = ["wrk", "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "--timeout", "20s"]
    with on_core(LOAD):
        done = subprocess.run(
            [*words, *(word for name, value in headers.items() for word in ("-H", f"{name}: {value}")), url],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
    rate = re.search(r"Requests/sec:\s+([\d.]+)", done.stdout)
    if (
        not rate
        or re.search(r"Non-2xx or 3xx responses: [1-9]", done.stdout)
        or (errors := re.search(r"Socket errors: .*", done.stdout))
    ):
        raise Wrong(errors[0] if rate and errors else done.stdout[-300:] + done.stderr[-300:])
    if float(rate[1]) == 0 and seconds < 10:  # slower than one answer a connection: look for longer
        return requests_per_second(url, 10, connections, headers)
    return float(rate[1])


def pulled_rate(url, seconds, connections, method="GET", headers=None):
    """{requests, bytes} a second by our own generator. Raises `Wrong`."""
    found = pull("rate", url=url, seconds=seconds, connections=connections, method=method, headers=headers or {})
    if found["wrong"]:
        raise Wrong(f"{found['wrong']} answers were not 200, or connections were closed")
    if found["requests"] == 0 and seconds < 10 and method == "HEAD":  # as above
        return pulled_rate(url, 10, connections, method, headers)
    return found


def pull(work, *, timeout=1200, **options):
    """Run a work of `bench.contest.pull` on the load's core."""
    with on_core(LOAD):
        done = subprocess.run(
            [sys.executable, "-m", "bench.contest.pull", work, json.dumps(options)], cwd=ROOT, capture_output=True, text=True,
            check=False, timeout=timeout,
        )  # fmt: skip
    if done.returncode:
        raise Wrong(done.stderr.strip().splitlines()[-1] if done.stderr.strip() else f"exit {done.returncode}")
    return json.loads(done.stdout)


def started(work, **options):
    """A work that runs until its standard input is closed; its first line has been read."""
    with on_core(LOAD):
        process = subprocess.Popen(
            [sys.executable, "-m", "bench.contest.pull", work, json.dumps(options)], cwd=ROOT, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
    return process, json.loads(process.stdout.readline() or "{}")
