"""What operators read, and what they must never read."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from mirror import log

TOKEN = "hf_" + "AbCdEf0123456789" * 2


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    """A stream that everything is logged to; the process's own logging is put back afterwards."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    stream = io.StringIO()
    log.configure("info", "json", stream)
    yield stream
    structlog.reset_defaults()
    root.handlers[:], root.level = handlers, level
    logging.captureWarnings(False)


@pytest.mark.parametrize(
    "fields",
    [
        {"path": f"/acme/x?token={TOKEN}"},
        {"authorization": "anything at all"},
        {"headers": {"Authorization": f"Bearer {TOKEN}"}},
        {"headers": [{"Proxy-Authorization": TOKEN}]},
        {"url": f"https://someone:{TOKEN}@cdn.example/x"},
        {"url": f"https://cdn.example/x?Signature={TOKEN}&Expires=1"},
        {"raw": TOKEN.encode()},
        {"error": OSError(f"no route with {TOKEN}")},
    ],
)
def test_no_credential_is_logged_wherever_it_stands(lines: io.StringIO, fields: dict[str, object]):
    """A token in a value, a key, a nested mapping, a URL, bytes or an exception never reaches the log."""
    structlog.get_logger("t").warning("x", **fields)
    assert json.loads(lines.getvalue())["event"] == "x"
    assert TOKEN not in lines.getvalue()
    assert log.HIDDEN in lines.getvalue() or "anything" not in lines.getvalue()


def test_a_traceback_is_redacted_too(lines: io.StringIO):
    """The text of a logged exception loses its token and keeps its type."""
    try:
        raise ValueError(f"bad {TOKEN}")
    except ValueError:
        structlog.get_logger("t").exception("bug")
    row = json.loads(lines.getvalue())
    assert "ValueError: bad" in row["exception"]
    assert TOKEN not in row["exception"]


def test_other_libraries_speak_through_the_same_door(lines: io.StringIO):
    """A line of the standard library's logging comes out as JSON, redacted, with its logger's name."""
    logging.getLogger("aiohttp.client").warning("retrying https://u:%s@x.example", "secretword")
    row = json.loads(lines.getvalue())
    assert (row["logger"], row["level"]) == ("aiohttp.client", "warning")
    assert "secretword" not in row["event"]


def test_a_request_cannot_forge_a_line(lines: io.StringIO):
    """Line ends and escape sequences in a value do not leave as such, on a console either."""
    log.configure("info", "console", lines)
    structlog.get_logger("t2").info("request", path="/x\n2026-01-01 forged\x1b[2J\u2028y")
    assert len(lines.getvalue().splitlines()) == 1
    assert "\x1b[2J" not in lines.getvalue()


def test_the_level_is_kept(lines: io.StringIO):
    """Lines below the configured level are not written."""
    log.configure("warning", "json", lines)
    structlog.get_logger("t3").info("quiet")
    logging.getLogger("quiet").info("quiet")
    assert not lines.getvalue()


def test_a_full_log_disk_fails_no_request():
    """A sink whose stream raises counts what it lost and raises nothing."""
    sink = log.LineSink(open("/dev/full", "w", encoding="utf-8"))
    sink.msg("x")
    assert sink.lost == 1
