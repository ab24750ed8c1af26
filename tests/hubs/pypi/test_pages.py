"""One filtered model, two renderings."""

import json
import string
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mirror.hubs.pypi.anchors import decode_html
from mirror.hubs.pypi.pages import Judged, as_html, as_json, denied_whole, filtered, marks

from .pages_by_hand import NEWER, SDIST, SHA, WHEEL, file, page

BASE = "http://mirror.acme.example:8080/pypi"
TAGS = {"html", "head", "meta", "title", "body", "h1", "a", "br"}


def judged(found, refused):
    return [Judged(one, one.name not in refused, f"no {one.name}") for one in found.files]


def test_files_point_to_the_mirror_and_nothing_else_changes():
    """Upload time, size, serial, status, tracks and unknown keys pass through; url and the two metadata names are ours."""
    upstream = file(WHEEL, **{"core-metadata": {"sha256": SHA}, "x-new": 1})
    model = json.loads(as_json(filtered(page(upstream, tracks=["t"]), {}, BASE)))
    shown = model["files"][0]
    assert shown.pop("url") == f"{BASE}/packages/01/bb/{'c' * 60}/{WHEEL}"
    assert shown.pop("data-dist-info-metadata") == {"sha256": SHA}
    assert shown == {key: value for key, value in upstream.items() if key not in ("url", "data-dist-info-metadata")}
    assert (model["meta"], model["tracks"]) == ({"api-version": "1.4", "_last-serial": 7}, ["t"])


def test_provenance_points_to_the_mirror():
    """PEP 740: the integrity address is the mirror's own, and null stays null."""
    files = filtered(page(file(WHEEL, provenance="https://x.example/p"), file(NEWER, 2)), {}, BASE)["files"]
    assert files[0]["provenance"] == f"{BASE}/integrity/acme-tools/1.0/{WHEEL}/provenance"
    assert files[1]["provenance"] is None


def test_metadata_is_advertised_only_where_upstream_has_it():
    """An advertised `.metadata` that answers 404 makes pip and uv fail."""
    text = as_html(filtered(page(file(WHEEL)), {}, BASE)).decode()
    assert "metadata" not in text.replace("acme", "")


def test_a_refused_wheel_takes_its_release_along():
    """Hiding only the wheel would make installers build the sdist."""
    found = page(file(WHEEL), file(SDIST, 2), file(NEWER, 3))
    assert marks(judged(found, {WHEEL})) == {WHEEL: f"no {WHEEL}", SDIST: f"no {WHEEL}"}


def test_a_refused_sdist_leaves_its_wheel():
    """A rule against sdists is no rule against the release."""
    found = page(file(WHEEL), file(SDIST, 2), file(NEWER, 3))
    assert marks(judged(found, {SDIST})) == {SDIST: f"no {SDIST}"}


def test_a_project_refused_whole_is_listed_as_it_is():
    """With every file yanked pip prints no reason; with none yanked it asks for the file and prints the refusal."""
    found = page(file(WHEEL), file(NEWER, 2))
    everything = judged(found, {WHEEL, NEWER})
    assert marks(everything) == {}
    assert denied_whole(everything)
    assert not denied_whole(judged(found, {WHEEL}))
    assert not denied_whole([])


def test_our_mark_shows_in_both_forms():
    """The reason stands where PEP 592 puts it, escaped in HTML."""
    model = filtered(page(file(WHEEL), file(NEWER, 2)), {WHEEL: 'Blocked by "x" <b>\r\nLocation: y'}, BASE)
    assert json.loads(as_json(model))["files"][0]["yanked"] == 'Blocked by "x" <b> Location: y'
    assert 'data-yanked="Blocked by &quot;x&quot; &lt;b&gt; Location: y"' in as_html(model).decode()


@pytest.mark.parametrize("status", ["quarantined", "archived"])
def test_the_projects_status_passes_through(status):
    """PEP 792 in both forms."""
    model = filtered(page(**{"project-status": {"status": status, "reason": "r"}}), {}, BASE)
    assert json.loads(as_json(model))["project-status"] == {"status": status, "reason": "r"}
    assert f'<meta name="pypi:project-status" content="{status}">' in as_html(model).decode()


class Seen(HTMLParser):
    """Which tags, attributes and links a browser would find."""

    def __init__(self):
        super().__init__()
        self.tags, self.attributes, self.links = set(), set(), []

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        self.links += [value for name, value in attrs if name == "href"]


hostile = st.text(string.ascii_letters + "<>\"'&/=\x00\r\n\u2028 javascript:", max_size=40)


@settings(max_examples=100, derandomize=True, deadline=None)
@given(hostile, hostile, hostile, st.booleans())
def test_html_is_inert_whatever_upstream_says(requires, yanked, reason, marked):
    """No tag, attribute or link but our own appears, whatever stands in upstream's strings."""
    found = page(file(WHEEL, **{"requires-python": requires, "yanked": yanked, "hashes": {requires: yanked, "sha256": SHA}}),
                 **{"project-status": {"status": yanked, "reason": reason}})  # fmt: skip
    seen = Seen()
    seen.feed(as_html(filtered(found, {WHEEL: reason} if marked else {}, BASE)).decode())
    assert seen.tags <= TAGS
    assert seen.attributes <= {"name", "content", "href", "data-requires-python", "data-yanked"}
    assert all(link.startswith(BASE + "/packages/") for link in seen.links)


plain = st.text(string.ascii_letters + string.digits + " <>=&\"'.,", min_size=1, max_size=30)


@settings(max_examples=100, derandomize=True, deadline=None)
@given(plain, st.one_of(st.booleans(), plain), st.booleans())
def test_both_forms_show_the_same(requires, yanked, metadata):
    """What HTML can carry, read back by our own reader, equals the JSON form."""
    declared = {"sha256": SHA} if metadata else False
    found = page(file(WHEEL, **{"requires-python": requires, "yanked": yanked, "core-metadata": declared}), file(NEWER, 2))
    model = filtered(found, {NEWER: "blocked"}, BASE)
    back = decode_html(as_html(model), f"{BASE}/simple/acme-tools/", "acme-tools", BASE)
    for shown, read in zip(model["files"], back.files, strict=True):
        for key in ("filename", "url", "hashes", "requires-python", "yanked"):
            assert read.raw[key] == shown[key]
        assert read.raw.get("core-metadata", False) == shown["core-metadata"]
