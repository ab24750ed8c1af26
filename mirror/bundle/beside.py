"""The pages that clients ask for beside a repository's files, each in the form from which all others follow (`hubs.huggingface.known`)."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from mirror.core.errors import MirrorError
from mirror.core.nouns import Kind
from mirror.hubs.huggingface.documents import LISTED, MOVING, PINNED, load_json
from mirror.hubs.huggingface.known import EVERY_REF, EXPANDED, HISTORY_PAGE, PROPERTIES, SECURITY, WHOLE, history_query
from mirror.hubs.huggingface.paths import Repo
from mirror.hubs.huggingface.registry import image
from mirror.hubs.huggingface.rewrite import following

if TYPE_CHECKING:
    from mirror.core.actor import Credential
    from mirror.core.nouns import Document
    from mirror.hubs.huggingface.documents import RepoPage
    from mirror.hubs.huggingface.hub import HuggingFaceHub

#: How many commits of a history go along at the most.
_COMMITS: Final = 10_000
#: How the hub calls a quantization, by the file that holds it: `model-Q4_K_M.gguf`, also the first of several parts.
_QUANTIZED: Final = re.compile(r"(?i)(?:^|[-._/])((?:I?Q|TQ|MXFP)[0-9][A-Z0-9_]*|BF16|F16|F32)(?:-00001-of-[0-9]{5})?\.gguf$")


async def beside(hub: HuggingFaceHub, page: RepoPage, paths: Sequence[str], credential: Credential | None) -> AsyncIterator[Document]:
    """Every page beside `paths`, which are what goes along of a commit; what the hub does not give is left out."""
    commit = page.commit
    properties = [(f"/revision/{commit}", PROPERTIES[page.project.kind], MOVING)] if page.project.kind in PROPERTIES else []
    asked = [
        ("/refs", "", MOVING), ("/refs", EVERY_REF, MOVING), (f"/revision/{commit}", SECURITY, MOVING), *properties,
        (f"/tree/{commit}", WHOLE, LISTED), (f"/tree/{commit}", EXPANDED, PINNED),
    ]  # fmt: skip
    for tail, query, age in asked:
        with suppress(MirrorError):
            more: str | None = query
            while more is not None:
                document = await hub.pages.about(page, tail, more, credential, age)
                yield document
                more = following(document.header("link"))
    async for document in _history(hub, page, credential):
        yield document
    if page.project.kind is Kind.MODEL and await _is_default(hub, page, credential):
        async for document in _made_of_files(hub, page, paths, credential):
            yield document


async def _history(hub: HuggingFaceHub, page: RepoPage, credential: Credential | None) -> AsyncIterator[Document]:
    """The commits up to this one, newest first."""
    with suppress(MirrorError):
        for number in range(_COMMITS // HISTORY_PAGE):
            document = await hub.pages.about(page, f"/commits/{page.commit}", history_query(number), credential, MOVING, contents=True)
            yield document
            total = document.header("x-total-count") or ""
            if len(load_json(document, hub.options.upstream)) < HISTORY_PAGE or (total.isdecimal() and int(total) <= (number + 1) * HISTORY_PAGE):
                return


async def _is_default(hub: HuggingFaceHub, page: RepoPage, credential: Credential | None) -> bool:
    """Whether this is the commit of the default branch, of which the hub tells what names no revision."""
    with suppress(MirrorError):
        return (await hub.pages.repository(Repo.of(page.project), None, credential)).commit == page.commit
    return False


async def _made_of_files(hub: HuggingFaceHub, page: RepoPage, paths: Sequence[str], credential: Credential | None) -> AsyncIterator[Document]:
    """Tensor lists of safetensors files, and manifests for Ollama and llama.cpp of GGUF files, with the layers that the hub makes."""
    for path in paths:
        if path.endswith(".safetensors"):
            with suppress(MirrorError):
                yield await hub.pages.about(
                    page, f"/safetensors-metadata/{quote(path, safe='/')}", "", credential, MOVING, contents=True, shape=dict
                )
    tags = {found[1] for path in paths if (found := _QUANTIZED.search(path)) is not None}
    for tag in ("latest", *sorted(tags)) if any(path.endswith(".gguf") for path in paths) else ():
        async for document in image(hub, page, tag, credential):
            yield document
