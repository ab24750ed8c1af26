"""The page about the configuration and the configuration itself say the same."""

from __future__ import annotations

import dataclasses
import re
import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mirror import config
from mirror.config_values import Secret, shown
from mirror.decode import written

PAGE = Path(__file__).resolve().parents[2] / "docs" / "configuration.md"


def keys(kind: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Every key below `kind` with its default as the page writes it; what people name themselves is `NAME`."""
    hints = typing.get_type_hints(kind)
    for part in dataclasses.fields(kind):
        hint = hints[part.name]
        if kind is config.Config and part.name == "file":
            continue
        inner = [one for one in typing.get_args(hint) if dataclasses.is_dataclass(one) and one is not Secret]
        if dataclasses.is_dataclass(hint) and hint.__module__ in ("mirror.config", "mirror.config_clients", "mirror.config_ledger", "mirror.config_lists"):
            yield from keys(hint, f"{prefix}{part.name}.")
        elif hint == config.ClientLimits | None:  # null, or a section of its own
            yield f"{prefix}{part.name}", default(part)
            yield from keys(inner[0], f"{prefix}{part.name}.")
        elif typing.get_origin(hint) is tuple and inner:  # rows
            yield f"{prefix}{part.name}", default(part)
            yield from keys(inner[0], f"{prefix}{part.name}[].")
        elif typing.get_origin(hint) is dict and inner and kind is not config.ClientLimits:
            yield from keys(inner[0], f"{prefix}{part.name}.NAME.")
        else:
            assert not isinstance(hint, types.GenericAlias) or not inner
            yield f"{prefix}{written(kind)[part.name]}", default(part)


def default(part: dataclasses.Field[Any]) -> str:
    """A default in the words of the page."""
    if part.default is dataclasses.MISSING and part.default_factory is dataclasses.MISSING:
        return "required"
    value = shown(part.default if part.default is not dataclasses.MISSING else part.default_factory())
    if isinstance(value, int):
        units = (("GB", 10**9), ("GiB", 1024**3), ("MiB", 1024**2), ("KiB", 1024))
        return next((f"{value // size}{unit}" for unit, size in units if value and value % size == 0), str(value))
    if value is None or value == "":
        return "null" if value is None else '""'
    return f"[{', '.join(value)}]" if isinstance(value, list) else str(value)


def test_every_key_is_documented_with_its_default():
    """docs/configuration.md has one row for each key, in order, with the default that the code has, and no other row."""
    rows = re.findall(r"^\| `([^`]+)` \| `([^`]*)` \| (\S.*) \|$", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert [(key, value) for key, value, _ in rows] == list(keys(config.Config))
