"""Recorded request sequences, replayed: the requests as data, sent as they stand, and what came back."""

from __future__ import annotations

import gzip
import http.client
import json
import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Final
from urllib.parse import urljoin, urlsplit

import yaml
import zstandard

FOLDER: Final = Path(__file__).with_name("sequences")


@dataclass(frozen=True)
class Step:
    """One request of a client. `follow` is `same origin`, `anywhere` or `nowhere`."""

    id: str
    method: str
    target: str
    headers: Mapping[str, str]
    body: str | None
    follow: str


@dataclass(frozen=True)
class Sequence:
    """What one call of a client sends, in order."""

    name: str
    client: str
    steps: tuple[Step, ...]


@cache
def recorded(name: str) -> tuple[Sequence, ...]:
    """The sequences of `sequences/NAME.yaml`."""
    raw = yaml.safe_load((FOLDER / f"{name}.yaml").read_text(encoding="utf-8"))
    return tuple(Sequence(row["name"], row["client"], tuple(_step(step, raw["headers"]) for step in row["steps"])) for row in raw["sequences"])


def _step(row: Mapping[str, Any], known: Mapping[str, Mapping[str, str]]) -> Step:
    method, _, target = row["send"].partition(" ")
    assert row["follow"] in ("same origin", "anywhere", "nowhere"), row
    headers: dict[str, str] = {}
    for name in row["as"]:
        headers |= known[name]
    return Step(row["id"], method, target, headers | row.get("headers", {}), row.get("body"), row["follow"])


@dataclass(frozen=True)
class Answer:
    """Where a client ended: the statuses on the way, the address, the last answer. `body` is decoded."""

    statuses: tuple[int, ...]
    url: str
    headers: Mapping[str, str]  # lower-case names; several fields of one name are joined
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    def told(self, what: str) -> str:
        """What the next requests of a sequence take from this answer."""
        kind, _, more = what.partition(" ")
        match kind:
            case "location":
                return urljoin(self.url, self.headers.get("location", "")) or self.url
            case "next":
                found = re.search(r'<([^>]*)>; *rel="next"', self.headers["link"])
                assert found is not None
                return found[1]
            case "etag":
                return self.headers["etag"]
            case "href":
                return str(self.json()["objects"][0]["actions"]["download"]["href"])
            case "url":
                return urljoin(self.url, next(row["url"] for row in self.json()["files"] if row["filename"] == more))
            case _:
                raise ValueError(f"nobody knows what {what!r} of an answer is")


@dataclass
class Replay:
    """Sends sequences to one place. `words` are put in for `<...>` in requests; `base` is the place's origin."""

    base: str
    words: Mapping[str, str] = field(default_factory=dict)

    def run(self, sequence: Sequence) -> dict[str, Answer]:
        """Every step's answer by its id."""
        answers: dict[str, Answer] = {}
        for step in sequence.steps:
            answers[step.id] = self._follow(step, answers)
        return answers

    def _follow(self, step: Step, answers: Mapping[str, Answer]) -> Answer:
        def put_in(text: str) -> str:
            return re.sub(r"<([^<>]+)>", lambda found: self._word(found[1], answers), text)

        url = urljoin(self.base, put_in(step.target))
        headers = {name: put_in(value) for name, value in step.headers.items()}
        body = put_in(step.body).encode() if step.body is not None else None
        statuses: list[int] = []
        for _ in range(10):
            status, fields, content = send(step.method, url, headers, body)
            statuses.append(status)
            location = fields.get("location")
            if not (300 <= status < 400 and status != 304 and location) or step.follow == "nowhere":
                break
            target = urljoin(url, location)
            if _origin(target) != _origin(url):
                if step.follow == "same origin":
                    break
                headers = {name: value for name, value in headers.items() if name != "Authorization"}
            url = target
        return Answer(tuple(statuses), url, fields, content)

    def _word(self, name: str, answers: Mapping[str, Answer]) -> str:
        if name in self.words:
            return self.words[name]
        step, _, what = name.rpartition(".") if name.count(".") == 1 else name.partition(".")
        return answers[step].told(what)


def _origin(url: str) -> tuple[str, str]:
    return urlsplit(url)[:2]


def send(method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> tuple[int, dict[str, str], bytes]:
    """One request with exactly these header fields (and Host and Content-Length)."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=30)
    try:
        connection.putrequest(method, (parts.path or "/") + (f"?{parts.query}" if parts.query else ""), skip_accept_encoding=True)
        for name, value in headers.items():
            connection.putheader(name, value)
        if body is not None:
            connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body)
        answer = connection.getresponse()
        fields: dict[str, str] = {}
        for name, value in answer.getheaders():
            fields[name.lower()] = f"{fields[name.lower()]}, {value}" if name.lower() in fields else value
        return answer.status, fields, _decoded(answer.read(), fields.get("content-encoding", ""))
    finally:
        connection.close()


def _decoded(body: bytes, coding: str) -> bytes:
    match coding if body else "":
        case "gzip":
            return gzip.decompress(body)
        case "zstd":
            return zstandard.ZstdDecompressor().decompressobj().decompress(body)
        case "deflate":
            return zlib.decompress(body)
        case _:
            return body
