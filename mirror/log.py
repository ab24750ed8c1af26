"""What operators read: structlog set-up, redaction, and the standard library's loggers routed the same way.

Lines go to standard error (standard output is for commands' answers). One line a request is written by
`web.front`; secrets reach neither it nor any other line (DESIGN 8, rule 9).
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, TextIO

import structlog

from mirror.audit.redaction import HIDDEN, redacted, redacted_tokens

if TYPE_CHECKING:
    from structlog.typing import EventDict, Processor, WrappedLogger

#: Keys whose values are never shown, whatever they look like (compared case-folded, `-` read as `_`).
SECRET_KEYS: Final = frozenset(
    {"authorization", "proxy_authorization", "cookie", "set_cookie", "token", "password", "secret", "private_token", "x_api_key"}
)
#: C0, DEL, C1 and line separators: nothing that a request holds may forge a line or move a terminal's cursor.
_CONTROLS: Final = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160))} | {0x2028: "\\u2028", 0x2029: "\\u2029"}
_MAX_DEPTH: Final = 6
_JSON: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), default=repr)


class LineSink:
    """Writes whole lines and never raises: a full log disk or a closed pipe must not fail a request (P9).

    `lost` counts the lines that could not be written.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._waiting: deque[str] = deque()
        self.lost = 0

    def msg(self, line: str) -> None:
        """Write one line, after those that wait."""
        self._waiting.append(line)
        self.flush()

    def soon(self, line: str) -> None:
        """Write one line with all others of this turn of the event loop; at once where none runs."""
        self._waiting.append(line)
        if len(self._waiting) == 1:
            try:
                asyncio.get_running_loop().call_soon(self.flush)
            except RuntimeError:
                self.flush()

    def flush(self) -> None:
        """Write what waits. Several threads may: each line is taken by one."""
        lines = []
        with suppress(IndexError):
            while True:
                lines.append(self._waiting.popleft())
        if not lines:
            return
        try:
            self._stream.write("\n".join(lines) + "\n")
            self._stream.flush()
        except (OSError, ValueError):
            self.lost += len(lines)

    debug = info = warning = error = critical = exception = log = msg


class _StdlibHandler(logging.Handler):
    """Hands records of other people's libraries to the same sink, in the same form."""

    def __init__(self, sink: LineSink, formatter: logging.Formatter) -> None:
        super().__init__()
        self._sink = sink
        self.setFormatter(formatter)

    def emit(self, record: logging.LogRecord) -> None:
        self._sink.msg(self.format(record))


def configure(level: str = "info", form: str = "auto", stream: TextIO | None = None) -> LineSink:
    """Set up all logging of the process, once, at its start.

    `level` is debug, info, warning or error; `form` is json, console, or auto (console on a terminal). Gives the
    sink, so that lost lines can be counted.
    """
    out = stream if stream is not None else sys.stderr
    number = logging.getLevelNamesMapping()[level.upper()]
    as_console = form == "console" or (form == "auto" and out.isatty())
    sink = LineSink(out)
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,  # before redaction: a traceback's text may hold a URL
        redact,
    ]
    renderer = _console(out.isatty()) if as_console else render_json
    chain = [*shared, renderer]
    global _direct  # noqa: PLW0603 - like all of logging, one for the process
    _direct = None if as_console or number > logging.INFO else (sink, chain)
    structlog.configure(
        processors=chain,
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=lambda *_names: sink,
        cache_logger_on_first_use=True,
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, redact, renderer],
        foreign_pre_chain=[structlog.stdlib.add_logger_name, *shared],
    )
    root = logging.getLogger()
    root.handlers[:] = [_StdlibHandler(sink, formatter)]
    # What libraries call information is noise to an operator; at `debug` it is wanted.
    root.setLevel(max(number, logging.WARNING) if number > logging.DEBUG else number)
    logging.captureWarnings(capture=True)
    return sink


#: Where request lines go without a detour through structlog, with the chain of processors that would have made them.
_direct: tuple[LineSink, list[Processor]] | None = None
_requests = structlog.get_logger("mirror")


def stamped(now: datetime) -> str:
    """An instant as log lines have it (RFC 3339, UTC)."""
    return f"{_minute(int(now.timestamp()) // 60)}{now.second:02}.{now.microsecond:06}Z"


@lru_cache(8)
def _minute(minutes: int) -> str:
    return datetime.fromtimestamp(minutes * 60, UTC).strftime("%Y-%m-%dT%H:%M:")


class RequestLine:
    """What the canonical line of a request says but for when and which: redacted and rendered once, said any number of times.

    A line is the one that structlog would have written, for a fifth of the time.
    """

    __slots__ = ("_fields", "_rest")

    def __init__(self, fields: Mapping[str, object]) -> None:
        self._fields = fields
        self._rest = "," + _JSON.encode({key: _clean(key, value, 0) for key, value in fields.items()})[1:]

    def say(self, identity: str, stamp: str, *, soon: bool = False) -> None:
        """The line of the request `identity`, a ULID, that ended at `stamp` (of `stamped`); with `soon`, as `LineSink.soon` writes."""
        direct = _direct
        # A chain that is not the one of `configure` belongs to a test, which wants to see what is said.
        if direct is None or direct[1][-1] is not render_json or not structlog.is_configured():
            _requests.info("request", id=identity, **self._fields)
            return
        line = f'{{"timestamp":"{stamp}","level":"info","event":"request","id":"{identity}"{self._rest}'
        if soon:
            direct[0].soon(line)
        else:
            direct[0].msg(line)


def redact(_logger: WrappedLogger, _name: str, event: EventDict) -> EventDict:
    """A structlog processor: no credential leaves in any value, at any depth, and no control character either."""
    return {key: _clean(key, value, 0) for key, value in event.items()}


def render_json(_logger: WrappedLogger, _name: str, event: EventDict) -> str:
    """A structlog processor: one JSON object a line, time and level first."""
    first = {key: event.pop(key) for key in ("timestamp", "level", "event") if key in event}
    return _JSON.encode({**first, **event})


def _clean(key: Any, value: Any, depth: int) -> Any:
    if value is None or isinstance(value, (bool, int, float)):
        return value
    if isinstance(key, str) and _names_a_secret(key):
        return HIDDEN
    if isinstance(value, str):
        # Tracebacks keep their lines; both renderers show them so that they cannot be taken for entries of their own.
        return _redacted(value) if key == "exception" else _short(value) if len(value) <= _OFTEN else _plain(value)
    if depth < _MAX_DEPTH and isinstance(value, Mapping):
        return {str(inner): _clean(inner, item, depth + 1) for inner, item in value.items()}
    if depth < _MAX_DEPTH and isinstance(value, (list, tuple, set, frozenset)):
        return [_clean(key, item, depth + 1) for item in value]
    return _clean(None, value.decode("latin-1") if isinstance(value, bytes) else repr(value), depth)


def _redacted(value: str) -> str:
    # Places (`key=value`, `//user:password@`) need one of these characters; tokens announce themselves without.
    return redacted(value) if "=" in value or ":" in value or "%" in value else redacted_tokens(value)


def _plain(value: str) -> str:
    text = _redacted(value)
    return text if text.isprintable() else text.translate(_CONTROLS)


#: The words of request lines come again and again; what is longer is read anew, so that the memory stays small.
_OFTEN: Final = 200
_short = lru_cache(4096)(_plain)


@lru_cache(1024)
def _names_a_secret(key: str) -> bool:
    return key.casefold().replace("-", "_") in SECRET_KEYS


def _console(colours: bool) -> Processor:
    return structlog.dev.ConsoleRenderer(colors=colours)
