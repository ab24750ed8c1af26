"""Raw HTTP/1.1 requests from the mirror's own route tables, and what a hostile client does to them."""

from __future__ import annotations

import json
import random
import re
from typing import Any

from tests.fuzz.paths import HUB_ROUTES, INDEX_ROUTES
from tests.fuzz.steps import parser

COMMIT = "0123456789abcdef0123456789abcdef01234567"
#: What a named part of a route is mostly filled with: names that the stand-ins have, and some that nobody has.
VALUES = {
    "repo": ("acme/tiny-bert", "acme/tiny-bert", "acme/odd-names", "globex/solid-7b", "acme/many-files", "acme/reviews", "acme/demo", "acme/old-name", "ACME/tiny-bert", "acme/gated-auto", "initech/nothing", "solid"),
    "rev": ("main", "main", "main", COMMIT, "refs%2Fpr%2F1", "refs%2Fconvert%2Fparquet", "v1.0", "abcdef1"),
    "path": ("config.json", "config.json", "README.md", "model.safetensors", "sub/x%23y.txt", "nothing.bin", "a%20b", ""),
    "name": ("acme-lib", "acme-app", "Acme.Lib", "foo-bar-baz", "nobody", "acme-big"),
    "file": ("acme_lib-1.0-py3-none-any.whl", "acme_lib-1.0-py3-none-any.whl.metadata", "acme-lib-1.1.tar.gz", "x-1.zip"),
    "version": ("1.0", "2.0", "1!1", "x"),
    "tag": ("latest", "Q4_K_M"),
}
TRICKS = ("%2f", "%2e%2e", "..", ".", "//", "%00", "%0d%0a", "%5c", "\\", ";", ":", "@", "#", "%25", "%23", "%ff", "%", "%c0%ae", "\x01", "é", "\x80", " ", "?", "&", "%E2%80%AE", "http://", "\t")
METHODS = ("GET",) * 10 + ("HEAD", "HEAD", "HEAD", "POST", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "CONNECT", "PROPFIND", "get", "G\x01T")


def drawn(pattern: re.Pattern[str], rng: random.Random) -> str:
    """A text that the pattern of a route matches, its named parts filled from `VALUES` where it has them."""
    names = {number: name for name, number in pattern.groupindex.items()}
    return "".join(_piece(str(op), argument, rng, names) for op, argument in parser.parse(pattern.pattern, pattern.flags))


def _piece(op: str, argument: Any, rng: random.Random, names: dict[int, str]) -> str:
    def several(items: Any) -> str:
        return "".join(_piece(str(inner), value, rng, names) for inner, value in items)

    if op == "LITERAL":
        return chr(argument)
    if op == "SUBPATTERN":
        return rng.choice(VALUES[names[argument[0]]]) if names.get(argument[0]) in VALUES and rng.random() < 0.9 else several(argument[3])
    if op == "BRANCH":
        return several(rng.choice(argument[1]))
    if op in ("MAX_REPEAT", "MIN_REPEAT"):
        low, high, body = argument
        most = low + 4 if high is parser.MAXREPEAT else high
        return "".join(several(body) for _ in range(rng.randint(low, min(most, 80))))
    if op == "IN":
        ranges = [value for kind, value in argument if str(kind) == "RANGE"]
        return chr(rng.randint(*rng.choice(ranges))) if ranges else rng.choice("ab1._-")
    return rng.choice("ab1._-") if op in ("NOT_LITERAL", "ANY") else ""


def target(rng: random.Random, host: str, canary: str) -> tuple[str, str]:
    """(method, request target): a route's path below one of the mounts, mostly with a few tricks in it."""
    everywhere = (("", HUB_ROUTES), ("", HUB_ROUTES), ("/pypi", INDEX_ROUTES), ("", INDEX_ROUTES), ("/lies", INDEX_ROUTES), ("/lies", INDEX_ROUTES))
    mount, routes = ("", HUB_ROUTES) if host == "liars.localhost" else rng.choice(everywhere)
    row = rng.choice(routes)
    path = mount + drawn(row.pattern, rng)
    if rng.random() < 0.1:
        path = rng.choice(("/", "/-/health/live", "/-/blocked/01J8ZQ4Y3S5T6V7W8X9YABCDEF", "/-/blocked/<script>", "/-/metrics", "/-/api/v1/decisions/x", "*", "/-/health/../x"))
    for _ in range(rng.choice((0, 0, 0, 0, 1, 1, 2, 5))):
        at = rng.randint(0, len(path))
        trick = rng.choice(TRICKS)
        path = path[:at] + trick + path[at + rng.randint(0, 2) :]
    if rng.random() < 0.1:
        at = rng.randint(0, max(0, len(path) - 1))
        path = path[:at] + "".join(f"%{ord(c) % 256:02X}" for c in path[at : at + 3]) + path[at + 3 :]
    if rng.random() < 0.3:
        path += "?" + rng.choice(("download=true", "blobs=true", "expand=%5B%5D", "limit=-1", "cursor=" + canary, "recursive=1&x=%", "a" * 3000, "expand=siblings&expand=x", "x=\x80"))
    if rng.random() < 0.08:
        path = rng.choice(("http://", "https://", "HTTP://", "//")) + rng.choice((canary, "evil.example", "127.0.0.1")) + path
    method = rng.choice([*row.methods]) if rng.random() < 0.7 else rng.choice(METHODS)
    return method, path


def _headers(rng: random.Random, host: str, canary: str) -> list[tuple[str, str]]:
    names = {
        "Range": ("bytes=0-0", "bytes=5-", "bytes=-1", "bytes=0-0,2-3,1-9", "bytes=" + "0-,".rstrip() * 200, "bytes=99999999999999999999-", "lines=1-2", "bytes=9-1"),
        "If-Range": ('"x"', 'W/"x"', "Sun, 06 Nov 1994 08:49:37 GMT", "\x80"),
        "If-None-Match": ("*", '"x", W/"y"', '"' + "x" * 2000),
        "If-Modified-Since": ("Sun, 06 Nov 1994 08:49:37 GMT", "Mon, 01 Jan 0001 00:00:00 +2359", "0"),
        "Authorization": ("Bearer hf_" + "a" * 30, "Basic !!!", "Bearer", "Basic " + "QQ==" * 200, "Digest x", "Bearer \x80"),
        "Accept": ("application/vnd.pypi.simple.v1+json", "text/html", "*/*;q=2;q=x", "," * 500, "text/html;q=0.0001"),
        "Accept-Encoding": ("gzip", "zstd, gzip;q=0.5", "identity;q=0", "*;q=0"),
        "X-Forwarded-For": ("10.8.0.9", "evil", "::1, 127.0.0.1"),
        "X-Forwarded-Host": (canary, "evil.example"),
        "X-Forwarded-Proto": ("https", "javascript"),
        "Forwarded": (f"for=1.2.3.4;host={canary}",),
        "Git-Protocol": ("version=2", "version=99"),
        "User-Agent": ("git-lfs/3.4", "ollama/0.5", "llama-cpp", "hf_hub/2.0", "<script>alert(1)</script>", "\x80\xff"),
        "Content-Type": ("application/json", "application/x-www-form-urlencoded", "application/vnd.git-lfs+json", "text/xml", "\x80"),
        "Expect": ("100-continue", "200-ok"),
        "Upgrade": ("websocket", "h2c"),
        "Cookie": ("a=b",),
        "Origin": ("http://evil.example", "null"),
    }
    chosen = [(name, rng.choice(names[name])) for name in rng.sample(sorted(names), rng.randint(0, 5))]
    # Not the canary: it is on loopback, and a mirror without `public_url` answers to every name of loopback (SURFACE 2).
    wanted = host if rng.random() < 0.92 else rng.choice(("evil.example", "169.254.169.254", "liars.localhost", "", "localhost:1", "[::1]", "a b", host + "@" + canary))
    fields = [("Host", wanted)] if rng.random() < 0.97 else []
    return [*fields, *([("Host", "evil.example")] if rng.random() < 0.02 else []), *chosen]


def _body(rng: random.Random) -> bytes:
    whole = (
        json.dumps({"paths": ["config.json", "../x", "\ud800"], "expand": True}),
        json.dumps({"operation": "download", "objects": [{"oid": "a" * 64, "size": 5}], "ref": {"name": "\ud800refs"}}),
        json.dumps({"operation": "upload", "objects": []}),
        "paths=config.json&paths=%ff&expand=1",
        "[" * 5000, "{}", "null", "", "<?xml version='1.0'?><methodCall><methodName>list_packages</methodName></methodCall>",
        '{"operation":"download","objects":[{"oid":"' + "b" * 64 + '","size":' + "9" * 400 + "}]}",
    )  # fmt: skip
    return rng.choice(whole).encode("utf-8", "surrogatepass")


def request(rng: random.Random, host: str, canary: str) -> bytes:
    """One request as it goes over the wire, `Connection: close` among its fields."""
    method, path = target(rng, host, canary)
    fields = [*_headers(rng, host, canary), ("Connection", "close")]
    body = b""
    if method in ("POST", "PUT", "PATCH") or rng.random() < 0.05:
        body = _body(rng)
        framing = rng.random()
        if framing < 0.7:
            fields.append(("Content-Length", str(len(body))))
        elif framing < 0.85:
            fields.append(("Transfer-Encoding", "chunked"))
            body = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body) if body and rng.random() < 0.7 else b"zz\r\n" + body
        else:
            fields += [("Content-Length", str(len(body))), ("Content-Length", rng.choice(("0", "5", "-1", "1e3")))]
    line = f"{method} {path} HTTP/1.1"
    return "\r\n".join([line, *(f"{name}: {value}" for name, value in fields), "", ""]).encode("latin-1", "replace") + body
