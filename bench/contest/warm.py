"""The warm cases: pages, a wheel, a large file, a small file."""

from __future__ import annotations

import gzip
import hashlib
import json
import statistics
import time
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from dataclasses import field as made

from bench.contest import content
from bench.contest.load import Wrong, pulled_rate, requests_per_second
from bench.contest.machine import processor_time
from bench.contest.running import DEVPI_INDEX
from bench.contest.table import Failed, Result, Row, number, paired

JSON = {"Accept": "application/vnd.pypi.simple.v1+json", "Accept-Encoding": "gzip"}
#: Where each server keeps the index; devpi's has a user and a name.
INDEX = {"proxpi": "/index", "devpi": f"/{DEVPI_INDEX}/+simple", "this mirror": "/pypi/simple"}
CONNECTIONS = 16


@dataclass
class Asked:
    """What a server is asked in one case."""

    name: str
    url: str
    headers: dict = made(default_factory=dict)
    method: str = "GET"


def reply(asked):
    """(status, headers, body with its coding undone). Redirects are followed, once the first answer is known not to be one."""
    request = urllib.request.Request(asked.url, headers=asked.headers, method=asked.method)
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=180) as answer:
            if answer.url != asked.url:
                raise Failed(asked.name, f"sends its client to {answer.url[:60]}")
            body = answer.read()
            return (
                answer.status,
                answer.headers,
                gzip.decompress(body) if answer.headers.get("Content-Encoding") == "gzip" else body,
            )
    except (urllib.error.URLError, OSError, EOFError) as error:
        raise Failed(asked.name, str(error)) from None


def checked(asked, right, tries=8):
    """Ask until the answer is right - a cold cache may need a few attempts -, and say in the end what was wrong with it."""
    wrong = ""
    for _ in range(tries):
        try:
            status, headers, body = reply(asked)
            wrong = f"status {status}" if status != 200 else right(headers, body)
        except Failed as error:
            wrong = str(error)
        if not wrong:
            return ""
        time.sleep(0.5)
    return wrong


def compare(field, run, result, contestants, right, measure, use=20):
    """Check every server's answer, then measure the right ones beside this mirror. Each is used `use` times before that."""
    rows = []
    for asked in contestants.values():
        wrong = checked(asked, right)
        try:
            for _ in range(use if not wrong else 0):  # whatever becomes quicker with use
                reply(asked)
        except Failed as error:
            wrong = str(error)
        if asked.name == "this mirror":
            if wrong:
                raise Failed(asked.name, wrong)
        else:
            rows.append(Row(asked.name, wrong=wrong))

    costs = {}

    def timed(name):
        pid = field.server(name).pid
        before, began = processor_time(pid), time.monotonic()
        try:
            speed = measure(contestants[name])
        except Wrong as error:
            raise Failed(name, str(error)) from None
        if speed:
            seconds = max(run.seconds, time.monotonic() - began - 0.4)  # without the generator's own start
            costs.setdefault(name, []).append((processor_time(pid) - before) / (speed * seconds))
        return speed

    paired(result, rows, run.rounds, timed, run.say)
    # Other work on the machine disturbs this less than it disturbs speeds.
    what, factor = ("us for a request", 1e6) if result.unit == "requests/s" else ("ms for a gigabyte", 1e6)
    result.lines.append(
        f"processor time, {what}: "
        + ", ".join(f"{name} {number(statistics.median(values) * factor)}" for name, values in costs.items())
    )
    return result


def indexes(field):
    """The servers that answer as an index, the reference first."""
    names = ("nginx rewriting", "nginx raw", "proxpi", "devpi", "this mirror")
    return {name: server.base for name in names if (server := field.server(name)) is not None}


def page(field, run, project, files, title, targets):
    """An index page as JSON, gzip."""
    found = {
        name: Asked(name, f"{base}{INDEX.get(name, '/simple')}/{project}/", JSON)
        for name, base in indexes(field).items()
    }

    def right(headers, body):
        if "json" not in headers.get("Content-Type", ""):
            return "no JSON"
        rows = json.loads(body)["files"]
        good = sum("sha256" in row["hashes"] for row in rows)
        return "" if len(rows) == good == files else f"{len(rows)} files, {good} with a digest, instead of {files}"

    result = Result(title, "requests/s")
    compare(
        field,
        run,
        result,
        found,
        right,
        lambda asked: requests_per_second(asked.url, run.seconds, CONNECTIONS, asked.headers),
    )
    for rival, least in targets.items():
        result.target(rival, least)
    return [result]


def small_page(field, run):
    """A project of four files."""
    title = f"small index page: JSON, gzip, {CONNECTIONS} connections"
    return page(field, run, "acme-small", 4, title, {"nginx rewriting": 0.4, "proxpi": 5, "devpi": 1})


def large_page(field, run):
    """A project of thousands of files."""
    count = field.amounts.page
    title = f"index page of {count:,} files: JSON, gzip, {CONNECTIONS} connections"
    return page(field, run, "acme-large", count, title, {"nginx rewriting": 20, "proxpi": 1, "devpi": 1})


def wheel(field, run):
    """A wheel of 20 MB."""
    contestants, shas, lost = {}, set(), []
    for name, base in indexes(field).items():
        prefix = f"{base}{INDEX.get(name, '/simple')}/acme-wheel/"
        asked = Asked(name, prefix, JSON if name != "nginx raw" else {"Accept": JSON["Accept"]})
        rows = []
        wrong = checked(asked, lambda _, body, rows=rows: rows.extend(json.loads(body)["files"]))
        row = next((row for row in rows if row["filename"].endswith(".whl")), None)
        if wrong or row is None:
            lost.append(Row(name, wrong=wrong or "no wheel on its page"))
            continue
        url = urllib.parse.urljoin(prefix, row["url"]).partition("#")[0]
        shas.add(row["hashes"]["sha256"])
        if name == "nginx raw":  # its page leads past it
            url = base + "/packages/" + url.partition("/packages/")[2]
        contestants[name] = Asked(name, url)
    if "this mirror" not in contestants:
        raise Failed("this mirror", lost[-1].wrong)
    digest = shas.pop() if len(shas) == 1 else "pages differ"

    def right(_, body):
        return "" if hashlib.sha256(body).hexdigest() == digest else f"{len(body)} bytes of another digest"

    result = Result("wheel of 20 MB, warm: 4 connections", "MB/s")
    compare(field, run, result, contestants, right, lambda asked: pulled_rate(asked.url, run.seconds, 4)["bytes"] / 1e6)
    result.rows += lost
    for rival, least in {"nginx rewriting": 0.95, "nginx raw": 0.95, "proxpi": 0.95, "devpi": 0.95}.items():
        result.target(rival, least)
    return [result]


def hubs(field, paths):
    """The servers that have a model's file; `paths` for the static server and for the others."""
    names = ("nginx static", "olah", "this mirror")
    static, hub = paths
    return {
        name: Asked(name, server.base + (static if name == "nginx static" else hub))
        for name in names
        if (server := field.server(name)) is not None
    }


def large_file(field, run):
    """A file of 1 GiB from the cache."""
    bulk = content.big(field.amounts)

    def right(_, body):
        return (
            ""
            if len(body) == bulk.size and hashlib.sha256(body).hexdigest() == bulk.sha256
            else f"{len(body)} bytes of another digest"
        )

    contestants = hubs(field, ("/model.safetensors", content.BIG_PATH))
    result = Result(f"file of {bulk.size >> 20:,} MiB, warm: 1 connection", "MB/s")
    compare(
        field,
        run,
        result,
        contestants,
        right,
        lambda asked: pulled_rate(asked.url, run.seconds, 1)["bytes"] / 1e6,
        use=1,
    )
    result.target("nginx static", 0.95)
    result.target("olah", 0.95)
    return [result]


def small_file(field, run, method):
    """config.json of a model."""
    contestants = hubs(field, ("/config.json", content.CONFIG_PATH))
    for asked in contestants.values():
        asked.method = method

    def right(headers, body):
        if method == "HEAD":
            length = headers.get("Content-Length")
            return "" if length == str(len(content.config())) else f"a length of {length}"
        return "" if body == content.config() else f"{len(body)} other bytes"

    def measure(asked):
        if method == "HEAD":  # wrk waits for the body of a HEAD
            return pulled_rate(asked.url, run.seconds, CONNECTIONS, "HEAD")["requests"]
        return requests_per_second(asked.url, run.seconds, CONNECTIONS)

    result = Result(
        f"{method} of a model's config.json ({len(content.config())} bytes), {CONNECTIONS} connections", "requests/s"
    )
    compare(field, run, result, contestants, right, measure)
    if method == "GET":
        result.target("nginx static", 0.2)
    result.target("olah", 1)
    return [result]


def small_get(field, run):
    """GET of a small file."""
    return small_file(field, run, "GET")


def small_head(field, run):
    """HEAD of a small file."""
    return small_file(field, run, "HEAD")
