"""What operators read: structlog set-up, redaction, and the standard library's loggers routed the same way.

Lines go to standard error (standard output is for commands' answers). One line a request is written by
`web.front`; secrets reach neither it nor any other line (DESIGN 8, rule 9).
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Mapping
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
        self.lost = 0

    def msg(self, line: str) -> None:
        """Write one line."""
        try:
            self._stream.write(line + "\n")
            self._stream.flush()
        except (OSError, ValueError):
            self.lost += 1

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
    structlog.configure(
        processors=[*shared, renderer],
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
