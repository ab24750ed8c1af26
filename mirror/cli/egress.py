"""Whether a hub can be reached round the mirror from this machine: TCP and TLS, straight and through its proxies."""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final
from urllib.parse import unquote, urlsplit

from mirror.cli.findings import Finding

_PATIENCE: Final = 5.0
_HINT: Final = "close it for clients (`mirror env --firewall` lists all), by name in DNS and at the proxy"


def egress(hosts: Sequence[str], proxies: Mapping[str, str], context: ssl.SSLContext) -> Iterator[Finding]:
    """One finding a host and way, in order. `hosts` are `name` or `name:port` (443); `proxies` are URLs by name."""
    ways: list[tuple[str, str | None]] = [("direct", None), *((f"by {name}", url) for name, url in proxies.items())]
    tries = [(host, way, proxy) for host in hosts for way, proxy in ways]
    with ThreadPoolExecutor(max_workers=16) as pool:
        yield from pool.map(lambda row: _attempt(row[0], row[1], row[2], context), tries)


def environment_proxies(environ: Mapping[str, str]) -> dict[str, str]:
    """The proxies that clients would use for https, by the variable that names them; the same URL only once."""
    found: dict[str, str] = {}
    for name in ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        url = environ.get(name, "")
        if url and url not in found.values():
            found[name] = url if "//" in url else f"http://{url}"
    return found


def split_host(text: str) -> tuple[str, int]:
    """`name`, `name:port`, `[v6]:port` as host and port. Raises `ValueError`."""
    found = re.fullmatch(r"(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+)(?::(\d{1,5}))?", text)
    if found is None or not 0 < int(found[2] or 443) <= 65535:
        raise ValueError(f"{text!r} is no host")
    return found[1].strip("[]"), int(found[2] or 443)


def _attempt(host: str, way: str, proxy: str | None, context: ssl.SSLContext) -> Finding:
    check = f"{host} {way}"
    name, port = split_host(host)
    try:
        connection = socket.create_connection((name, port), _PATIENCE) if proxy is None else _through(proxy, name, port)
    except socket.gaierror:
        return Finding("ok", check, "the name does not resolve")
    except (OSError, ValueError) as error:
        return Finding("ok", check, f"closed ({error})")
    with connection:
        try:
            with context.wrap_socket(connection, server_hostname=name):
                return Finding("fail", check, "reachable round the mirror", _HINT)
        except ssl.SSLCertVerificationError as error:
            return Finding(
                "warn", check, f"something answers with a certificate that is not trusted ({error.verify_message})",
                "a gateway that answers in the hub's place? Then make sure that it refuses",
            )  # fmt: skip
        except OSError as error:
            return Finding("ok", check, f"closed at TLS ({error})")


def _through(proxy: str, name: str, port: int) -> socket.socket:
    """A tunnel by CONNECT (RFC 9110 section 9.3.6). Raises `OSError` where the proxy will not."""
    parts = urlsplit(proxy)
    if parts.scheme != "http" or not parts.hostname:
        raise ValueError(f"proxies of scheme {parts.scheme!r} are not tried")
    connection = socket.create_connection((parts.hostname, parts.port or 80), _PATIENCE)
    try:
        target = f"[{name}]:{port}" if ":" in name else f"{name}:{port}"
        connection.sendall(f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{_credentials(parts.username, parts.password)}\r\n".encode())
        head = b""
        while b"\r\n\r\n" not in head and len(head) < 65536:
            part = connection.recv(1)  # a byte at a time: what follows the head belongs to TLS
            if not part:
                break
            head += part
        status = head.split(b"\r\n", 1)[0].decode("latin-1")
        if not re.match(r"HTTP/1\.\d 2\d\d", status):
            raise ConnectionError(f"the proxy says {status!r}")
    except BaseException:
        connection.close()
        raise
    return connection


def _credentials(user: str | None, password: str | None) -> str:
    if user is None:
        return ""
    from base64 import b64encode

    pair = f"{unquote(user)}:{unquote(password or '')}"
    return f"Proxy-Authorization: Basic {b64encode(pair.encode()).decode()}\r\n"
