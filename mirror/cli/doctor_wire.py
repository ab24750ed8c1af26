"""What `mirror doctor` asks the running mirror itself, without any client library in between."""

from __future__ import annotations

import http.client
import json
import re
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, urljoin, urlsplit

from mirror.cli.findings import Finding

_COMMIT: Final = re.compile(r"[0-9a-f]{40}")
_XET: Final = re.compile(r"xet", re.IGNORECASE)
_ACCEPT: Final = "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.1"
_MAX_PAGE: Final = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Answer:
    """One response, its body read. Header names are lower case."""

    status: int
    reason: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Wire:
    """Requests to the mirror at `url` (an origin), straight: no proxy, no redirects followed."""

    url: str
    context: ssl.SSLContext
    timeout: float = 30.0

    def ask(self, method: str, path: str, **headers: str) -> Answer:
        """One exchange. Raises `OSError` or `http.client.HTTPException`."""
        parts = urlsplit(self.url)
        host, port = parts.hostname or "", parts.port
        connection = (
            http.client.HTTPSConnection(host, port, timeout=self.timeout, context=self.context)
            if parts.scheme == "https"
            else http.client.HTTPConnection(host, port, timeout=self.timeout)
        )
        try:
            connection.request(method, path, headers={"User-Agent": "mirror-doctor", **headers})
            response = connection.getresponse()
            body = response.read(_MAX_PAGE)
            found = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, response.reason, found, body)
        finally:
            connection.close()


def health(wire: Wire) -> Iterator[Finding]:
    """Alive and ready. A mirror that does not answer ends the examination."""
    hint = "is `mirror serve` running, and is this the URL that it printed? (--url)"
    try:
        answer = wire.ask("GET", "/-/health/live")
    except ssl.SSLError as error:
        yield Finding("fail", "reach the mirror", f"{wire.url}: {error.reason or error}", "trust its CA: --ca FILE, or SSL_CERT_FILE")
        return
    except (OSError, http.client.HTTPException) as error:
        yield Finding("fail", "reach the mirror", f"{wire.url}: {error}", hint)
        return
    if answer.status != 200:
        yield Finding("fail", "reach the mirror", f"{wire.url}/-/health/live answers {answer.status} {answer.reason}", hint)
        return
    yield Finding("ok", "reach the mirror", wire.url)
    answer = wire.ask("GET", "/-/health/ready")
    if answer.status == 200:
        yield Finding("ok", "readiness", "ready")
    elif answer.status == 404:
        yield Finding("skip", "readiness", "on another address (listen.admin)")
    else:
        yield Finding("fail", "readiness", f"{answer.status}: {answer.body[:200].decode('utf-8', 'replace')}", "see the mirror's log")


def hub_file(wire: Wire, model: str, file: str, *, offline: bool = False) -> Iterator[Finding]:
    """A file of the Hub as every client asks for it first: HEAD of its resolve URL."""
    check = "hub: file"
    try:
        answer = wire.ask("HEAD", f"/{quote(model)}/resolve/main/{quote(file)}", Accept="*/*", **{"Accept-Encoding": "identity"})
    except (OSError, http.client.HTTPException) as error:
        yield Finding("fail", check, str(error))
        return
    yield from _status(check, f"{model}/{file}", answer, offline=offline)
    if answer.status != 200:
        return
    commit = answer.headers.get("x-repo-commit", "")
    if not _COMMIT.fullmatch(commit):
        yield Finding("fail", check, f"X-Repo-Commit is {commit!r}", "huggingface_hub cannot use an answer without it; does a proxy strip headers?")
    if not answer.headers.get("etag") and not answer.headers.get("x-linked-etag"):
        yield Finding("fail", check, "no ETag", "huggingface_hub cannot use an answer without it; does a proxy strip headers?")
    if not answer.headers.get("content-length"):
        yield Finding("warn", check, "no Content-Length", "old clients stop; does a proxy compress?")
    xet = [name for name, value in answer.headers.items() if name.startswith("x-xet") or (name == "link" and _XET.search(value))]
    if xet:
        yield Finding("fail", "hub: no way round", f"{', '.join(xet)} would send clients to the Hub's own storage", "is this the mirror?")
    else:
        yield Finding("ok", "hub: no way round", "no Xet header, no redirect")


def index_page(wire: Wire, index: str, package: str, *, offline: bool = False) -> Iterator[Finding]:
    """A project's page: from one origin, and not to be kept by clients."""
    check = "index: page"
    path = f"{urlsplit(index).path}{quote(package)}/"
    try:
        answer = wire.ask("GET", path, Accept=_ACCEPT)
    except (OSError, http.client.HTTPException) as error:
        yield Finding("fail", check, str(error))
        return
    yield from _status(check, package, answer, offline=offline)
    if answer.status != 200:
        return
    try:
        page = json.loads(answer.body)
        urls = [urljoin(f"{wire.url}{path}", str(file["url"])) for file in page["files"]]
    except (ValueError, KeyError, TypeError):
        yield Finding("fail", check, f"no PEP 691 page ({answer.headers.get('content-type')})", "is this the mirror's index?")
        return
    away = {f"{urlsplit(url).scheme}://{urlsplit(url).netloc}" for url in urls} - {wire.url}
    if away:
        yield Finding("fail", "index: no way round", f"files are on {', '.join(sorted(away))}", "set listen.public_url to the URL that clients use")
    else:
        yield Finding("ok", "index: no way round", f"{len(urls)} files, all on the mirror")
    if "no-cache" not in answer.headers.get("cache-control", ""):
        yield Finding("warn", check, "pages may be kept by clients", "a proxy in between changed Cache-Control: a new rule would come late")


def _status(check: str, what: str, answer: Answer, *, offline: bool) -> Iterator[Finding]:
    if answer.status == 200:
        yield Finding("ok", check, what)
    elif answer.status in (403, 451) and "x-mirror-decision" in answer.headers:
        yield from _refusal(check, what, answer)
    elif 300 <= answer.status < 400:
        yield Finding("fail", check, f"{what}: redirected to {answer.headers.get('location')}", "is this the mirror?")
    elif answer.status == 421:
        yield Finding("fail", check, f"{what}: {answer.reason}", "set listen.public_url to the URL that clients use")
    elif offline and answer.status in (404, 503):
        hint = "nobody can be asked: name with --model, --file, --package what a bundle has brought (`mirror bundle list`, `mirror cache show`)"
        yield Finding("skip", check, f"{what}: not here, and the mirror is offline", hint)
    elif answer.status == 404:
        yield Finding("warn", check, f"{what}: not found", "offline and not cached, or not there: name another with --model, --package")
    elif answer.status >= 500:
        yield Finding("fail", check, f"{what}: {answer.status} {answer.reason}", "can the mirror reach its upstream? (outbound.proxy, outbound.ca, its log)")
    else:
        yield Finding("fail", check, f"{what}: {answer.status} {answer.reason}")


def _refusal(check: str, what: str, answer: Answer) -> Iterator[Finding]:
    """A refusal is no fault; one whose reason got lost on the way is."""
    yield Finding("warn", check, f"{what}: refused by policy: {answer.reason}", "name another with --model, --package")
    lost = []
    if "no-store" not in answer.headers.get("cache-control", ""):
        lost.append("Cache-Control: no-store")
    if "blocked-by" not in answer.headers.get("link", ""):
        lost.append("Link rel=blocked-by")
    if answer.headers.get("content-type") != "application/problem+json":
        lost.append("Content-Type: application/problem+json")
    if lost:
        yield Finding("fail", "refusals", f"lost on the way: {', '.join(lost)}", "a proxy in between replaces error answers")
    else:
        yield Finding("ok", "refusals", "say why, and are kept by nobody")
