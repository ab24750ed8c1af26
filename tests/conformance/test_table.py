"""The page on conformance tells what the tests prove, no more and no less."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conformance.table import PAGE, Cell, page, told_by

ROOT = Path(__file__).parents[2]


def test_the_page_shows_every_cell_that_a_test_claims_and_no_other():
    """The committed table was made by the tests that are there now (`make conformance` makes it anew)."""
    here = Path(__file__).parent
    claiming = [str(file) for file in ROOT.glob("tests/**/test_*.py") if file.parent == here or "proves" in file.read_text(encoding="utf-8")]
    asked = [sys.executable, "-m", "pytest", *claiming, "--collect-only", "-q", "-m", "proves", "--conformance-cells", "-p", "no:cacheprovider"]
    said = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, check=False, timeout=100).stdout
    line = next(line for line in said.splitlines() if line.startswith("cells "))
    claimed = {(feature, client, result) for feature, client, result, _ in json.loads(line.removeprefix("cells "))}
    assert claimed
    assert told_by(PAGE.read_text(encoding="utf-8")) == claimed


def test_what_a_page_says_can_be_read_back():
    """Written and read, a table keeps its cells; notes are shared by number."""
    cells = [
        Cell("download", "pip"), Cell("download", "uv", "differs", "uv is told so."), Cell("lock", "uv", "works"),
        Cell("resolve", "Ollama", "refused"),
    ]  # fmt: skip
    text = page(cells, ["pip 1"], "Now.")
    assert told_by(text) == {(cell.feature, cell.client, cell.result) for cell in cells}
    assert "1. uv is told so." in text


@pytest.mark.parametrize("wrong", [("x", "netscape"), ("x", "pip", "perfect"), ("x", "pip", "differs")])
def test_a_claim_without_sense_is_an_error(wrong: tuple[str, ...]):
    """A client without a column, a result without a meaning and a difference without a reason stop the collection."""
    with pytest.raises(ValueError, match="conformance table|without a reason"):
        Cell(*wrong)
