"""What clients must be told so that they come through the mirror, and what must be closed so that they cannot go round.

Names and behaviour were measured on pip 26.3, uv 0.13, Poetry 2.5, huggingface_hub 0.23 to 2.4 (docs/protocols).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from mirror.config import Config


@dataclass(frozen=True, slots=True)
class Setting:
    """One environment variable. `value` None: it must not be set. `add`: joined to what is there with a comma."""

    tool: str
    name: str
    value: str | None
    why: str
    add: bool = False


@dataclass(frozen=True, slots=True)
class Command:
    """Something that no variable can say: one command, to be run once."""

    tool: str
    line: str
    why: str


def settings(url: str, config: Config, ca: str | None) -> Iterator[Setting]:
    """The variables for clients of the mirror at `url` (no trailing slash); `ca` is a path on the client's machine."""
    index = index_url(url, config)
    host = urlsplit(url).hostname or ""
    if any(row.dialect == "huggingface" for row in config.hubs.values()):
        yield from _hugging_face(hub_url(url, config))
    if index:
        yield Setting("pip", "PIP_INDEX_URL", index, "pip's only index")
        yield Setting("pip", "PIP_EXTRA_INDEX_URL", None, "pip would merge a second index with ours and install what is refused here")
        if url.startswith("http://") and not loopback(host):
            yield Setting("pip", "PIP_TRUSTED_HOST", urlsplit(url).netloc, "pip ignores an index without TLS; better: give the mirror a certificate")
        yield Setting("pip", "PIP_DISABLE_PIP_VERSION_CHECK", "1", "pip asks for its own newest version on each run")
        yield Setting("uv", "UV_DEFAULT_INDEX", index, "uv's index in place of PyPI (also uvx, uv pip)")
        yield Setting("uv", "UV_INDEX", None, "a further index comes before the default one")
        yield Setting("uv", "UV_EXTRA_INDEX_URL", None, "likewise")
        yield Setting("uv", "UV_INDEX_STRATEGY", "first-index", "uv's default; unsafe-best-match takes from another index what is refused here")
    for name in ("NO_PROXY", "no_proxy"):
        yield Setting("all", name, host, "straight to the mirror where the machine has an HTTP proxy", add=True)
    if ca is not None:
        yield Setting("all", "SSL_CERT_FILE", ca, "httpx (huggingface_hub 1.x, 2.x) and uv: a file with the mirror's CA, in place of the system's")
        yield Setting("all", "REQUESTS_CA_BUNDLE", ca, "requests (huggingface_hub 0.x, datasets, poetry)")
        yield Setting("pip", "PIP_CERT", ca, "pip has its own")
        yield Setting("git", "GIT_SSL_CAINFO", ca, "git and git-lfs")


def _hugging_face(endpoint: str) -> Iterator[Setting]:
    yield Setting("huggingface_hub", "HF_ENDPOINT", endpoint, "huggingface_hub, hf, transformers, datasets, diffusers; no slash at its end")
    yield Setting("huggingface_hub", "HF_HUB_DISABLE_UPDATE_CHECK", "1", "hf asks pypi.org itself, whatever the index is")
    yield Setting("huggingface_hub", "HF_HUB_DISABLE_TELEMETRY", "1", "nothing about usage leaves (gradio, diffusers)")
    yield Setting("transformers", "DISABLE_SAFETENSORS_CONVERSION", "1", "transformers otherwise sends repository and token to a Space outside")
    yield Setting("all", "DO_NOT_TRACK", "1", "telemetry of further libraries")


def commands(url: str, config: Config) -> Iterator[Command]:
    """What must be run once a project or a machine."""
    index = index_url(url, config)
    if index:
        yield Command("poetry", f"poetry source add --priority=primary mirror {index}", "poetry reads no variable; a primary source switches PyPI off, in each project")
        yield Command("uv", "mirror lock rewrite uv.lock", "a lock file made elsewhere names its hosts; `uv sync --frozen` would go there")
    if any(row.dialect == "huggingface" for row in config.hubs.values()):
        endpoint = hub_url(url, config)
        for outside in ("https://huggingface.co/", "https://hf.co/"):
            yield Command("git", f"git config --global --add url.{endpoint}/.insteadOf {outside}", "clones of the hub come through the mirror")
    for name, row in config.hubs.items():
        if row.dialect == "pypi" and row.mount not in ("", "/pypi"):
            yield Command("pip", f"pip install --index-url {url}{row.mount}/simple/ PACKAGE", f"the further index {name!r}, in place of the default one")


def default_url(config: Config) -> str:
    """The mirror's URL as the configuration knows it, without a trailing slash."""
    if config.listen.public_url:
        return config.listen.public_url
    host = config.listen.host
    try:
        address = ipaddress.ip_address(host.strip("[]"))
        host = ("127.0.0.1" if address.version == 4 else "[::1]") if address.is_unspecified else f"[{address}]" if address.version == 6 else host
    except ValueError:
        pass
    return f"{'https' if config.listen.tls.cert else 'http'}://{host}:{config.listen.port}"


def hub_url(url: str, config: Config) -> str:
    """`HF_ENDPOINT`: the mirror's root, or the first Hugging Face instance's own host."""
    rows = [row for row in config.hubs.values() if row.dialect == "huggingface"]
    if all(row.hosts for row in rows):
        parts = urlsplit(url)
        port = f":{parts.port}" if parts.port else ""
        return f"{parts.scheme}://{rows[0].hosts[0]}{port}"
    return url


def index_url(url: str, config: Config) -> str | None:
    """The default Python index's simple pages, or None where none is configured."""
    rows = [row for row in config.hubs.values() if row.dialect == "pypi" and not row.hosts]
    rows.sort(key=lambda row: row.mount != "/pypi")
    return f"{url}{rows[0].mount}/simple/" if rows else None


def loopback(host: str) -> bool:
    """Whether `host` is this machine itself."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


#: Hosts to close for clients, by what they are. A star stands for any number of labels.
FIREWALL: Final = {
    "hub": ("huggingface.co", "hf.co", "hub-ci.huggingface.co"),
    "cdn": ("*.hf.co", "cdn-lfs.huggingface.co", "us.aws.cdn.hf.co", "us.gcp.cdn.hf.co"),
    "xet": ("cas-server.xethub.hf.co", "cas-bridge.xethub.hf.co", "transfer.xethub.hf.co", "*.xethub.hf.co"),
    "pypi": ("pypi.org", "files.pythonhosted.org", "test.pypi.org", "upload.pypi.org", "test-files.pythonhosted.org"),
    "hard-coded in clients": (
        "datasets-server.huggingface.co", "router.huggingface.co", "api-inference.huggingface.co", "endpoints.huggingface.co",
        "api.endpoints.huggingface.cloud", "safetensors-convert.hf.space", "*.hf.space", "*.huggingface.co",
        "registry-1.docker.io", "auth.docker.io",
    ),
}  # fmt: skip
WHY: Final = {
    "hub": "the API and every file of the Hub",
    "cdn": "where the Hub redirects downloads to",
    "xet": "chunked storage, reached without any redirect by clients with hf_xet",
    "pypi": "the index, its files, and the ways to publish",
    "hard-coded in clients": "asked whatever HF_ENDPOINT says (datasets' parquet lists, inference, conversion; llama.cpp -dr)",
    "configured here": "upstreams and origins of this mirror: only the mirror itself may reach them",
}


def firewall(config: Config) -> dict[str, tuple[str, ...]]:
    """The hosts that clients must not reach, by group, with those that this mirror's configuration adds."""
    known = {host for hosts in FIREWALL.values() for host in hosts}
    added = []
    for row in config.hubs.values():
        urls = (*row.upstreams, *(row.origins or ()), *((row.private.upstream,) if row.private.upstream else ()))
        added += [urlsplit(text if "//" in text else f"//{text}").hostname or text for text in urls]
    configured = tuple(dict.fromkeys(host for host in added if host not in known))
    return {**FIREWALL, **({"configured here": configured} if configured else {})}
