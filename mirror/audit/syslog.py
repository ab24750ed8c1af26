"""Syslog as RFC 5424 has it: one message, its structured data, and its frame on a stream (RFC 6587). Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

#: RFC 5424 section 6.2.1: facility 13 (log audit).
FACILITY: Final = 13
#: The enterprise number of structured data: the one of RFC 5612, for examples.
ENTERPRISE: Final = 32473
NOTICE: Final = 5
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
_NOT_PRINTED: Final = re.compile(r"[^!-~]")


def message(at: datetime, host: str, kind: str, element: str, values: Mapping[str, str], text: str, *, severity: int = NOTICE) -> bytes:
    """One message: `values` are the parameters of the one structured data element, `kind` the MSGID. `at` is in UTC.

    Control characters become spaces, so that a message is one line for receivers that split at line ends.
    """
    data = " ".join(f'{key}="{escaped(value)}"' for key, value in values.items())
    head = f"<{FACILITY * 8 + severity}>1 {at:%Y-%m-%dT%H:%M:%S.%fZ} {_name(host, 255)} entrepot - {_name(kind, 32)}"
    return f"{head} [{element}@{ENTERPRISE} {data}] {one_line(text)}".encode()


def framed(one: bytes) -> bytes:
    """A message with its length before it: octet counting (RFC 6587 section 3.4.1, which RFC 5425 demands under TLS)."""
    return b"%d %b" % (len(one), one)


def escaped(value: str) -> str:
    """A parameter's value (RFC 5424 section 6.3.3)."""
    value = one_line(value)
    for one in '\\"]':
        value = value.replace(one, "\\" + one)
    return value


def one_line(text: str) -> str:
    """`text` without control characters and line ends."""
    return _CONTROL.sub(" ", text)


def _name(text: str, longest: int) -> str:
    return _NOT_PRINTED.sub("", text)[:longest] or "-"
