"""The addresses that the server listens on, and the certificate that it shows there."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterable
from pathlib import Path

from mirror.core.errors import InputError, Problem


def demand(addresses: Iterable[tuple[str, int]]) -> None:
    """See that all of (host, port) can be listened on; port 0 is any. Raises `InputError` with every one that cannot.

    To be asked before anything is created on disk for a server that will not be.
    """
    problems = []
    for host, port in addresses:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            with socket.socket(family, socket.SOCK_STREAM) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the server's own socket will have it
                probe.bind((host, port))
        except OSError as error:
            problems.append(Problem("listen", "", f"cannot listen on {host}:{port}: {error.strerror}"))
    if problems:
        raise InputError(problems)


def tls(cert: Path | None, key: Path | None, client_ca: Path | None = None) -> ssl.SSLContext | None:
    """The server's side of TLS 1.2 and later, from PEM files; None without them. Raises `InputError`.

    With `client_ca` clients may show a certificate of one of its authorities; another one ends the handshake.
    """
    if cert is None or key is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(cert, key)
    except (OSError, ssl.SSLError) as error:
        raise InputError([Problem("listen.tls", "", f"cannot load certificate and key: {error}")]) from error
    if client_ca is not None:
        try:
            context.load_verify_locations(client_ca)
        except (OSError, ssl.SSLError) as error:
            raise InputError([Problem("listen.tls.client_ca", "", f"cannot load the authorities: {error}")]) from error
        context.verify_mode = ssl.CERT_OPTIONAL  # there are tokens too; who must show something, `clients` says
    context.set_alpn_protocols(["http/1.1"])
    return context
