"""Marks that all tests may carry; the cells of the conformance table are gathered from them."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import settings

from tests.conformance import table

LONG = ("tests/acceptance/", "tests/workers/", "tests/hubs/pypi/", "tests/traps/", "tests/fuzz/", "tests/web/")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--conformance", metavar="FILE", help="write the conformance table as proved by this run")
    parser.addoption("--conformance-cells", action="store_true", help="print the cells that the collected tests claim, as JSON")


def cells_of(item: pytest.Item) -> list[table.Cell]:
    return [table.Cell(*mark.args, **mark.kwargs) for mark in reversed(list(item.iter_markers("proves")))]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Each claim travels with its test's report; a wrong column or word stops the collection.

    What takes long goes first, so that no process is left with it alone at the end.
    """
    items.sort(key=lambda item: not item.nodeid.startswith(LONG))
    for place, item in enumerate(items):
        for cell in cells_of(item):
            item.user_properties.append(("cell", [cell.feature, cell.client, cell.result, cell.note]))
            item.user_properties.append(("place", place))
    if config.getoption("--conformance-cells"):
        print("\ncells " + json.dumps([value for item in items for name, value in item.user_properties if name == "cell"]))


class Proved:
    """Gathers the outcome of every claim, also of those that ran in worker processes."""

    def __init__(self, target: Path) -> None:
        self.target = target
        self.cells: dict[tuple[str, str], tuple[int, table.Cell]] = {}
        self.failed: list[str] = []
        self.versions: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        claims = [value for name, value in report.user_properties if name == "cell"]
        if claims and report.outcome != "passed":
            self.failed.append(report.nodeid)
        if report.when == "call" and report.passed:
            place = next((value for name, value in report.user_properties if name == "place"), 0)
            for feature, client, result, note in claims:
                self.cells[feature, client] = place, table.Cell(feature, client, result, note)
            self.versions += [value for name, value in report.user_properties if name == "version"]

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if hasattr(session.config, "workerinput"):
            return
        if self.failed or not self.cells:
            print(f"\nthe conformance table is not written: {len(self.failed)} claims do not hold: {', '.join(self.failed[:5])}")
            return
        when = f"Last made on {datetime.now(UTC).date()} by {len(self.cells)} cells' tests, all green."
        ordered = [cell for _, cell in sorted(self.cells.values(), key=lambda placed: placed[0])]
        self.target.write_text(table.page(ordered, self.versions, when), encoding="utf-8")


def pytest_configure(config: pytest.Config) -> None:
    """The examples of property tests are the same in every run; `make torture` looks for others."""
    settings.register_profile("fixed", derandomize=True)
    if "torture" not in str(config.getoption("markexpr")):
        settings.load_profile("fixed")
    if (target := config.getoption("--conformance")) and not hasattr(config, "workerinput"):
        config.pluginmanager.register(Proved(Path(target)), "conformance")
