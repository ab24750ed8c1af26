"""`mirror -c FILE command`: the file named before the command is the one that the command reads."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support import preloaded

COMMANDS = [
    ["config", "check"],
    ["config", "show"],
    ["policy", "check"],
    ["policy", "test"],
    ["policy", "explain", "pkg:pypi/acme"],
    ["publisher", "show", "google"],
    ["publisher", "search", "google"],
    ["ledger", "tail"],
    ["ledger", "query"],
    ["ledger", "verify"],
    ["env"],
    ["doctor"],
    ["serve"],
]


@pytest.mark.parametrize("behind", [False, True], ids=["before", "behind"])
@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_the_file_that_is_named_is_read(tmp_path: Path, words: list[str], behind: bool) -> None:
    """A fault in the file named before or behind the command is told by every command that reads one, with exit 2."""
    named = ["-c", "elsewhere.yaml"]
    (tmp_path / "elsewhere.yaml").write_text("listen: {publics_url: null}\n", encoding="utf-8")
    environ = {name: value for name, value in os.environ.items() if not name.startswith("MIRROR_")}
    done = preloaded.run(words + named if behind else named + words, cwd=tmp_path, env=environ)

    assert done.returncode == 2
    assert "publics_url" in done.stderr
