"""The same script of a client at two places - straight at the stand-in, and at the mirror before it - and what it told."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.clients import Said

SCRIPTS = Path(__file__).parent / "scripts"


@dataclass(frozen=True)
class Told:
    """What one run said: feature -> value, or {"error", "text"}; and everything that it printed beside."""

    features: Mapping[str, Any]
    printed: str

    def __getitem__(self, feature: str) -> Any:
        return self.features[feature]

    def failed(self, feature: str) -> str:
        """`Class: words` of a feature that must have failed."""
        said = self[feature]
        assert isinstance(said, dict), said
        assert "error" in said, said
        return f"{said['error']}: {said['text']}"


def told(said: Said, *own: str | Path) -> Told:
    """A script's last line, with what is its own in every run (`own`: addresses, folders; request ids) made alike."""
    features = json.loads(alike(json.dumps(said.json()), *own))
    return Told(features, said.text)


def alike(text: str, *own: str | Path) -> str:
    for word in own:
        text = text.replace(str(word), "(own)")
    return re.sub(r"Request ID: [\w=.-]+(?:;[\w-]+)?", "Request ID: (own)", text)


def same(direct: Told, through: Told, feature: str) -> Any:
    """The value that both gave, which is no failure; fails where they differ."""
    assert not (isinstance(direct[feature], dict) and "error" in direct[feature]), direct[feature]
    assert through[feature] == direct[feature]
    assert through[feature] is not None
    return through[feature]


def same_failure(direct: Told, through: Told, feature: str) -> str:
    """`Class: words` of the failure that both had."""
    assert through.failed(feature) == direct.failed(feature)
    return through.failed(feature)


def cells(*rows: tuple[str, dict[str, str]], result: str = "same", note: str = "") -> Callable[[Callable[..., None]], Callable[..., None]]:
    """One test for each cell: (feature of the table, {column: feature of the script})."""
    parameters = [
        pytest.param(key, id=f"{client}: {key}", marks=pytest.mark.proves(feature, client, result, note=note))
        for feature, columns in rows
        for client, key in columns.items()
    ]
    return pytest.mark.parametrize("key", parameters)
