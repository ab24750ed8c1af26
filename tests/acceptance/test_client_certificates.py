"""Clients known by their certificates (mTLS), and by where their address is."""

from __future__ import annotations

import http.client
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.support.mirror import MirrorProcess, running_mirror
from tests.support.mmdb import database
from tests.support.standin import StandInHub

pytestmark = pytest.mark.acceptance

POLICY = """version: 1
rules:
  - {id: build-only, when: {file: ["*.bin"]}, for: {not_groups: [build]}, effect: deny}
  - {id: not-there, when: {file: ["model.safetensors"], client.country: [CN]}, effect: deny, legal: true, basis: "house policy 2"}
"""
FILE = "/acme/tiny-bert/resolve/main/pytorch_model.bin"
WEIGHTS = "/acme/tiny-bert/resolve/main/model.safetensors"


@dataclass(frozen=True)
class Issuer:
    """An authority in a folder, and what it issues: `NAME.pem` with certificate and key."""

    folder: Path
    key: ec.EllipticCurvePrivateKey
    name: x509.Name

    def issue(self, file: str, *, common: str, organisation: str = "", dns: str = "") -> tuple[Path, str]:
        key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
        subject = [x509.NameAttribute(NameOID.COMMON_NAME, common)] + ([x509.NameAttribute(NameOID.ORGANIZATION_NAME, organisation)] if organisation else [])
        made = (
            x509.CertificateBuilder().subject_name(x509.Name(subject)).issuer_name(self.name).public_key(key.public_key())
            .serial_number(x509.random_serial_number()).not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=2))
        )  # fmt: skip
        made = made.add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False)
        if dns:
            made = made.add_extension(x509.SubjectAlternativeName([x509.DNSName(dns)]), critical=False)
        signed = made.sign(self.key, hashes.SHA256())
        private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        path = self.folder / f"{file}.pem"
        path.write_bytes(signed.public_bytes(serialization.Encoding.PEM) + private)
        return path, signed.fingerprint(hashes.SHA256()).hex(":")


def issuer(folder: Path, name: str) -> Issuer:
    folder.mkdir()
    key, now, called = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    made = (
        x509.CertificateBuilder().subject_name(called).issuer_name(called).public_key(key.public_key()).serial_number(1)
        .not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=2))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )  # fmt: skip
    (folder / "ca.pem").write_bytes(made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    return Issuer(folder, key, called)


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Issuer:
    return issuer(tmp_path_factory.mktemp("x") / "ours", "Acme clients")


@pytest.fixture(scope="module")
def builder(ours: Issuer) -> tuple[Path, str]:
    return ours.issue("builder", common="runner 7", organisation="Acme, Inc", dns="ci.acme.example")


@pytest.fixture(scope="module")
def mirror(hub: StandInHub, ours: Issuer, builder: tuple[Path, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[MirrorProcess]:
    server, _ = ours.issue("server", common="localhost", dns="localhost")
    (tmp := tmp_path_factory.mktemp("tls")).joinpath("countries.mmdb").write_bytes(database({"203.0.113.0/24": {"country": {"iso_code": "CN"}}, "198.51.100.0/24": {"country": {"iso_code": "GB"}}}))
    tls = {"cert": str(server), "key": str(server), "client_ca": str(ours.folder / "ca.pem")}
    groups = {"build": {"certificates": ["dns:CI.acme.example"]}, "named": {"certificates": [r"subject:CN=runner 7,O=Acme\, Inc"]}, "exact": {"certificates": [f"sha256:{builder[1]}"]}, "proxied": {"header": ["p"]}}
    clients = {"groups": groups, "anonymous": "deny", "geoip": str(tmp / "countries.mmdb"), "header": "X-Groups"}
    with running_mirror(tmp / "m", hub, policy=POLICY, listen={"tls": tls, "trusted_proxies": ["127.0.0.5/32"]}, clients=clients) as running:
        yield running


def asked(mirror: MirrorProcess, ours: Issuer, certificate: Path | None, target: str = FILE, source: str = "127.0.0.1", **headers: str) -> int:
    context = ssl.create_default_context(cafile=str(ours.folder / "ca.pem"))
    if certificate is not None:
        context.load_cert_chain(certificate)
    connection = http.client.HTTPSConnection("localhost", mirror.port, timeout=30, context=context, source_address=(source, 0))
    try:
        connection.request("GET", target, headers={name.replace("_", "-"): value for name, value in headers.items()})
        answer = connection.getresponse()
        answer.read()
        return answer.status
    finally:
        connection.close()


def test_a_certificate_puts_into_groups(mirror: MirrorProcess, ours: Issuer, builder: tuple[Path, str]) -> None:
    """By name, by subject and by fingerprint a certificate puts its holder into groups; another one of the same authority does not, nor does none."""
    other, _ = ours.issue("other", common="runner 7", organisation="Acme", dns="ci.acme.example.evil")
    # The same request from the same address, in turns: an answer that is given again must not be given to the other one.
    assert [asked(mirror, ours, who) for who in (builder[0], other, None, builder[0], other, None, builder[0])] == [200, 401, 401, 200, 401, 401, 200]
    allowed = [event for event in mirror.events() if event["kind"] == "allowed"]
    assert {tuple(event["actor"]["groups"]) for event in allowed} == {("build", "named", "exact")}
    assert {event["actor"]["name"][:2] for event in allowed} == {"c:"}


@pytest.mark.parametrize("name", ["X-SSL-Client-S-DN", "X-Client-Cert", "X-Forwarded-Client-Cert", "Ssl-Client-Cert", "X-SSL-Client-Verify", "Client-Cert"])
def test_a_header_is_no_certificate(mirror: MirrorProcess, ours: Issuer, builder: tuple[Path, str], name: str) -> None:
    """Whoever tells of a certificate in a header has shown none."""
    text = f"CN=runner 7,O=Acme\\, Inc;DNS=ci.acme.example;Hash={builder[1].replace(':', '')};SUCCESS"
    assert asked(mirror, ours, None, **{name.replace("-", "_"): text}) == 401


def test_a_stranger_does_not_get_in(mirror: MirrorProcess, ours: Issuer, tmp_path: Path) -> None:
    """A certificate of another authority with the right names ends the handshake."""
    forged, _ = issuer(tmp_path / "theirs", "Acme clients").issue("forged", common="runner 7", organisation="Acme, Inc", dns="ci.acme.example")
    with pytest.raises((ssl.SSLError, ConnectionError, http.client.RemoteDisconnected)):
        asked(mirror, ours, forged)


def test_a_proxys_certificate_is_its_own(mirror: MirrorProcess, ours: Issuer, builder: tuple[Path, str]) -> None:
    """Clients behind a trusted proxy are not what the proxy's certificate says; the group that it names for them counts."""
    assert asked(mirror, ours, builder[0], source="127.0.0.5", X_Forwarded_For="198.51.100.1") == 401
    assert asked(mirror, ours, builder[0], "/acme/tiny-bert/resolve/main/config.json", source="127.0.0.5", X_Forwarded_For="198.51.100.1", X_Groups="p") == 200
    assert asked(mirror, ours, builder[0], source="127.0.0.5", X_Forwarded_For="198.51.100.1", X_Groups="p") == 403
    assert asked(mirror, ours, None, X_Forwarded_For="198.51.100.1", X_Groups="p") == 401, "not from the proxy"


def test_a_country_by_address(mirror: MirrorProcess, ours: Issuer) -> None:
    """Rules on the client's country go by the address that the nearest untrusted hop has, as the database knows it; the record says how it is known."""
    through = {"source": "127.0.0.5", "X_Groups": "p"}
    statuses = [asked(mirror, ours, None, WEIGHTS, **through, X_Forwarded_For=hops) for hops in ("198.51.100.9", "203.0.113.9", "198.51.100.9, 203.0.113.9", "203.0.113.9, 198.51.100.9", "192.0.2.1")]
    assert statuses == [200, 451, 451, 200, 451], "the last is nowhere in the database: on_unknown.client_country is deny"
    found = {(event["actor"]["country"], event["actor"]["country_source"]) for event in mirror.events() if event["kind"] in ("allowed", "refused") and WEIGHTS.rpartition("/")[2] in str(event)}
    assert found == {("GB", "geoip"), ("CN", "geoip"), (None, "")}
