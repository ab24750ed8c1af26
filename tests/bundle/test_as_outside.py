"""A mirror that has nothing but a bundle answers every route as the one with a network, but for what its page says."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from mirror.hubs.huggingface.routes import viewer_table
from mirror.reply.routing import find
from tests.bundle.as_outside import Asked, Pair, everything, exceptions, two_mirrors
from tests.conformance.routes import tables


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    with two_mirrors(tmp_path_factory.mktemp("pair"), rows=120) as pair:
        yield pair


def test_every_route_is_answered_as_outside(pair: Pair) -> None:
    """Status, headers and body of every route are what they are before the hub, or what docs/airgap.md says; and nobody is asked for them."""
    wrong = pair.differing(list(everything(pair.hub, pair.index, whole=False)))
    assert not wrong, f"{len(wrong)}:\n" + "\n".join(wrong)


async def test_no_route_is_left_out(pair: Pair, tmp_path) -> None:
    """What is asked above reaches every row of the tables that the product runs by, and each row of the page is met on the routes that it names."""
    routes = dict(await tables(tmp_path))
    viewer = viewer_table(SimpleNamespace(parquet=None, about=None, contents=None))

    def row(asked: Asked) -> str | None:
        path = asked.target.partition("?")[0]
        table = viewer if "Host" in asked.headers else routes["PyPI"] if path.startswith("/pypi/") else routes["Hugging Face"]
        found = find(table, asked.method, path.removeprefix("/pypi") if table is routes["PyPI"] else path)
        return found[0].name if isinstance(found, tuple) else None

    met: dict[str, set[str]] = {}
    for asked in everything(pair.hub, pair.index, whole=False):
        met.setdefault(asked.otherwise, set()).add(row(asked) or "")
    every = {one.name for table in (*routes.values(), viewer) for one in table}
    assert not every - set().union(*met.values())
    assert {name: frozenset(found) for name, found in met.items() if name} == {name: one.routes for name, one in exceptions().items()}


def test_lists_are_the_same_page_by_page(pair: Pair) -> None:
    """Who follows the links of a list that the laboratory made itself gets as many pages, and on each the same rows, as outside."""
    for target in ("/api/datasets/acme/rows/tree/main?expand=true", "/api/datasets/acme/rows/tree/main?limit=33", "/api/models/acme/tiny-bert/commits/main?limit=1"):
        pages = []
        for place in (pair.outside, pair.inside):
            found, following = [], target
            while following:
                answer = place.mirror.get(following)
                found.append(answer.json())
                following = (answer.headers["Link"] or "").partition("<")[2].partition(">")[0].removeprefix(place.mirror.url)
            pages.append(found)
        assert len(pages[0]) > 1
        assert pages[0] == pages[1]


def test_a_cursor_of_another_list_is_an_error(pair: Pair) -> None:
    """A cursor that the hub once gave means nothing to a list that the laboratory made: 400, and no wrong page."""
    assert pair.inside.mirror.get("/api/datasets/acme/rows/tree/main?limit=33&cursor=ZXlKbWFXeGw").status == 400


def test_lineage_that_a_file_tells_is_known_there(pair: Pair) -> None:
    """What a model was made from is known there also where a file beside its card tells it alone: such files come along with the pages."""
    told = pair.inside.mirror.get("/api/models/acme/adapter", headers={"Prefer": "ancestors"}).json()["ancestors"]
    assert [(one["id"], one["relation"]) for one in told] == [("umbrella/handed-on", "adapter")]
