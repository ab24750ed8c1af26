"""A record of the ledger in the words of those who collect security events. Pure.

`rendered(record, format, version)` is one event as bytes without a line end. Every format is made of what `released` lets out: people only
by their pseudonyms, no query of a URL, addresses of those who were permitted cut to their network, and no number that is not whole.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from mirror.audit.formats.cef import cef
from mirror.audit.formats.ecs import ecs
from mirror.audit.formats.ocsf import ocsf
from mirror.audit.formats.released import released, sentence, severity, syslog_values
from mirror.audit.syslog import message

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

FORMATS: Final = ("ocsf", "ecs", "cef", "rfc5424", "native")
#: Our five degrees as severities of syslog (RFC 5424 section 6.2.1): informational, notice, warning, error.
_SYSLOG: Final = {1: 6, 2: 5, 3: 4, 4: 3}
#: No floats: a record has none, and none are made of it. Nor has it circles.
_JSON: Final = json.JSONEncoder(ensure_ascii=False, check_circular=False, separators=(",", ":")).encode


def rendered(record: Mapping[str, Any], form: str, version: str) -> str:
    """A record (joined, as `segments.Reader` gives it) in one of `FORMATS` but rfc5424: text of one line."""
    return _text(released(record), form, version)


def _text(one: Mapping[str, Any], form: str, version: str) -> str:
    if form == "cef":
        return cef(one, version)
    made = ocsf(one, version) if form == "ocsf" else ecs(one, version) if form == "ecs" else one
    return _JSON(made)


def as_syslog(record: Mapping[str, Any], form: str, version: str, at: datetime, host: str) -> bytes:
    """A record as one message of syslog. Of `rfc5424` the fields are structured data, of every other format the text is the event."""
    one = released(record)
    values, text = (syslog_values(one), sentence(one)) if form == "rfc5424" else ({"seq": str(one["seq"])}, _text(one, form, version))
    return message(at, host, one["kind"], "event", values, text, severity=_SYSLOG[severity(one)])
