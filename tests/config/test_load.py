"""The configuration file, the environment over it, and every fault at once."""

from __future__ import annotations

import datetime as dt
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import jsonschema
import pytest
import yaml

from mirror import config
from mirror.core.errors import InputError


def load(folder: Path, text: str = "", **environ: str) -> config.Config:
    """What `text` as mirror.yaml in `folder` gives."""
    (folder / "mirror.yaml").write_text(text, encoding="utf-8")
    return config.load(None, environ, cwd=folder)


def faults(folder: Path, text: str = "", **environ: str) -> list[str]:
    """Every problem of `text`, as printed, with the folder left out."""
    with pytest.raises(InputError) as caught:
        load(folder, text, **environ)
    return [str(problem).replace(f"{folder}/", "") for problem in caught.value.problems]


def test_nothing_at_all_is_a_configuration(tmp_path: Path):
    """Without any file the defaults serve both hubs on loopback, and nothing is created by looking."""
    found = config.load(None, {}, cwd=tmp_path)
    assert (found.listen.host, found.listen.port, found.network) == ("127.0.0.1", 8080, "online")
    assert found.policy.path is not None
    assert found.policy.path.parts[-3:] == ("profiles", "observe", "policy.yaml")
    assert {name: (row.dialect, row.mount, row.upstreams) for name, row in found.hubs.items()} == {
        "huggingface": ("huggingface", "", ("https://huggingface.co",)),
        "pypi": ("pypi", "/pypi", ("https://pypi.org",)),
    }
    assert found.hubs["huggingface"].origins == ("*.huggingface.co", "*.hf.co", "*.xethub.hf.co")
    assert found.data == tmp_path / "var/mirror"
    assert not list(tmp_path.iterdir())


def test_the_search_order(tmp_path: Path):
    """--config comes before $MIRROR_CONFIG, that before ./mirror.yaml."""
    for port, name in ((1001, "mirror.yaml"), (1002, "named.yaml"), (1003, "given.yaml")):
        (tmp_path / name).write_text(f"listen: {{port: {port}}}\n")
    environ = {"MIRROR_CONFIG": str(tmp_path / "named.yaml")}
    assert config.load(None, {}, cwd=tmp_path).listen.port == 1001
    assert config.load(None, environ, cwd=tmp_path).listen.port == 1002
    assert config.load(Path("given.yaml"), environ, cwd=tmp_path).listen.port == 1003


def test_a_named_file_that_is_not_there_is_an_error(tmp_path: Path):
    """A configuration that somebody named and that is missing never falls back to the defaults."""
    with pytest.raises(InputError, match=r"nowhere\.yaml"):
        config.load(Path("nowhere.yaml"), {}, cwd=tmp_path)


def test_all_faults_at_once_with_file_and_key(tmp_path: Path):
    """Unknown keys, wrong types, bad sizes, durations, countries and networks come out together, each with its place."""
    found = faults(
        tmp_path,
        """
listen: {prot: 1, port: 99999, trusted_proxies: [10.0.0.0/99]}
store: {quota: many, min_free: 5}
network: sometimes
lineage: {patience: 5}
hubs: {pypi: {mont: /x}}
clients: {groups: {far: {country: XX}}}
""",
    )
    assert len(found) == 8
    expected = [
        "mirror.yaml: listen.prot: unknown key 'prot'; did you mean 'port'?",
        "mirror.yaml: listen.port: expected a port (0 to 65535), found 99999",
        "mirror.yaml: store.quota: expected a size such as 500GiB, found 'many'",
        "mirror.yaml: lineage.patience: expected a duration such as 8s, 5m or 24h, found 5",
    ]
    assert set(expected) <= set(found)
    for place in ("listen.trusted_proxies[0]", "network", "hubs.pypi.mont", "clients.groups.far.country"):
        assert any(f"mirror.yaml: {place}: " in line for line in found), place


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("listen: {port: 1}\nlisten: {port: 2}\n", "mirror.yaml: line 2: duplicate key 'listen'"),
        ("listen: [", "mirror.yaml: line 2: not YAML"),
        ("- listen\n", "mirror.yaml: expected a mapping of sections"),
        ("file: x\n", "mirror.yaml: file: unknown key 'file'"),
        ("listen: {port: true}\n", "mirror.yaml: listen.port: expected a port"),
        ("listen: {workers: true}\n", "mirror.yaml: listen.workers: expected a whole number"),
        ("listen: {public_url: 'https://m.corp/prefix'}\n", "mirror.yaml: listen.public_url: must be an origin without a path"),
        ("listen: {public_url: 'https://u:p@m.corp'}\n", "mirror.yaml: listen.public_url: must be an http(s) URL without credentials"),
        ("listen: {tls: {cert: no.pem}}\n", "mirror.yaml: listen.tls: cert and key go together"),
        ("listen: {tls: {cert: no.pem, key: no.key}}\n", "mirror.yaml: listen.tls.cert: "),
        ("listen: {trusted_proxies: [0.0.0.0/0]}\n", "mirror.yaml: listen.trusted_proxies[0]: 0.0.0.0/0 would let"),
        ("listen: {admin: 9090}\n", "mirror.yaml: listen.admin: expected"),
        ("listen: {admin: '127.0.0.1:8080'}\n", "mirror.yaml: listen.admin: has the port of listen.port"),
        ("outbound: {ca: no.pem}\n", "mirror.yaml: outbound.ca: "),
        ("policy: {path: no.yaml}\n", "mirror.yaml: policy.path: there is no file or folder"),
        ("catalogue: [builtin, no]\n", "mirror.yaml: catalogue[1]: there is no file or folder"),
        ("lists: {a: {loader: csv, source: no.csv}}\n", "mirror.yaml: lists.a.source: "),
        ("lists: {a: {loader: telepathy, source: mirror.yaml}}\n", "mirror.yaml: lists.a.loader: unknown loader 'telepathy'"),
        ("clients: {groups: {a: {certificates: ['dns:ci.acme.example']}}}\n", "mirror.yaml: clients.groups.a.certificates: listen.tls.client_ca names no authority"),
        ("clients: {groups: {a: {certificates: [acme]}}}\n", "mirror.yaml: clients.groups.a.certificates[0]: expected sha256:…, dns:…"),
        ("listen: {tls: {client_ca: ca.pem}}\n", "mirror.yaml: listen.tls.client_ca: clients show certificates under TLS only"),
        ("hubs: {pypi: {country: DE}}\n", "mirror.yaml: hubs.pypi.country: is read by the huggingface dialect only"),
        ("hubs: {a: {dialect: huggingface, port: 8080, upstreams: ['https://x.example']}}\n", "mirror.yaml: hubs.a.port: 8080 is already the port of 'listen'"),
        ("clients: {groups: {a: {header: [x]}}}\n", "mirror.yaml: clients.groups.a.header: "),
        ("hubs: {pypi: {transfers: {parallel: 17}}}\n", "mirror.yaml: hubs.pypi.transfers.parallel: expected 1 to 16, found 17"),
        ("hubs: {pypi: {transfers: {part: 64KiB}}}\n", "mirror.yaml: hubs.pypi.transfers.part: expected at least 1MiB"),
        ("clients: {groups: {a: {subnets: [10.0.0.0/8]}, b: {subnets: [10.0.0.0/8]}}}\n", "already belongs to the group 'a'"),
        ("hubs: {torch: {dialect: pypi, mount: /pypi, upstreams: ['https://x.example']}}\n", "is already the mount of"),
        ("hubs: {torch: {dialect: pypi, upstreams: ['https://x.example']}}\n", "/ belongs to Hugging Face"),
        ("hubs: {torch: {dialect: pypi, mount: /simple, upstreams: ['https://x.example']}}\n", "is reserved"),
        ("hubs: {torch: {mount: /torch}}\n", "mirror.yaml: hubs.torch.dialect: is required"),
        ("hubs: {torch: {dialect: pypi, mount: /torch}}\n", "mirror.yaml: hubs.torch.upstreams: names no upstream"),
        ("hubs: {a: {dialect: huggingface, hosts: [h.corp], upstreams: ['https://x.example']}, b: {dialect: huggingface, hosts: [H.corp], upstreams: ['https://x.example']}}\n", "already belongs to 'a'"),
        ("hubs: {huggingface: {index: /x/}}\n", "mirror.yaml: hubs.huggingface.index: is read by the pypi dialect only"),
        ("hubs: {pypi: {gone: serve}}\n", "mirror.yaml: hubs.pypi.gone: is read by the huggingface dialect only"),
        ("hubs: {pypi: {git: permit}}\n", "mirror.yaml: hubs.pypi.git: is read by the huggingface dialect only"),
        ("hubs: {pypi: {datasets_server: 'https://a.b'}}\n", "mirror.yaml: hubs.pypi.datasets_server: is read by the huggingface dialect only"),
        ("hubs: {huggingface: {datasets_server: 'https://a.b/c'}}\n", "mirror.yaml: hubs.huggingface.datasets_server: must be an origin without a path, found 'https://a.b/c'"),
        ("hubs: {huggingface: {datasets_server: nowhere}}\n", "mirror.yaml: hubs.huggingface.datasets_server: must be an http(s) URL without credentials or query, found 'nowhere'"),
        ("hubs: {huggingface: {credentials: service}}\n", "'service' needs hubs.huggingface.token"),
        ("hubs: {huggingface: {origins: ['not a host']}}\n", "mirror.yaml: hubs.huggingface.origins[0]: "),
        ("hubs: {huggingface: {upstreams: ['ftp://x.example']}}\n", "mirror.yaml: hubs.huggingface.upstreams[0]: "),
        ("hubs: {huggingface: {token: ''}}\n", "mirror.yaml: hubs.huggingface.token: must be a text that is not empty"),
        ("data: 5\n", "mirror.yaml: data: expected a path"),
        ("lineage: {patience: 99999999w}\n", "mirror.yaml: lineage.patience: longer than a century"),
        ("database: mysql://x\n", "mirror.yaml: database: expected postgresql://"),
        ("ledger: {reserve: -1}\n", "mirror.yaml: ledger.reserve: expected a size"),
    ],
)  # fmt: skip
def test_one_clear_line_for_each_mistake(tmp_path: Path, text: str, line: str):
    """Each mistake is reported with the file, the key and what would be right."""
    found = faults(tmp_path, text)
    assert any(line in one for one in found), found


def test_a_certificate_and_a_foreign_key_are_found_out(tmp_path: Path):
    """A certificate whose key is another's is refused when the configuration is read, not at the first handshake."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "mirror.example")])
    keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(2)]
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(keys[0].public_key())
    start = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    certificate = builder.serial_number(1).not_valid_before(start).not_valid_after(start + timedelta(days=9999)).sign(keys[0], hashes.SHA256())
    (tmp_path / "cert.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    for number, key in enumerate(keys):
        pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        (tmp_path / f"key{number}.pem").write_bytes(pem)
    assert load(tmp_path, "listen: {tls: {cert: cert.pem, key: key0.pem}}").listen.tls.cert == tmp_path / "cert.pem"
    assert "no certificate and key that belong together" in faults(tmp_path, "listen: {tls: {cert: cert.pem, key: key1.pem}}")[0]


def test_one_key_of_a_default_hub_leaves_the_others(tmp_path: Path):
    """Setting one key of a default hub keeps its other defaults and the other hub; null takes a hub away."""
    found = load(tmp_path, "hubs: {pypi: {denied_project: page}}")
    assert found.hubs["pypi"].denied_project == "page"
    assert found.hubs["pypi"].upstreams == ("https://pypi.org",)
    assert set(found.hubs) == {"huggingface", "pypi"}
    assert set(load(tmp_path, "hubs: {pypi: null}").hubs) == {"huggingface"}


def test_the_dataset_viewer_is_the_public_hubs_alone(tmp_path: Path):
    """`auto` is the public viewer for the public hub and none for any other; null is none, and a URL is taken as it is."""
    other = "upstreams: ['https://hub.corp']"
    for text, wanted in (
        ("", "https://datasets-server.huggingface.co"), (other, None), ("datasets_server: null", None), (f"{other}, datasets_server: 'https://v.corp/'", "https://v.corp"),
    ):  # fmt: skip
        assert load(tmp_path, f"hubs: {{huggingface: {{{text}}}}}\n").hubs["huggingface"].datasets_server == wanted


def test_an_empty_section_is_its_defaults(tmp_path: Path):
    """A section of which every key is commented out is not an error."""
    assert load(tmp_path, "listen:\n  # port: 1\nstore:\n").listen.port == 8080


def test_the_environment_overrides_the_file(tmp_path: Path):
    """`MIRROR_SECTION__KEY` wins over the file, is YAML, is case-folded, and may itself refer to a file."""
    (tmp_path / "secret").write_text("hunter22\n")
    found = load(
        tmp_path,
        "listen: {port: 1, host: 127.0.0.2}\nclients: {groups: {my-team: {country: GB}}}",
        MIRROR_LISTEN__PORT="2",
        mirror_network="offline",
        MIRROR_HUBS__PYPI__UPSTREAMS='["https://one.example", "https://two.example"]',
        MIRROR_HUBS__HUGGINGFACE__TOKEN=f"${{file:{tmp_path / 'secret'}}}",
        MIRROR_CLIENTS__GROUPS__MY_TEAM__ENTITY="Acme",
        MIRROR_SERVICE_HOST="10.0.0.1",
        MIRROR_PORT_8080_TCP_ADDR="10.0.0.1",
    )
    assert (found.listen.port, found.listen.host, found.network) == (2, "127.0.0.2", "offline")
    assert found.hubs["pypi"].upstreams == ("https://one.example", "https://two.example")
    assert found.hubs["pypi"].mount == "/pypi"
    assert found.hubs["huggingface"].token.reveal() == "hunter22"
    assert found.clients.groups["my-team"].entity == "Acme"
    assert found.clients.groups["my-team"].country == "GB"


def test_a_wrong_variable_is_named(tmp_path: Path):
    """An unknown section, an unknown key and a bad value in the environment are errors that name the variable."""
    found = faults(tmp_path, "", MIRROR_LISTN__PORT="1", MIRROR_LISTEN__PROT="1", MIRROR_LISTEN__PORT="x", MIRROR_STORE__QUOTA="[")
    for name in ("MIRROR_LISTN__PORT", "MIRROR_LISTEN__PROT", "MIRROR_LISTEN__PORT", "MIRROR_STORE__QUOTA"):
        assert any(line.startswith(f"{name}: ") for line in found), (name, found)


def test_expansion_and_its_failure(tmp_path: Path):
    """`${NAME}` and `${file:…}` expand anywhere in a text; what is missing is an error with its place, not a blank."""
    (tmp_path / "port").write_text("8123\n")
    found = load(tmp_path, f'listen: {{host: "127.0.0.${{LAST}}", port: "${{file:{tmp_path}/port}}"}}', LAST="7")
    assert (found.listen.host, found.listen.port) == ("127.0.0.7", 8123)
    lines = faults(tmp_path, 'hubs: {huggingface: {token: "${file:/nowhere/token}", hosts: ["${NOBODY}"]}}')
    assert "mirror.yaml: hubs.huggingface.token: the file '/nowhere/token' cannot be read" in lines
    assert "mirror.yaml: hubs.huggingface.hosts[0]: the environment has no variable 'NOBODY'" in lines


def test_secrets_are_shown_nowhere(tmp_path: Path):
    """Neither `repr`, nor the shown configuration, nor an error message holds a token, a password or a proxy's."""
    found = load(
        tmp_path,
        "hubs: {huggingface: {token: tok-secret}}\ndatabase: postgresql://u:db-secret@h/x\noutbound: {proxy: 'http://u:px-secret@p.example:3128'}",
    )
    assert "-secret" not in repr(config.effective(found))
    assert "tok-secret" not in repr(found)
    assert "db-secret" not in repr(found)
    assert not any("sec-ret" in line for line in faults(tmp_path, "hubs: {huggingface: {token: [sec-ret]}}\nlisten: {public_url: 'http://u:sec-ret@h'}"))


def test_paths_are_relative_to_the_file(tmp_path: Path):
    """Relative paths start at the folder of the configuration file, wherever the command is run."""
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "rules").mkdir()
    (tmp_path / "etc" / "m.yaml").write_text("data: ../data\npolicy: {path: rules}\ncatalogue: [builtin, ./rules]\n")
    found = config.load(Path("etc/m.yaml"), {}, cwd=tmp_path)
    assert found.data.resolve() == tmp_path / "data"
    assert found.policy.path == tmp_path / "etc" / "rules"
    assert Path(found.catalogue[1]) == tmp_path / "etc" / "rules"


def test_a_policy_file_beside_the_configuration_is_never_overlooked(tmp_path: Path):
    """`policy.yaml` beside the configuration is in force without being named, and null switches it off."""
    (tmp_path / "policy.yaml").write_text("version: 1\n")
    assert load(tmp_path, "listen: {port: 1}").policy.path == tmp_path / "policy.yaml"
    assert load(tmp_path, "policy: {contact: x}").policy.path == tmp_path / "policy.yaml"
    assert load(tmp_path, "policy: {path: null}").policy.path is None


def test_sizes_and_durations(tmp_path: Path):
    """Binary and decimal units differ; a bare number is bytes; durations take one unit."""
    found = load(tmp_path, "store: {quota: 1.5GiB, min_free: 2GB}\nledger: {reserve: 7}\nlineage: {patience: 250ms}")
    assert (found.store.quota, found.store.min_free, found.ledger.reserve) == (3 * 2**29, 2_000_000_000, 7)
    assert found.lineage.patience == timedelta(milliseconds=250)


def test_the_shown_configuration_can_be_read_again(tmp_path: Path):
    """`config show` of a configuration without secrets is itself a configuration with the same meaning."""
    first = load(tmp_path, "clients: {groups: {a: {subnets: [10.0.0.0/8], country: NO}}}")
    shown = config.effective(first)
    for row in shown["hubs"].values():
        row["mount"] = row["mount"] or "/"
        if row["dialect"] == "huggingface":
            row.pop("origins")
    again = load(tmp_path, yaml.safe_dump(shown))
    assert config.effective(again) == config.effective(first)
    assert first.clients.groups["a"].country == "NO"


def test_the_schema_accepts_what_the_loader_accepts(tmp_path: Path):
    """The printed JSON Schema is a valid one, accepts the shipped file and refuses an unknown key."""
    schema = config.schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    shipped = Path(config.__file__).parents[1] / "config" / "mirror.yaml"
    jsonschema.validate(yaml.safe_load(shipped.read_text()), schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"listen": {"prot": 1}}, schema)


def test_the_shipped_file_states_every_key_with_its_default(tmp_path: Path):
    """`config/mirror.yaml` names each key of each section, and loading it changes nothing."""
    shipped = Path(config.__file__).parents[1] / "config" / "mirror.yaml"
    text = shipped.read_text(encoding="utf-8")
    (tmp_path / "policy.yaml").write_text("version: 1\n")
    written = yaml.safe_load(text)
    effective = config.effective(config.load(None, {}, cwd=tmp_path))
    assert set(written) == set(effective)
    for section, values in effective.items():
        if isinstance(values, dict) and section not in ("hubs", "lists"):
            assert set(written[section]) == set(values), section
    for name, row in written["hubs"].items():
        expected = set(effective["hubs"][name]) - ({"gone", "git", "datasets_server", "large_files", "large_from", "large_serving", "country"} if row["dialect"] == "pypi" else {"index", "private", "denied_project", "osv"})
        assert set(row) == expected, name
    assert config.effective(load(tmp_path, text)) == effective


def test_an_unusable_file_starts_nothing(tmp_path: Path):
    """`mirror config check` and `mirror serve` end with 2, one line a problem on standard error, and create nothing."""
    (tmp_path / "mirror.yaml").write_text("listen: {prot: 1}\nnetwork: maybe\n")
    for command in (["config", "check"], ["serve"]):
        run = subprocess.run([sys.executable, "-m", "mirror.cli.main", *command], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert run.returncode == 2
        assert len(run.stderr.splitlines()) == 2
        assert not run.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["mirror.yaml"]
