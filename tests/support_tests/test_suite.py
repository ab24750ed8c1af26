"""The runner of the whole suite: who is asked again, and what counts."""

from __future__ import annotations

import pytest

from tests.support import suite

STARVED = """
def test_starved():
    with open("asked", "a+") as asked:
        asked.write("0")
        asked.seek(0)
        assert asked.read() == "00"
"""
BROKEN = """
import pytest

@pytest.mark.parametrize("one", range(6))
def test_broken(one):
    with open("asked", "a") as asked:
        asked.write(str(one))
    assert one < 0
"""


@pytest.fixture
def asked(tmp_path, monkeypatch):
    """What runs the text of a test file as the whole suite, with no plugin but the one that it needs; gives status and who was asked."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setenv("PYTEST_PLUGINS", "xdist.plugin")
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers =\n    torture\n    conformance\n")

    def run(tests):
        (tmp_path / "test_it.py").write_text(tests)
        return suite.main(["-q", "--numprocesses", "0"], tmp_path), (tmp_path / "asked").read_text()

    return run


def test_what_fails_in_company_is_asked_once_more_alone(asked):
    """A test that passes alone does not fail the suite."""
    assert asked(STARVED) == (0, "00")


def test_many_failures_are_not_asked_again(asked):
    """Six failures are no starvation: each was asked once."""
    assert asked(BROKEN) == (1, "012345")
