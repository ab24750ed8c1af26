"""The content that a stand-in index has when nobody asks for anything else. All names are invented.

| project | what it is there for |
| --- | --- |
| acme-app 1.0, 2.0 | needs `acme-lib>=1` (and Foo.Bar_baz from 2.0 on) |
| acme-lib 1.0, 1.1, 2.0 (yanked, with a reason), 2.1 (new), 2.2rc1 | versions, yanks, upload times, wheel and sdist |
| Foo.Bar_baz | a name that has to be normalised |
| evil-thing, evil-thing-tools, evil_thing.extra | what a name rule refuses; their files hold the canary |
| acme-direct | a wheel with a direct-URL requirement |
| acme-quarantined, acme-archived | project status |
| acme-yanked | every release yanked, one without a reason |
| acme-old-style | no `.metadata` |
| acme-attested | provenance and a PyPI organization |
| acme-sdist | a source archive only |
| acme-big | a wheel of about 3 MB |
| acme-huge | 3,000 files, built at the first request |
| acme-hostile | markup in the yank reason and URLs that no page may execute |
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from .defaults import CANARY
from .packages import Dist, Project

if TYPE_CHECKING:
    from .index import StandInIndex

HUGE: Final = 3000
YANK_REASON: Final = "breaks on Tuesdays"


def populate_index(index: StandInIndex, now: datetime | None = None) -> StandInIndex:
    """Fill an index with everything in the table; "new" releases are a day old by `now` (default: the clock)."""
    new = (now or datetime.now(UTC)) - timedelta(days=1)
    _ordinary(index, new)
    _awkward(index)
    index.project("acme-huge", lazy=lambda project: _huge(index, project))
    return index


def _ordinary(index: StandInIndex, new: datetime) -> None:
    mit = {"license_expression": "MIT", "author_email": "Acme Labs <dev@acme.example>"}
    urls = {"Source": "https://github.com/acme-labs/acme-lib", "Homepage": "https://acme.example"}
    index.add_release("acme-lib", "1.0", sdist=True, upload_time="2023-01-02T03:04:05+00:00", project_urls=urls, **mit)
    index.add_release("acme-lib", "1.1", sdist=True, upload_time="2024-02-03T04:05:06.789012+00:00", **mit)
    index.add_release("acme-lib", "2.0", yanked=YANK_REASON, upload_time="2024-06-01T00:00:00+00:00", **mit)
    index.add_release("acme-lib", "2.1", upload_time=new, requires_python=">=3.8", project_urls=urls, **mit)
    index.add_release("acme-lib", "2.2rc1", upload_time=new, **mit)
    index.add_release("acme-app", "1.0", requires=["acme-lib>=1"], sdist=True, **mit)
    index.add_release("acme-app", "2.0", requires=["acme-lib>=1", "foo-bar-baz"], **mit)
    index.add_release("Foo.Bar_baz", "0.1", license="BSD", author="Globex Team")
    index.add_release("acme-big", "1.0", size_pad=3_000_000, **mit)
    index.add_release("acme-sdist", "1.0", wheel=False, sdist=True, **mit)
    by = {
        "kind": "GitHub",
        "repository": "acme-labs/attested",
        "workflow": "release.yml",
        "environment": "pypi",
        "claims": None,
    }
    index.add_release("acme-attested", "1.0", publisher=by, **mit)
    index.project("acme-attested", organization="acme-labs")


def _awkward(index: StandInIndex) -> None:
    for name in ("evil-thing", "evil-thing-tools", "evil_thing.extra"):
        canary = {f"{name.replace('-', '_').replace('.', '_')}/canary.bin": CANARY + name.encode() + bytes(80_000)}
        index.add_release(
            name, "1.0", contents=canary, sdist=True, author="Umbrella", author_email="x@umbrella.example"
        )
    index.add_release("acme-needs-evil", "1.0", requires=["evil-thing"])
    index.add_release(
        "acme-direct", "1.0", requires=["other-thing @ https://files.umbrella.example/other_thing-1.0.tar.gz"]
    )
    index.add_release("acme-quarantined", "1.0")
    index.project("acme-quarantined", status="quarantined")
    index.add_release("acme-archived", "1.0")
    index.project("acme-archived", status="archived")
    index.add_release("acme-yanked", "1.0", yanked=True)
    index.add_release("acme-yanked", "1.1", yanked=YANK_REASON)
    index.add_release("acme-old-style", "1.0", core_metadata=False)
    markup = '"><script>alert(1)</script>'
    urls = {"Homepage": "javascript:alert(1)"}
    index.add_release("acme-hostile", "1.0", yanked=markup, author=markup, project_urls=urls)
    index.add_release("acme-hostile", "1.1", summary=markup)


def _huge(index: StandInIndex, project: Project) -> None:
    """3,000 small files. They are no real wheels: only the page's size matters."""
    first = datetime(2015, 1, 1, tzinfo=UTC)
    about = index.shelf
    for number in range(HUGE):
        version = f"{number // 100}.{number % 100}"
        filename = f"acme_huge-{version}-py3-none-any.whl"
        metadata = f"Metadata-Version: 2.1\nName: acme-huge\nVersion: {version}\n\n".encode()
        yanked = YANK_REASON if number % 500 == 7 else False
        at = first + timedelta(days=number)
        about.put(project, Dist(filename, b"PK\x05\x06" + filename.encode(), version, at, metadata, ">=3.8", yanked))
