"""The page on traps, the mutants and the tests are in step: nothing of them goes stale without a red test here."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

from tests.mutants.listed import MUTANTS

ROOT = Path(__file__).resolve().parents[2]
EXPECTED = {
    *(f"HF-{number}" for number in range(1, 33)), *(f"1.2-{number:02}" for number in range(1, 21)),
    *(f"1.3-{number:02}" for number in range(1, 28)), *(f"1.4-{number:02}" for number in range(1, 9)),
}  # fmt: skip
EXCUSES = ("**not in this release**", "**outside**")


def rows() -> dict[str, list[str]]:
    """The cells of each row of docs/traps.md by its id: trap, guard, test, mutants."""
    lines = (ROOT / "docs/traps.md").read_text(encoding="utf-8").splitlines()
    cells = [[cell.strip() for cell in line.strip().strip("|").split(" | ")] for line in lines if re.match(r"\| (HF-|1\.)", line)]
    assert len(cells) == len({row[0] for row in cells})
    assert all(len(row) == 5 for row in cells)
    return {row[0]: row[1:] for row in cells}


@cache
def names(path: str) -> frozenset[str]:
    """Every function, class and module-level name of a Python file."""
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    found = {node.name for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef))}
    assigned = [target for node in tree.body if isinstance(node, (ast.Assign, ast.AnnAssign)) for target in ast.walk(node) if isinstance(target, ast.Name)]
    return frozenset(found | {target.id for target in assigned})


@cache
def statements(text: str) -> tuple[tuple[list[str], ast.stmt], ...]:
    """What a module is made of, each with its lines: functions, assignments, and classes apart from what is in them."""
    lines, found, last = text.splitlines(), [], 0
    waiting = list(reversed(ast.parse(text).body))
    while waiting:
        node, end = waiting.pop(), 0
        if isinstance(node, ast.ClassDef):
            waiting += reversed(node.body)
            end, node.body = node.lineno, []
        end = end or node.end_lineno or last
        found.append((lines[last:end], node))
        last = end
    return tuple(found)


def means_the_same(text: str, other: str) -> bool:
    """Whether two modules are the same to Python; only what differs in its text is looked at closely."""
    one, two = statements(text), statements.__wrapped__(other)
    return len(one) == len(two) and all(old[0] == new[0] or ast.dump(old[1]) == ast.dump(new[1]) for old, new in zip(one, two, strict=True))


def named(cell: str, folder: str) -> list[tuple[str, str]]:
    return re.findall(rf"`({folder}/[\w/]+\.py)::(\w+)`", cell)


def test_every_trap_has_its_row() -> None:
    """The page has one row for each trap, none is left out and none is added unseen."""
    assert set(rows()) == EXPECTED


def test_guards_and_tests_of_the_page_exist() -> None:
    """Each row names a guard and a test that are in the code, or says plainly that there is none."""
    wrong = []
    for row, (_, guard, test, _) in rows().items():
        guards, tests = named(guard, "mirror"), named(test, "tests")
        if not (guards and tests) and not any(excuse in guard for excuse in EXCUSES):
            wrong.append(f"{row}: no guard or no test")
        wrong += [f"{row}: {path}::{name}" for path, name in (*guards, *tests) if not (ROOT / path).exists() or name not in names(path)]
    assert not wrong


def test_the_page_and_the_mutants_agree() -> None:
    """Each row names the very mutants that list it, and a guard in code has at least one."""
    wrong = []
    for row, (_, guard, tests, mutants) in rows().items():
        listed = {mutant.name for mutant in MUTANTS if row in mutant.traps.split()}
        differing = listed ^ set(re.findall(r"`([\w-]+)`", mutants))
        if differing:
            wrong.append(f"{row}: the page and the list differ on {sorted(differing)}")
        if named(guard, "mirror") and not listed:
            wrong.append(f"{row}: a guard without a mutant")
        shown = {f"{path}::{name}" for path, name in named(tests, "tests")}
        wrong += [f"{row}: {mutant.name}'s test is not on the page" for mutant in MUTANTS if mutant.name in listed and mutant.test.partition("[")[0] not in shown]
    assert not wrong
    assert {row for mutant in MUTANTS for row in mutant.traps.split()} <= EXPECTED


def test_every_mutant_fits_the_code() -> None:
    """Each old text stands exactly once in its file, the new one is Python and differs, and the test exists."""
    wrong = []
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS)
    for mutant in MUTANTS:
        path, _, test = mutant.test.partition("::")
        if not (ROOT / path).exists() or test.partition("[")[0] not in names(path):
            wrong.append(f"{mutant.name}: no test {mutant.test}")
        for file, old, new in mutant.edits:
            text = (ROOT / file).read_text(encoding="utf-8")
            if text.count(old) != 1:
                wrong.append(f"{mutant.name}: {file} has its old text {text.count(old)} times")
            elif means_the_same(text, text.replace(old, new)):
                wrong.append(f"{mutant.name}: changes nothing in {file}")
    assert not wrong


def test_the_last_run_was_of_these_mutants() -> None:
    """The committed table of `make mutants` has a row for each mutant, every one killed."""
    lines = (ROOT / "docs/traps-last-run.txt").read_text(encoding="utf-8").splitlines()
    table = {cells[0].strip(): cells[3].strip() for line in lines if len(cells := line.split(" | ")) == 4}
    assert table == {mutant.name: "killed" for mutant in MUTANTS}
