"""Files that the hub does not give over plain HTTP, for their size: how they are had, refused, and shown to clients.

From 50 GB on the hub's HTTP bridge answers 400, and its own client refuses before it asks: it is told to go to the Xet
store. The mirror goes there for it (`mirror.upstream.xet`). To clients it gives the file as each can take it: over plain
HTTP, to those that would refuse a size without telling them one, and as a Xet store of its own (`xet_facade`).

No request of huggingface_hub says whether hf_xet is there and switched on. So a client is shown both ways wherever it chooses by
itself, which is in listings: one without hf_xet does not look at the hash there, and asks for headers. On HEAD it does not
choose: with a hash and a size one of them downloads and the other refuses; without either both download.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from mirror.core.errors import HubSaysNo
from mirror.hubs.huggingface.paths import Repo

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from mirror.hubs.huggingface.documents import HubFile, RepoPage
    from mirror.hubs.huggingface.options import Options

_CLIENT: Final = re.compile(r"\bhf_hub/([0-9]{1,4})\.([0-9]{1,4})")
#: The first huggingface_hub that downloads by hf_xet what HEAD says is in a Xet store, ...
_XET: Final = (0, 30)
#: ... from which on one may do so by a listing alone (it does from somewhere between 1.17 and 1.24 on), ...
_LISTS: Final = (1, 0)
#: ... and which takes the length from the GET where HEAD told none; before, it insists on one.
_UNSIZED: Final = (1, 31)
_SIZES: Final = frozenset({"x-linked-size", "content-length"})
_WHY: Final = {
    "refuse": "this mirror is configured not to fetch such files (hubs.{hub}.large_files: refuse). Ask whoever runs it",
    "missing": "this mirror lacks what it takes to fetch them. Whoever runs it can install it: pip install 'entrepot[xet]'",
}


def is_large(options: Options, file: HubFile | None) -> bool:
    """Whether a file is of a size that the hub gives through its Xet store only. Small files of git never are."""
    return file is not None and file.sha256 is not None and file.size is not None and file.size >= options.large_from


def permit(options: Options, page: RepoPage, file: HubFile) -> str:
    """What `Ask.xet` is for a file: the route of the hub that gives leave to read from its store, or nothing."""
    return token_route(page) if options.large_files == "xet" and is_large(options, file) else ""


def token_route(page: RepoPage) -> str:
    """The path of the route that gives leave to read this very commit from a Xet store; the hub's and ours are the same."""
    return f"{Repo.of(page.project).api}/xet-read-token/{page.commit}"


def out_of_reach(options: Options, file: HubFile) -> HubSaysNo | None:
    """The refusal of a file that is not in the store of this mirror and cannot come; None where it can.

    501 is not tried again by clients, and with the code every one of them shows the sentence.
    """
    if options.large_files == "xet" or not is_large(options, file):
        return None
    size, limit = (file.size or 0) / 1e9, options.large_from / 1e9
    why = _WHY[options.large_files].format(hub=options.name)
    text = f"{file.path} has {size:.1f} GB: files from {limit:.0f} GB on are given by the hub through Xet only, and {why}, or take a smaller file."
    return HubSaysNo(501, "GatedRepo", text, "large")


def serves_xet(options: Options) -> bool:
    """Whether the mirror is a Xet store for its large files. What it may not fetch is told on HEAD, in a sentence that clients show."""
    return options.large_serving != "plain" and options.large_files == "xet"


def for_client(options: Options, page: RepoPage, file: HubFile, headers: Mapping[str, str], agent: str, here: str) -> dict[str, str]:
    """The headers of an answer to HEAD on a large file, as the client with this `User-Agent` can take it.

    `here` is the mirror's address as that client knows it, empty where it knows it by another name than we do.
    """
    version = _version(agent)
    kept = {**headers, "Vary": "Authorization, User-Agent"}
    unsized = version is not None and version >= _UNSIZED
    if here and serves_xet(options) and version is not None and version >= _XET and (options.large_serving == "xet" or not unsized):
        return {**kept, "X-Xet-Hash": file.sha256 or "", "Link": f'<{here}{token_route(page)}>; rel="xet-auth"'}
    return {name: value for name, value in kept.items() if not (unsized and name.lower() in _SIZES)}


def with_hashes(options: Options, page: RepoPage, rows: Iterable[Any], agent: str, here: str) -> dict[str, str]:
    """Put the hash of large files into the rows of a listing, for clients that may take it; gives the headers that go with it.

    `here` as for `for_client`.
    """
    version = _version(agent)
    if not serves_xet(options):
        return {}
    if here and version is not None and version >= _LISTS:
        for row in rows:
            file = page.files.get(str(row.get("path"))) if isinstance(row, dict) else None
            if file is not None and is_large(options, file):
                row["xetHash"] = file.sha256
    return {"Vary": "Authorization, Accept-Encoding, User-Agent"}


def _version(agent: str) -> tuple[int, int] | None:
    """The huggingface_hub that a User-Agent names; None for all other clients."""
    found = _CLIENT.search(agent)
    return None if found is None else (int(found[1]), int(found[2]))
