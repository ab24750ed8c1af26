"""pip, uv, Poetry, pipenv and pdm: each scene once straight at the stand-in index and once through the mirror."""

from __future__ import annotations

import json
import re
import shutil
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from mirror.cli.lock import turn
from tests.hubs.pypi.plain_index import PlainIndex, serving
from tests.support.mirror import MirrorProcess, running_mirror
from tests.support.standin.index import StandInIndex, running_index
from tests.support.standin.index_defaults import populate_index

from . import package_scenes as scenes
from .cut import cutting
from .package_scenes import Outcome, Scene, Target

pytestmark = [pytest.mark.acceptance, pytest.mark.conformance, pytest.mark.timeout(240)]

CLIENTS = {client.column: client for client in (scenes.PIP, scenes.UV, scenes.POETRY, scenes.PIPENV, scenes.PDM)}
LOCKS = {"pip": "pylock.toml", "uv": "uv.lock", "Poetry": "poetry.lock", "pipenv": "Pipfile.lock", "pdm": "pdm.lock"}


PDM_HIDES = "pdm shows the status only: its HTTP cache drops the reason phrase, and it reads no problem body."
PIP_HIDES = "pip names the version that it passes over, not the reason."
STEERED = "The denied version is marked as yanked on the page, so that resolvers take the next older one."


def cells(feature: str, *columns: str, result: str = "same", note: str = "", **notes: str) -> pytest.MarkDecorator:
    """One cell for each column: the test runs once a client, and each run proves its own cell. `notes` are for one column."""
    proves = {column: pytest.mark.proves(feature, column, result, note=notes.get(column, note)) for column in columns}
    return pytest.mark.parametrize("column", [pytest.param(column, marks=mark) for column, mark in proves.items()])


@dataclass
class House:
    """The stand-in index, the plain one, and a mirror with three mounts before them; what each client ended with."""

    index: StandInIndex
    plain: PlainIndex
    mirror: MirrorProcess
    folder: Path
    played: dict[str, tuple[dict[str, Outcome], dict[str, Outcome]]] = field(default_factory=dict)

    @property
    def direct(self) -> Target:
        bases = (self.index.url, self.index.files_url, self.plain.url)
        return Target("direct", self.index.simple_url, f"{self.plain.url}/simple/", f"{self.plain.url}/whl/cpu/", bases)

    @property
    def through(self) -> Target:
        url = self.mirror.url
        return Target("mirror", *(f"{url}/{mount}/simple/" for mount in ("pypi", "plain", "torch")), (f"{url}/pypi", f"{url}/plain", f"{url}/torch"))

    def of(self, column: str) -> tuple[dict[str, Outcome], dict[str, Outcome]]:
        """(direct, through the mirror) of every scene of a client, played when first asked for."""
        if column not in self.played:
            client = CLIENTS[column]
            direct = client.play(scenes_of(column, self.direct, self.index), self.folder / f"{column}-direct")
            through = scenes_of(column, self.through, self.index) + self._rewritten(column, direct)
            self.played[column] = direct, client.play(through, self.folder / f"{column}-mirror")
        return self.played[column]

    def _rewritten(self, column: str, direct: dict[str, Outcome]) -> list[Scene]:
        """Installing from locks that were made at the index and turned to the mirror."""
        if column not in BOTH:
            return []
        made, hosts = [], [url.removeprefix("http://") for url in (self.index.url, self.index.files_url)]
        for name, source in (("rewritten", "lock"), ("rewritten-evil", "evil-lock")):
            files = {one.name: one.read_text() for one in direct[source].folder.glob("py*.toml")}
            lock = LOCKS[column]
            done = turn((direct[source].folder / lock).read_text(), lock, f"{self.mirror.url}/pypi", hosts)
            assert done.changed
            assert done.elsewhere == ()
            command = {
                "pip": ["pip", "install", "--no-compile", "--target", "site", "--index-url", self.through.index, "-r", lock],
                "uv": ["uv", "sync", "--frozen", "--default-index", self.through.index],
            }[column]
            made.append(Scene(name, [command], files | {lock: done.text}))
        return made


def scenes_of(column: str, target: Target, index: StandInIndex) -> list[Scene]:
    few = ("evil", "evil-below", "version")
    return {
        "pip": lambda: scenes.pip_scenes(target, index),
        "uv": lambda: scenes.uv_scenes(target, index),
        "Poetry": lambda: scenes.locking_scenes(scenes.poetry_scene, target, [*few, "cooling"]),
        "pipenv": lambda: scenes.locking_scenes(scenes.pipenv_scene, target, few, torch=False),
        "pdm": lambda: scenes.locking_scenes(scenes.pdm_scene, target, [*few, "cooling"], cut=True),
    }[column]()


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("packages")
    index = scenes.furnish(populate_index(StandInIndex()))
    with running_index(index), serving(scenes.plain_index()) as plain:
        row: dict[str, Any] = {"dialect": "pypi", "upstreams": [plain.url], "origins": [plain.url]}
        hubs = {"plain": {**row, "mount": "/plain"}, "torch": {**row, "mount": "/torch", "index": "/whl/cpu/"}}
        with running_mirror(folder / "mirror", index=index, policy=scenes.POLICY, hubs=hubs) as mirror:
            yield House(index, plain, mirror, folder)


def told(house: House, column: str, scene: str) -> tuple[Outcome, Outcome]:
    direct, through = house.of(column)
    return direct[scene], through[scene]


def same(house: House, column: str, scene: str, *wanted: str) -> None:
    """Both went well, both have the same packages with the same metadata, and these are among them."""
    direct, through = told(house, column, scene)
    assert direct.well, direct.text
    assert through.well, through.text
    assert but_steered(through) == but_steered(direct)
    assert set(wanted) <= set(but_steered(direct))


def but_steered(outcome: Outcome) -> dict[str, str]:
    return {name: digest for name, digest in outcome.installed.items() if not name.startswith("acme_steer")}


ALL = ("pip", "uv", "Poetry", "pipenv", "pdm")
MOST = ("pip", "uv", "Poetry", "pdm")
BOTH = ("pip", "uv")


@cells("Install of a wheel", *ALL)
def test_a_wheel_is_installed(house: House, column: str, record_property: Callable[[str, object], None]) -> None:
    """A wheel with metadata of its own on the index."""
    same(house, column, "all", "acme_app-2.0")
    version = CLIENTS[column].version()
    assert re.search(r" [0-9]", version)
    record_property("version", version)


@cells("Dependency of a package", *ALL)
def test_what_a_package_needs_comes_along(house: House, column: str) -> None:
    """Dependencies that nobody named, one of them under a name that must be normalised."""
    same(house, column, "all", "acme_lib-2.1", "foo_bar_baz-0.1")


@cells("Install of a source archive", *ALL)
def test_a_source_archive_is_built(house: House, column: str) -> None:
    """A project that has nothing but an sdist is built and installed."""
    same(house, column, "all", "acme_sdist-1.0")


@cells("Extras", *ALL)
def test_an_extra_brings_its_packages(house: House, column: str) -> None:
    """The extra that was asked for brings its package, and the other extra's requirement does not hold."""
    same(house, column, "all", "acme_extra-1.0", "acme_more-1.0")


@cells("Other spelling of a name", *ALL)
def test_other_spellings_find_the_project(house: House, column: str) -> None:
    """`FOO_bar.Baz` is foo-bar-baz."""
    same(house, column, "all", "foo_bar_baz-0.1")


@cells("Pin by `==`", *ALL)
def test_a_pin_is_kept(house: House, column: str) -> None:
    """The pinned version is installed although there is a newer one."""
    same(house, column, "all", "acme_pin-1.0")


@cells("Pinned release that was yanked", *ALL)
def test_a_yanked_release_installs_where_it_is_pinned(house: House, column: str) -> None:
    """A yanked release is installed by its pin; where the client warns with the reason, it warns in both places."""
    same(house, column, "all", "acme_yank-2.0")
    direct, through = told(house, column, "all")
    assert (scenes.YANKED in direct.words) == (scenes.YANKED in through.words)
    if column in BOTH:
        assert scenes.YANKED in through.words


@cells("Hash-checking mode (`--require-hashes`)", *BOTH)
def test_hashes_are_checked_by_the_client(house: House, column: str) -> None:
    """The right hash installs, a wrong one does not, and the client says what it got."""
    same(house, column, "hashes", "acme_pin-1.0")
    right = house.index.project("acme-pin").release("1.0")[0].sha256
    for outcome in told(house, column, "wrong-hash"):
        assert not outcome.well
        assert not outcome.installed
        assert right in outcome.words


@cells("Resolution by `.metadata` alone", *BOTH)
def test_a_resolution_downloads_no_wheel(house: House, column: str) -> None:
    """What would be installed is found without a single wheel, and it is the same."""
    direct, through = (outcome for outcome in told(house, column, "dry"))
    reports = []
    for outcome, target in ((direct, house.direct), (through, house.through)):
        assert outcome.well, outcome.text
        text = target.neutral((outcome.folder / "report.json").read_text())
        assert "acme-dry-part" in text
        reports.append(text if column == "uv" else [(row["metadata"]["name"], row["download_info"]) for row in json.loads(text)["install"]])
    assert reports[0] == reports[1]
    asked = [call.path for call in house.index.requests if "acme_dry" in call.path]
    assert asked
    assert all(path.endswith(".metadata") for path in asked)


@cells("Date cut-off (`--uploaded-prior-to`, `--exclude-newer`)", "pip", "uv", "pdm")
def test_a_date_cut_off_takes_the_version_of_its_day(house: House, column: str) -> None:
    """Upload times come through: the only version that was there on that day is installed."""
    same(house, column, "cut-off", "acme_lib-1.0")
    assert len(told(house, column, "cut-off")[0].installed) == 1


@cells("Lock, and install from it", *ALL)
def test_locks_are_the_same(house: House, column: str) -> None:
    """The lock that is made through the mirror differs from the other one in the URLs only, and installs."""
    scene = "lock" if column in BOTH else "all"
    same(house, column, scene, "acme_app-2.0")
    direct, through = told(house, column, scene)
    locks = [read_lock(column, target.neutral((one.folder / LOCKS[column]).read_text())) for one, target in ((direct, house.direct), (through, house.through))]
    assert locks[0] == locks[1]
    assert house.index.project("acme-app").release("2.0")[0].sha256 in json.dumps(locks[1], default=str)


def read_lock(column: str, text: str) -> Any:
    """A lock without digests of its input, which names the index, and without the project that ends otherwise by rule."""
    lock = json.loads(text) if column == "pipenv" else tomllib.loads(text)
    if column == "pipenv":
        del lock["_meta"]["hash"]
        lock["default"].pop(scenes.STEERED)
    elif column in ("Poetry", "pdm"):
        lock["metadata"].pop("content-hash" if column == "Poetry" else "content_hash")
        lock["package"] = [row for row in lock["package"] if row["name"] != scenes.STEERED]
    return lock


@cells("Lock made at the index and rewritten (`mirror lock rewrite`)", *BOTH, result="works")
def test_a_rewritten_lock_installs(house: House, column: str) -> None:
    """`uv sync --frozen` and `pip install -r pylock.toml` install from the mirror what the lock pins."""
    direct, through = house.of(column)
    assert through["rewritten"].well, through["rewritten"].text
    assert through["rewritten"].installed == direct["lock"].installed


@cells("Credentials in the index URL", *ALL)
def test_credentials_in_the_url_are_accepted(house: House, column: str) -> None:
    """Credentials do not disturb, and the mirror carries none of them to the index."""
    same(house, column, "all", "acme_app-2.0")
    carried = [call for call in house.index.requests if call.headers.get("User-Agent", "").startswith("entrepot")]
    mine = [call for call in house.index.requests if "Authorization" in call.headers]
    assert carried
    assert mine, "the client sent its credentials to the stand-in when it went there itself"
    assert not [call for call in carried if "Authorization" in call.headers]


@cells("Index that has only HTML", *BOTH)
def test_an_index_of_html_alone(house: House, column: str) -> None:
    """Relative links, no hash, no metadata, no upload time."""
    same(house, column, "html", "acme_html-1.0")


@cells("Wheel index laid out as PyTorch's, as a second mount", *MOST)
def test_a_wheel_index_as_a_second_mount(house: House, column: str) -> None:
    """Local versions, `%2B` in links, the hash in the fragment."""
    same(house, column, "torch", "acme_torch-2.0.0+cpu")


def failure(text: str, target: Target) -> str:
    """What a failed run printed, without what differs between two runs of the same thing."""
    text = re.sub(r"(?m)^.*(?:debug log|\.log).*$", "", target.neutral(text))
    return " ".join(re.sub(r"\x1b\[[0-9;]*[A-Za-z]|/\S*/(?:\w+)-(?:direct|mirror)/\S*|[0-9.]+m?s\b|0x[0-9a-f]+|[0-9]:[0-9:]+", "", text).split())


@cells("Project that does not exist", *ALL)
def test_an_unknown_project_is_unknown(house: House, column: str) -> None:
    """The client stops with the same words."""
    direct, through = told(house, column, "unknown")
    assert "acme-never-was" in direct.words
    assert (through.codes, failure(through.text, house.through)) == (direct.codes, failure(direct.text, house.direct))
    assert not direct.well


@cells("Project that the index has quarantined", *BOTH)
def test_a_quarantined_project_has_no_versions(house: House, column: str) -> None:
    """A page without files: the client stops with the same words."""
    direct, through = told(house, column, "quarantined")
    assert "acme-quarantined" in direct.words
    assert (through.codes, failure(through.text, house.through)) == (direct.codes, failure(direct.text, house.direct))
    assert not direct.well


# --- refusals ---------------------------------------------------------------------------------------------------------------


def refused(house: House, column: str, scene: str, *said: str) -> None:
    """The run failed, nothing of the project was installed, and these words were printed (by pdm: the status)."""
    outcome = house.of(column)[1][scene]
    said = ("451 Unavailable" if "evil" in scene else "403 Forbidden",) if column == "pdm" else said
    assert not outcome.well
    assert not [name for name in outcome.installed if name.startswith(("evil", "acme_steer", "acme_fresh"))]
    for words in said:
        assert words in outcome.words, outcome.text


@cells("Denied project, unpinned", *ALL, result="refused", pdm=PDM_HIDES)
def test_a_denied_project(house: House, column: str) -> None:
    """The terminal names the rule."""
    refused(house, column, "evil", "rule 'evil'")


@cells("Denied project, pinned", *BOTH, result="refused")
def test_a_denied_project_pinned(house: House, column: str) -> None:
    """The terminal names the rule."""
    refused(house, column, "evil-pinned", "rule 'evil'")


@cells("Denied project, in a range", *BOTH, result="refused")
def test_a_denied_project_in_a_range(house: House, column: str) -> None:
    """The terminal names the rule."""
    refused(house, column, "evil-ranged", "rule 'evil'")


@cells("Denied project, as a dependency", *ALL, result="refused", pdm=PDM_HIDES)
def test_a_denied_project_below(house: House, column: str) -> None:
    """The terminal names the rule, although nobody asked for the project by name."""
    refused(house, column, "evil-below", "rule 'evil'")


@cells("Denied version, pinned", *ALL, result="refused", pdm=PDM_HIDES)
def test_a_denied_version(house: House, column: str) -> None:
    """The terminal names the rule."""
    refused(house, column, "version", "rule 'no-steer'")


@cells("Release in its cool-off, pinned", *MOST, result="refused", pdm=PDM_HIDES)
def test_a_release_that_is_held(house: House, column: str) -> None:
    """The terminal names the rule and the day from which the release is available."""
    refused(house, column, "cooling", "rule 'cool-off'")
    if column != "pdm":
        assert re.search(r"available from 20\d\d-\d\d-\d\d", house.of(column)[1]["cooling"].words)


@cells("Denied file in a rewritten lock", *BOTH, result="refused")
def test_a_lock_is_no_way_round(house: House, column: str) -> None:
    """A file URL is decided by itself: no page is asked before it."""
    refused(house, column, "rewritten-evil", "rule 'evil'")


@cells("Range that only denied versions satisfy", *BOTH, result="refused", pip=PIP_HIDES)
def test_a_range_of_denied_versions(house: House, column: str) -> None:
    """The resolution fails; uv prints the reason of the yank, which is the sentence."""
    refused(house, column, "version-ranged", *(["rule 'no-steer'"] if column == "uv" else ["acme-steer"]))


@cells("Range with a denied version in it", *ALL, result="differs", note=STEERED)
def test_resolvers_move_on(house: House, column: str) -> None:
    """The index gives 1.1, the mirror 1.0."""
    direct, through = told(house, column, "all")
    assert through.well, through.text
    assert "acme_steer-1.1" in direct.installed
    assert set(through.installed) == {"acme_steer-1.0", *but_steered(direct)}


# --- outages ----------------------------------------------------------------------------------------------------------------


@cells("Cut download", *BOTH, result="works")
def test_a_cut_download_is_completed(house: House, column: str) -> None:
    """The connection to the mirror ends in the middle of a file: pip asks for the rest, uv begins anew; both end with the file."""
    folder = house.folder / f"{column}-cut"
    with cutting(house.mirror.port, after=1_000_000) as relay:
        target = replace(house.through, index=f"{relay.url}/pypi/simple/")
        command = {
            "pip": ["pip", "install", "--no-compile", "--target", "site", "--index-url", target.index, "acme-big"],
            "uv": ["uv", "pip", "install", "--target", "site", "--default-index", target.index, "acme-big"],
        }[column]
        outcome = CLIENTS[column].play([Scene("cut", [command])], folder)["cut"]
    assert relay.cuts == 1
    assert outcome.well, outcome.text
    assert set(outcome.installed) == {"acme_big-1.0"}
    assert bool([asked for asked in relay.ranges if asked.endswith("-") and asked != "bytes=0-"]) == (column == "pip")


@cells("Install while the index is down", *MOST, result="works")
def test_a_warm_install_needs_no_index(house: House, column: str) -> None:
    """What was installed once is installed again with the index gone; going there directly fails."""
    house.of(column)
    house.index.go_down()
    try:
        wanted = {
            "pip": lambda url: Scene("warm", [["pip", "install", "--no-compile", "--retries", "0", "--target", "site", "--index-url", url, "acme-app"]]),
            "uv": lambda url: Scene("warm", [["uv", "pip", "install", "--target", "site", "--default-index", url, "acme-app"]]),
            "Poetry": lambda url: scenes.poetry_scene("warm", url, ["acme-app"]),
            "pdm": lambda url: scenes.pdm_scene("warm", url, ["acme-app"]),
        }[column]
        outcome = CLIENTS[column].play([wanted(house.through.index)], house.folder / f"{column}-warm")["warm"]
    finally:
        house.index.come_back()
    assert outcome.well, outcome.text
    assert {"acme_app-2.0", "acme_lib-2.1", "foo_bar_baz-0.1"} == set(outcome.installed)
    shutil.rmtree(outcome.folder)
