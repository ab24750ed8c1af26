"""One file of a list from its server: asked whether it changed, bounded, from hosts that the configuration names."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from mirror.core.errors import UpstreamGarbage
from mirror.core.ports import Ask, Upstream
from mirror.lists.editions import Validator
from mirror.lists.material import MAX_BYTES, Part

if TYPE_CHECKING:
    from mirror.core.ports import Answer

#: Seconds for one file: the EU makes its file while one waits, which takes more than a minute.
PATIENCE: Final = 300.0


@dataclass(frozen=True, slots=True)
class Fetched:
    """A file as it is now. `validator` is what its server said of it; `seen_at` is a file's own time, None for what was fetched now."""

    part: Part
    validator: Validator | None
    seen_at: datetime | None


async def fetch(way: Upstream, url: str, known: Validator | None, have: Part | None) -> Fetched:
    """The file at `url`, or `have` where the server says that it is not modified since `known`.

    Redirects are followed to permitted hosts only. Raises `UpstreamError`; any answer but 200 and 304 is `UpstreamGarbage`.
    """
    headers = {}
    if known is not None and have is not None:
        headers = {"If-None-Match": known.etag, "If-Modified-Since": known.last_modified}
    ask = Ask(url, headers={key: value for key, value in headers.items() if value}, follow=True, max_bytes=MAX_BYTES, patience=PATIENCE)
    answer = await way.ask(ask)
    if answer.status == 304 and known is not None and have is not None:
        return Fetched(have, known, None)
    if answer.status != 200:
        raise UpstreamGarbage(answer.upstream, f"answered {answer.status} for {shown(url)}")
    return Fetched(Part(shown(url), answer.body), _validator(url, answer), None)


def shown(url: str) -> str:
    """A URL without its query: some carry a token there."""
    return url.partition("?")[0]


def _validator(url: str, answer: Answer) -> Validator | None:
    etag, modified = answer.header("etag") or "", answer.header("last-modified") or ""
    return Validator(url, sha256(answer.body).hexdigest(), etag, modified) if etag or modified else None
