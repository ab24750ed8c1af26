"""The HTTP calls of clients that cannot be run here - llama.cpp, Ollama, Rust hf-hub - as their sources make them, and no others.

Each function of a client is one thing a person does with it and returns what the client ends with; where the client
would stop it raises `Stopped` with the status and the words that it would show.
"""

from __future__ import annotations

import hashlib
import http.client
import json
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urljoin, urlsplit

QUANT = "quantbarn/solid-7b-merge-GGUF"
GATED = "acme/gated-gguf"
REFUSED = "umbrella/orphan-GGUF"
MISSING = "acme/never-was"


class Stopped(Exception):
    """The client gives up: the status of the answer, and what it tells its user."""


@dataclass(frozen=True)
class Answer:
    url: str
    status: int
    headers: Mapping[str, str]
    body: bytes

    def fine(self) -> Answer:
        if self.status >= 400:
            raise Stopped(f"{self.status} {self.shown()}".strip())
        return self

    def shown(self) -> str:
        """The `error` of a JSON body, in either of the shapes that these clients read."""
        try:
            said = json.loads(self.body)
        except ValueError:
            return ""
        if isinstance(said, dict):
            return str(said.get("error") or (said.get("errors") or [{}])[0].get("message", ""))
        return ""


def call(method: str, url: str, headers: Mapping[str, str], take: int | None = None) -> Answer:
    """One request on a connection of its own; after `take` bytes of the body the client goes away."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=30)
    try:
        connection.request(method, parts.path + (f"?{parts.query}" if parts.query else ""), headers=dict(headers))
        answer = connection.getresponse()
        return Answer(url, answer.status, answer.headers, answer.read(take) if take else answer.read())
    finally:
        connection.close()


def curl(method: str, url: str, headers: Mapping[str, str], take: int | None = None) -> Answer:
    """As libcurl and cpp-httplib with redirects on: ten at most, and no credential to another host."""
    sent = dict(headers)
    for _ in range(10):
        answer = call(method, url, sent, take)
        if not (300 <= answer.status < 400 and "Location" in answer.headers):
            return answer
        there = urljoin(url, answer.headers["Location"])
        if urlsplit(there).netloc != urlsplit(url).netloc:
            sent.pop("Authorization", None)
        url = there
    raise Stopped("too many redirects")


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def bearer(token: str | None) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"} if token else {}


def resumed(fetch: Callable[[str, Mapping[str, str], int | None], Answer], url: str, headers: Mapping[str, str]) -> list[Any]:
    """A download that breaks after 50,000 bytes and is taken up there: the two statuses, and the digest of the whole."""
    begun = fetch(url, headers, 50_000).fine()
    rest = fetch(url, {**headers, "Range": f"bytes={len(begun.body)}-"}, None).fine()
    return [begun.status, rest.status, rest.headers.get("Content-Range"), sha256(begun.body + rest.body)]


class LlamaCpp:
    """llama.cpp of 2026: `-hf ID:QUANT` by refs, tree, HEAD and GET; a token only of the form that it checks for."""

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint

    def files(self, repo: str, token: str | None = None) -> tuple[str, list[list[Any]]]:
        """(commit of main, [path, size, digest] of every file)."""
        headers = {"User-Agent": "llama-cpp/b7100", "Accept": "application/json", **bearer(token)}
        refs = json.loads(curl("GET", f"{self.endpoint}/api/models/{repo}/refs", headers).fine().body)
        commit = next(row["targetCommit"] for row in refs["branches"] if row["name"] == "main")
        tree = json.loads(curl("GET", f"{self.endpoint}/api/models/{repo}/tree/{commit}?recursive=true", headers).fine().body)
        files = [row for row in tree if row["type"] == "file"]
        return commit, [[row["path"], row["size"], (row.get("lfs") or row)["oid"]] for row in files]

    def address(self, repo: str, quant: str, token: str | None = None) -> str:
        commit, files = self.files(repo, token)
        path = next((path for path, _, _ in files if path.endswith(f"{quant}.gguf")), None)
        if path is None:
            raise Stopped(f"no GGUF files found in repository {repo}")
        return f"{self.endpoint}/{repo}/resolve/{commit}/{quote(path)}"

    def head(self, repo: str, quant: str, token: str | None = None) -> list[Any]:
        answer = curl("HEAD", self.address(repo, quant, token), {"User-Agent": "llama-cpp", **bearer(token)}).fine()
        return [answer.headers.get("Content-Length"), answer.headers.get("Accept-Ranges"), answer.headers.get("ETag")]

    def download(self, repo: str, quant: str, token: str | None = None) -> list[Any]:
        """[length as announced, length and digest as received]."""
        address, headers = self.address(repo, quant, token), {"User-Agent": "llama-cpp", **bearer(token)}
        length = curl("HEAD", address, headers).fine().headers.get("Content-Length")
        body = curl("GET", address, headers).fine().body
        return [length, len(body), sha256(body)]

    def resume(self, repo: str, quant: str) -> list[Any]:
        return resumed(lambda url, headers, take: curl("GET", url, headers, take), self.address(repo, quant), {"User-Agent": "llama-cpp"})


class LlamaCpp2025:
    """llama.cpp of 2025: the registry's manifest names the file; then HEAD and GET at resolve/main."""

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint

    def manifest(self, repo: str, tag: str, token: str | None = None) -> dict[str, Any]:
        headers = {"User-Agent": "llama-cpp", "Accept": "application/json", **bearer(token)}
        said = json.loads(curl("GET", f"{self.endpoint}/v2/{repo}/manifests/{tag}", headers).fine().body)
        if "ggufFile" not in said:
            raise Stopped("manifest does not have ggufFile")
        return dict(said["ggufFile"])

    def address(self, repo: str, tag: str, token: str | None = None) -> str:
        return f"{self.endpoint}/{repo}/resolve/main/{self.manifest(repo, tag, token)['rfilename']}"

    def download(self, repo: str, tag: str, token: str | None = None) -> list[Any]:
        address, headers = self.address(repo, tag, token), {"User-Agent": "llama-cpp", **bearer(token)}
        length = curl("HEAD", address, headers).fine().headers.get("Content-Length")
        body = curl("GET", address, headers).fine().body
        return [length, len(body), sha256(body)]

    def resume(self, repo: str, tag: str) -> list[Any]:
        return resumed(lambda url, headers, take: curl("GET", url, headers, take), self.address(repo, tag), {"User-Agent": "llama-cpp"})


class Ollama:
    """`ollama pull HOST/ID:TAG`: a manifest; of each blob HEAD, one GET for where it is, then ranges side by side. No credential."""

    AGENT = {"User-Agent": "ollama/0.12.6 (amd64 linux) Go/go1.24.1"}
    PARTS = 16

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint

    def manifest(self, repo: str, tag: str) -> dict[str, Any]:
        headers = {**self.AGENT, "Accept": "application/vnd.docker.distribution.manifest.v2+json"}
        return dict(json.loads(curl("GET", f"{self.endpoint}/v2/{repo}/manifests/{tag}", headers).fine().body))

    def pull(self, repo: str, tag: str) -> list[list[Any]]:
        """[media type, length and digest as received] of configuration and layers, each as its digest says."""
        manifest = self.manifest(repo, tag)
        kept = []
        for layer in (manifest["config"], *manifest["layers"]):
            body = self.blob(f"{self.endpoint}/v2/{repo}/blobs/{layer['digest']}")
            if f"sha256:{sha256(body)}" != layer["digest"]:
                raise Stopped("digest mismatch, file must be downloaded again")
            kept.append([layer["mediaType"], len(body), sha256(body)])
        return kept

    def blob(self, url: str) -> bytes:
        size = int(curl("HEAD", url, self.AGENT).fine().headers["Content-Length"])
        found = call("GET", url, self.AGENT, take=1).fine()  # it follows to the first other host, and stops there
        where = urljoin(url, found.headers["Location"]) if 300 <= found.status < 400 else url
        step = -(-size // self.PARTS)
        spans = [(start, min(start + step, size) - 1) for start in range(0, size, step)]
        with ThreadPoolExecutor(self.PARTS) as pool:
            parts = list(pool.map(lambda span: call("GET", where, {**self.AGENT, "Range": f"bytes={span[0]}-{span[1]}"}).fine(), spans))
        if {part.status for part in parts} != {206}:
            raise Stopped("a part came without its range")
        return b"".join(part.body for part in parts)


def seen(answer: Answer) -> Answer:
    """An answer that a client without interest in bodies looks at: of an error it shows the status alone."""
    if answer.status >= 400:
        raise Stopped(f"status code {answer.status}")
    return answer


class RustHub:
    """Rust hf-hub 0.5: GET of `bytes=0-0` for the metadata, redirects taken by hand and verbatim; then GET."""

    AGENT = {"User-Agent": "unknown/None; hf-hub/0.5.0; rust/unknown"}

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint

    def url(self, repo: str, path: str, revision: str = "main") -> str:
        return f"{self.endpoint}/{repo}/resolve/{revision.replace('/', '%2F')}/{path}"

    def info(self, repo: str, revision: str = "main") -> list[Any]:
        """[commit, names of all files]."""
        said = json.loads(seen(curl("GET", f"{self.endpoint}/api/models/{repo}/revision/{revision.replace('/', '%2F')}", self.AGENT)).body)
        return [said["sha"], [row["rfilename"] for row in said["siblings"]]]

    def metadata(self, url: str, token: str | None = None) -> list[Any]:
        """[commit, entity tag, size]."""
        headers = {**self.AGENT, **bearer(token), "Range": "bytes=0-0"}
        first = seen(call("GET", url, headers))
        commit, etag = first.headers.get("X-Repo-Commit"), first.headers.get("X-Linked-ETag") or first.headers.get("ETag")
        if not commit or not etag:
            raise Stopped("Header x-repo-commit or etag is missing")
        last = first
        if 300 <= first.status < 400:
            where = first.headers["Location"]
            if "://" not in where:
                raise Stopped("request error: Bad URL: relative URL without a base")
            last = seen(call("GET", where, {**self.AGENT, "Range": "bytes=0-0"}))
        if "Content-Range" not in last.headers:
            raise Stopped("Header content-range is missing")
        return [commit, etag.strip('"'), int(last.headers["Content-Range"].rpartition("/")[2])]

    def download(self, repo: str, path: str, revision: str = "main", token: str | None = None) -> list[Any]:
        """[commit, entity tag, size, digest as received]."""
        url = self.url(repo, path, revision)
        commit, etag, size = self.metadata(url, token)
        body = seen(curl("GET", url, {**self.AGENT, **bearer(token)})).body
        if len(body) != size:
            raise Stopped("the length is not what was announced")
        return [commit, etag, size, sha256(body)]

    def resume(self, repo: str, path: str) -> list[Any]:
        return resumed(lambda url, headers, take: curl("GET", url, headers, take), self.url(repo, path), self.AGENT)


def features(endpoint: str, token: str) -> dict[str, Callable[[], Any]]:
    """Everything that is tried, by names that begin with the client's."""
    llama, older, ollama, rust = LlamaCpp(endpoint), LlamaCpp2025(endpoint), Ollama(endpoint), RustHub(endpoint)
    tiny = "acme/tiny-bert"
    return {
        "llama.cpp files": lambda: llama.files("globex/solid-7b"),
        "llama.cpp head": lambda: llama.head(QUANT, "Q4_K_M"),
        "llama.cpp large": lambda: llama.download(QUANT, "Q4_K_M"),
        "llama.cpp resume": lambda: llama.resume(QUANT, "Q4_K_M"),
        "llama.cpp gate open": lambda: llama.download(GATED, "Q4_0", token),
        "llama.cpp gate shut": lambda: llama.download(GATED, "Q4_0"),
        "llama.cpp missing": lambda: llama.download(MISSING, "Q4_0"),
        "llama.cpp refused": lambda: llama.download(REFUSED, "Q4_0"),
        "llama.cpp refused file": lambda: llama.download(QUANT, "Q8_0"),
        "llama.cpp of 2025 manifest": lambda: older.manifest(QUANT, "Q4_K_M"),
        "llama.cpp of 2025 large": lambda: older.download(QUANT, "Q4_K_M"),
        "llama.cpp of 2025 resume": lambda: older.resume(QUANT, "Q4_K_M"),
        "llama.cpp of 2025 no such tag": lambda: older.download(QUANT, "Q9_X"),
        "llama.cpp of 2025 gate open": lambda: older.download(GATED, "Q4_0", token),
        "llama.cpp of 2025 gate shut": lambda: older.download(GATED, "Q4_0"),
        "llama.cpp of 2025 missing": lambda: older.download(MISSING, "Q4_0"),
        "llama.cpp of 2025 refused": lambda: older.download(REFUSED, "Q4_0"),
        "llama.cpp of 2025 refused file": lambda: older.download(QUANT, "Q8_0"),
        "Ollama manifest": lambda: ollama.manifest(QUANT, "Q4_K_M"),
        "Ollama large": lambda: ollama.pull(QUANT, "Q4_K_M"),
        "Ollama no such tag": lambda: ollama.pull(QUANT, "Q9_X"),
        "Ollama gate shut": lambda: ollama.pull(GATED, "Q4_0"),
        "Ollama missing": lambda: ollama.pull(MISSING, "Q4_0"),
        "Ollama refused": lambda: ollama.pull(REFUSED, "Q4_0"),
        "Ollama refused file": lambda: ollama.pull(QUANT, "Q8_0"),
        "Rust hf-hub 0.5 files": lambda: rust.info("globex/solid-7b"),
        "Rust hf-hub 0.5 small": lambda: rust.download(tiny, "config.json"),
        "Rust hf-hub 0.5 branch": lambda: rust.download(tiny, "model.safetensors", "feature/x"),
        "Rust hf-hub 0.5 large": lambda: rust.download(tiny, "model.safetensors"),
        "Rust hf-hub 0.5 resume": lambda: rust.resume(tiny, "model.safetensors"),
        "Rust hf-hub 0.5 absent": lambda: rust.download(tiny, "nothing.txt"),
        "Rust hf-hub 0.5 gate open": lambda: rust.download(GATED, "m-Q4_0.gguf", token=token),
        "Rust hf-hub 0.5 gate shut": lambda: rust.download(GATED, "m-Q4_0.gguf"),
        "Rust hf-hub 0.5 missing": lambda: rust.info(MISSING),
        "Rust hf-hub 0.5 refused": lambda: rust.info(REFUSED),
        "Rust hf-hub 0.5 refused file": lambda: rust.download(tiny, "pytorch_model.bin"),
    }  # fmt: skip


def tried(wanted: Mapping[str, Callable[[], Any]]) -> dict[str, Any]:
    """The value of each, or {"error", "text"} where the client stops. Anything but `Stopped` is a fault of the test."""
    said: dict[str, Any] = {}
    for name, attempt in wanted.items():
        try:
            said[name] = json.loads(json.dumps(attempt()))
        except Stopped as stopped:
            said[name] = {"error": "Stopped", "text": str(stopped)}
    return said
