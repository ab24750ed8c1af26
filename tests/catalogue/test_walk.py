"""The walk over ancestors: every hop, several parents, loops, limits."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mirror.core.nouns import HUGGINGFACE, Kind, Project
from mirror.policy.lineage import MAX_DEPTH, MAX_PROJECTS, Edge, Lineage, StatedEdge, Walk, key


def model(name):
    return Project(HUGGINGFACE, Kind.MODEL, name)


def edge(name, relation="finetune", confidence=10_000):
    return Edge(model(name), relation, "declared", confidence)


def drive(walk, graph, missing=(), shuffle=None):
    """Answer every generation from `graph`; count how often each project is asked."""
    asked = []
    while wanted := list(walk.wanted()):
        if shuffle:
            shuffle.shuffle(wanted)
        for project in wanted:
            asked.append(project.name)
            parents = graph.get(project.name, ())
            walk.give(project, dict(missing).get(project.name) or [edge(name) for name in parents])
    return asked


names = st.sampled_from([f"org/m{number}" for number in range(9)])
graphs = st.dictionaries(names, st.lists(names, max_size=4), max_size=9)


def reachable(graph, start):
    """Every edge above `start`, by plain exploration."""
    found, stack, seen = set(), [start], set()
    while stack:
        child = stack.pop()
        if child in seen:
            continue
        seen.add(child)
        for parent in graph.get(child, ()):
            found.add((child, parent))
            stack.append(parent)
    return found


def has_loop(graph, start):
    nodes = {start} | {parent for _child, parent in reachable(graph, start)}
    return any((node, node) in {(node, up) for _c, up in reachable(graph, node)} for node in nodes)


@settings(max_examples=200, deadline=None)
@given(graph=graphs, seed=st.integers(0, 2**16))
def test_the_walk_is_exactly_the_reachable_edges_whatever_the_order_of_answers(graph, seed):
    """On any graph, loops included, the walk ends, asks each project once, and reports each reachable edge once."""
    one, other = Walk(model("org/m0")), Walk(model("org/m0"))
    asked = drive(one, graph)
    drive(other, graph, shuffle=random.Random(seed))
    result = one.result()
    edges = [(ancestor.child.name, ancestor.project.name) for ancestor in result]
    assert len(asked) == len(set(asked))
    assert len(edges) == len(set(edges))
    assert set(edges) == reachable(graph, "org/m0")
    assert result == other.result()
    assert [ancestor.depth for ancestor in result] == sorted(ancestor.depth for ancestor in result)
    assert any(ancestor.missing == "loop" for ancestor in result) == has_loop(graph, "org/m0")
    assert one.complete
    assert one.known == (bool(result) and not has_loop(graph, "org/m0"))


@settings(max_examples=100, deadline=None)
@given(graph=graphs)
def test_edges_that_are_no_loop_marks_form_a_graph_without_loops(graph):
    """Without the edges marked `loop`, nothing is its own ancestor: every loop is marked somewhere."""
    walk = Walk(model("org/m0"))
    drive(walk, graph)
    rest = {}
    for ancestor in walk.result():
        if not ancestor.missing:
            rest.setdefault(ancestor.child.name, []).append(ancestor.project.name)
    assert not has_loop(rest, "org/m0")


def test_two_projects_that_name_each_other_end_as_a_loop_and_the_root_is_still_found():
    """A loop stops the walk on its closing edge only."""
    walk = Walk(model("org/a"))
    drive(walk, {"org/a": ["org/b"], "org/b": ["ORG/A", "org/c"]})
    told = [(ancestor.child.name, ancestor.project.name, ancestor.missing) for ancestor in walk.result()]
    assert told == [("org/a", "org/b", ""), ("org/b", "ORG/A", "loop"), ("org/b", "org/c", "")]
    assert not walk.known


def test_a_diamond_is_no_loop_and_its_top_is_asked_once():
    """Two parents with one common base give one question and no `missing`."""
    walk = Walk(model("org/merge"))
    asked = drive(walk, {"org/merge": ["org/x", "org/y"], "org/x": ["org/base"], "org/y": ["org/base"]})
    assert asked == ["org/merge", "org/x", "org/y", "org/base"]
    assert walk.known
    assert [ancestor.depth for ancestor in walk.result()] == [1, 1, 2, 2]


def test_what_is_gone_is_said_on_the_edge_to_it():
    """A parent whose page is gone ends its path as `gone`, and the lineage is not known."""
    walk = Walk(model("org/a"))
    drive(walk, {"org/a": ["org/b"]}, missing={"org/b": "gone"})
    assert [ancestor.missing for ancestor in walk.result()] == ["gone"]
    assert not walk.known


def test_a_start_that_cannot_be_read_is_not_a_root():
    """A gated start has no ancestors, says so, and its lineage is not known."""
    walk = Walk(model("org/a"))
    drive(walk, {}, missing={"org/a": "gated"})
    assert walk.result() == ()
    assert walk.start_missing == "gated"
    assert not walk.known


def test_more_than_64_hops_end_as_depth():
    """A chain of 100 is followed for 64 hops; the 64th edge says `depth`."""
    walk = Walk(model("org/m0"))
    asked = drive(walk, {f"org/m{n}": [f"org/m{n + 1}"] for n in range(100)})
    result = walk.result()
    assert len(asked) == len(result) == MAX_DEPTH
    assert [ancestor.missing for ancestor in result] == [""] * (MAX_DEPTH - 1) + ["depth"]


def test_a_card_with_thousands_of_parents_is_asked_for_a_bounded_number():
    """Every declared parent is reported, `MAX_PROJECTS` are asked for, the rest say `depth`."""
    walk = Walk(model("org/m0"))
    asked = drive(walk, {"org/m0": [f"spam/m{n}" for n in range(MAX_PROJECTS * 2)]})
    result = walk.result()
    assert len(asked) == MAX_PROJECTS
    assert len(result) == MAX_PROJECTS * 2
    assert sum(ancestor.missing == "depth" for ancestor in result) == MAX_PROJECTS + 1
    assert not walk.known


def test_an_answer_that_nobody_asked_for_is_an_error():
    """An answer given twice, or to a stranger, could change what was judged: it raises."""
    walk = Walk(model("org/a"))
    with pytest.raises(ValueError, match="not wanted"):
        walk.give(model("org/stranger"), [])
    walk.give(model("org/a"), [edge("org/b")])
    with pytest.raises(ValueError, match="not wanted"):
        walk.give(model("org/a"), [])


def test_the_strongest_evidence_for_one_parent_is_kept():
    """The same parent declared twice, in two spellings, is one edge with the higher confidence."""
    walk = Walk(model("org/a"))
    walk.give(model("org/a"), [edge("org/b", "unknown", 4_000), edge("Org/B", "quantized", 9_000)])
    assert [(a.relation, a.confidence) for a in walk.result()] == [("quantized", 9_000)]


def test_the_shipped_lineage_answers_without_regard_to_case():
    """`Lineage.parents` finds a child in any spelling, gives evidence `catalogue`, and nothing for a stranger."""
    told = Edge(model("acme/base"), "quantized", "catalogue", 9_000)
    lineage = Lineage.build([StatedEdge(model("globex/base-GGUF"), told, "doc")])
    [parent] = lineage.parents(model("GLOBEX/base-gguf"))
    assert (parent.project.name, parent.relation, parent.evidence, parent.depth) == (
        "acme/base", "quantized", "catalogue", 1,
    )
    assert lineage.parents(model("initech/other")) == ()


def test_the_digest_of_a_lineage_does_not_depend_on_the_order_of_rows():
    """The same relations in another order have the same digest; another relation has another."""
    rows = [
        StatedEdge(model(f"globex/m{n}"), Edge(model("acme/base"), "finetune", "catalogue", 9_000)) for n in range(3)
    ]
    assert Lineage.build(rows).digest == Lineage.build(rows[::-1]).digest
    assert Lineage.build(rows).digest != Lineage.build(rows[:2]).digest


def test_keys_tell_kinds_apart():
    """A dataset and a model of one name are two projects."""
    assert key(model("acme/x")) != key(Project(HUGGINGFACE, Kind.DATASET, "acme/x"))
