"""The house rules that no linter knows (DESIGN 8)."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
MODULES = sorted((ROOT / "mirror").rglob("*.py"))
MODULE_LINES = 450
FUNCTION_LINES = 60
FORBIDDEN = {"utils", "util", "helpers", "helper", "manager", "managers", "common", "misc"}
#: Spelt in pieces, so that this file is not its own finding.
ELSEWHERE = re.compile("|".join(("/wor" + "k/", "/tmp/bri" + "ef", "/ro" + "ot/")))
TEXT = {".py", ".md", ".yaml", ".yml", ".toml", ".txt", ".cfg", ".sh", ".html", ".css", ".js", ".json", ".mako", ""}
LEFT_OUT = {".venv", ".git", "__pycache__", ".mypy_cache", ".ruff_cache", ".pytest_cache", ".hypothesis", ".import_linter_cache", "var", "dist", "build", "node_modules"}


def own_files() -> Iterator[Path]:
    """Every text file of the tree that people read."""
    for path in sorted(ROOT.rglob("*")):
        parts = set(path.relative_to(ROOT).parts)
        if path.is_file() and not parts & LEFT_OUT and path.suffix in TEXT and path.stat().st_size < 5_000_000:
            yield path


def functions(path: Path) -> Iterator[tuple[str, int]]:
    """Each function of a module with its length in lines, decorators and docstring left out."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            body = node.body[1:] if ast.get_docstring(node) else node.body
            start = body[0].lineno if body else node.lineno
            yield node.name, (node.end_lineno or start) - start + 1


def test_modules_are_short_enough_to_hold_in_the_head():
    """No module of the product is longer than 450 lines."""
    long = {str(path.relative_to(ROOT)): count for path in MODULES if (count := len(path.read_text().splitlines())) > MODULE_LINES}
    assert MODULES
    assert not long


def test_functions_are_short():
    """No function of the product has a body longer than 60 lines."""
    long = [(str(path.relative_to(ROOT)), name, lines) for path in MODULES for name, lines in functions(path) if lines > FUNCTION_LINES]
    assert not long


def test_names_say_what_is_inside():
    """No module, folder, class or function is called utils, helpers, manager, common or misc."""
    found = []
    for path in [*MODULES, *(ROOT / "tests").rglob("*.py")]:
        found += [str(path)] if FORBIDDEN & set(path.relative_to(ROOT).with_suffix("").parts) else []
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                words = set(re.findall(r"[a-z]+", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", node.name).lower()))
                found += [f"{path}: {node.name}"] if words & FORBIDDEN else []
    assert not found


def test_the_tree_names_no_machine_that_it_was_written_on():
    """No file of the tree holds a path of somebody's own machine."""
    found = [str(path.relative_to(ROOT)) for path in own_files() if ELSEWHERE.search(path.read_text(encoding="utf-8", errors="replace"))]
    assert not found


@pytest.mark.parametrize("layer", ["core", "policy"])
def test_the_pure_layers_read_no_clock(layer: str):
    """`core` and `policy` never ask what time it is: `now` is an argument."""
    found = []
    for path in sorted((ROOT / "mirror" / layer).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and node.attr in {"now", "utcnow", "today"} and isinstance(node.value, ast.Name):
                found += [f"{path.name}:{node.lineno}"] if node.value.id in {"datetime", "date"} else []
    assert not found


def test_every_test_states_the_fact_that_it_proves():
    """Every test function has a docstring."""
    bare = []
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.name.startswith("test_") and not ast.get_docstring(node):
                bare.append(f"{path.relative_to(ROOT)}:{node.lineno} {node.name}")
    assert not bare
