"""Files that the hub does not give over plain HTTP, for their size: how they are had, refused, and shown to clients.

From 50 GB on the hub's HTTP bridge answers 400, and its own client refuses before it asks: it is told to go to the Xet
store. The mirror goes there for it (`mirror.upstream.xet`), and serves the file over plain HTTP like any other.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from mirror.core.errors import HubSaysNo
from mirror.hubs.huggingface.paths import Repo

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mirror.hubs.huggingface.documents import HubFile, RepoPage
    from mirror.hubs.huggingface.options import Options

#: huggingface_hub from 1.0 on (`http_get` refuses a size above `MAX_HTTP_DOWNLOAD_SIZE` that it has been told, and takes the
#: length from the GET where it has not). Releases before that want a size in any case, and so get it.
_CLIENT: Final = re.compile(r"\bhf_hub/([0-9]{1,4})\.")
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
    if options.large_files != "xet" or not is_large(options, file):
        return ""
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


def for_client(headers: Mapping[str, str], agent: str) -> dict[str, str]:
    """The headers of an answer to HEAD on a large file: without its size for a client that would refuse to download it."""
    found = _CLIENT.search(agent)
    hidden = found is not None and int(found[1]) >= 1
    kept = {name: value for name, value in headers.items() if not (hidden and name.lower() in _SIZES)}
    return {**kept, "Vary": "Authorization, User-Agent"}
