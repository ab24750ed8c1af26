"""`mirror env`: what real shells make of it, and which hosts it tells to close."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import preloaded


def mirror(folder: Path, *line: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """The command as people run it."""
    return preloaded.run(line, cwd=folder, env={**os.environ, **environ})


def in_shell(shell: str, script: str, **environ: str) -> dict[str, str]:
    """The environment after `script` in a real shell that began with nothing but PATH and `environ`."""
    line = f"{script}\n{sys.executable} -c 'import json, os; print(json.dumps(dict(os.environ)))'"
    done = subprocess.run([shell, "-c", line], env={"PATH": os.environ["PATH"], **environ}, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


@pytest.mark.parametrize("shell", ["sh", "bash", "fish"])
def test_a_shell_reads_it(tmp_path: Path, shell: str):
    """Evaluated by a shell, it sets endpoint and index, takes second indexes away and adds to NO_PROXY."""
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    script = mirror(tmp_path, "env", "--url", "http://mirror.corp:8080/", "--shell", "fish" if shell == "fish" else "sh").stdout
    found = in_shell(shell, script, NO_PROXY="intra.corp", PIP_EXTRA_INDEX_URL="https://elsewhere.example/simple")
    assert found["HF_ENDPOINT"] == "http://mirror.corp:8080"
    assert found["PIP_INDEX_URL"] == found["UV_DEFAULT_INDEX"] == "http://mirror.corp:8080/pypi/simple/"
    assert found["PIP_TRUSTED_HOST"] == "mirror.corp:8080"
    assert (found["NO_PROXY"], found["no_proxy"]) == ("intra.corp,mirror.corp", "mirror.corp")
    assert "PIP_EXTRA_INDEX_URL" not in found
    for name in ("DISABLE_SAFETENSORS_CONVERSION", "HF_HUB_DISABLE_UPDATE_CHECK", "HF_HUB_DISABLE_TELEMETRY", "PIP_DISABLE_PIP_VERSION_CHECK"):
        assert found[name] == "1"


def test_values_are_quoted(tmp_path: Path):
    """A path with spaces, quotes and a dollar sign reaches the shell's environment unchanged."""
    odd = "/etc/it's $HOME & co/ca.pem"
    found = in_shell("sh", mirror(tmp_path, "env", "--ca", odd).stdout)
    assert {found[name] for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "PIP_CERT", "GIT_SSL_CAINFO")} == {odd}


def test_loopback_needs_no_trust(tmp_path: Path):
    """On loopback, and with TLS, pip is not told to trust a host."""
    for url in ("http://127.0.0.1:8080", "https://mirror.corp"):
        assert "PIP_TRUSTED_HOST" not in mirror(tmp_path, "env", "--url", url).stdout


def test_every_line_says_why(tmp_path: Path):
    """Above each setting stands one line of comment, in every shell's language."""
    for shell in ("sh", "fish", "powershell"):
        lines = mirror(tmp_path, "env", "--shell", shell).stdout.splitlines()
        settings = [at for at, line in enumerate(lines) if not line.startswith("#")]
        assert len(settings) >= 12
        assert all(lines[at - 1].startswith("# ") for at in settings)


def test_json_and_the_configured_url(tmp_path: Path):
    """The JSON form holds variables and one-time commands; the URL comes from the configuration."""
    (tmp_path / "mirror.yaml").write_text("listen: {public_url: 'https://mirror.corp'}\nhubs: {torch: {dialect: pypi, mount: /torch, upstreams: ['https://x.example']}}\n")
    found = json.loads(mirror(tmp_path, "env", "--json").stdout)
    assert found["url"] == "https://mirror.corp"
    assert found["environment"]["UV_DEFAULT_INDEX"]["value"] == "https://mirror.corp/pypi/simple/"
    assert found["environment"]["UV_INDEX"]["value"] is None
    lines = [row["command"] for row in found["commands"]]
    assert "poetry source add --priority=primary mirror https://mirror.corp/pypi/simple/" in lines
    assert "git config --global --add url.https://mirror.corp/.insteadOf https://huggingface.co/" in lines
    assert any("https://mirror.corp/torch/simple/" in line for line in lines)


def test_git_comes_through_after_its_commands(tmp_path: Path):
    """With the printed git commands run, a real git asks the mirror for the hub's URLs."""
    home = {"HOME": str(tmp_path), "PATH": os.environ["PATH"], "GIT_CONFIG_NOSYSTEM": "1"}
    for row in json.loads(mirror(tmp_path, "env", "--json", "--url", "http://127.0.0.1:9").stdout)["commands"]:
        if row["tool"] == "git":
            subprocess.run(row["command"].split(), env=home, check=True)
    for outside in ("https://huggingface.co/acme/x", "https://hf.co/acme/x"):
        line = ["git", "ls-remote", "--get-url", outside]
        assert subprocess.run(line, env=home, capture_output=True, text=True, check=True).stdout.strip() == "http://127.0.0.1:9/acme/x"


@pytest.mark.parametrize("url", ["mirror.corp", "ftp://mirror.corp", "https://mirror.corp/prefix", "http://x;rm -rf", "http://$(id)/"])
def test_a_url_that_is_none_is_refused(tmp_path: Path, url: str):
    """--url takes an origin only; anything else ends with 2 and prints nothing that a shell could run."""
    done = mirror(tmp_path, "env", "--url", url)
    assert (done.returncode, done.stdout) == (2, "")


def test_the_hosts_to_close(tmp_path: Path):
    """The list names hub, CDN, Xet, PyPI's files and what clients hard-code, and the upstreams configured here."""
    (tmp_path / "mirror.yaml").write_text("hubs: {torch: {dialect: pypi, mount: /torch, upstreams: ['https://wheels.example:8443/whl']}}\n")
    rows = [json.loads(line) for line in mirror(tmp_path, "env", "--firewall", "--json").stdout.splitlines()]
    by_group: dict[str, set[str]] = {}
    for row in rows:
        by_group.setdefault(row["group"], set()).add(row["host"])
    assert "huggingface.co" in by_group["hub"]
    assert "us.aws.cdn.hf.co" in by_group["cdn"]
    assert "cas-server.xethub.hf.co" in by_group["xet"]
    assert "files.pythonhosted.org" in by_group["pypi"]
    assert {"datasets-server.huggingface.co", "safetensors-convert.hf.space"} <= by_group["hard-coded in clients"]
    assert by_group["configured here"] == {"wheels.example"}
    plain = mirror(tmp_path, "env", "--firewall").stdout.splitlines()
    assert {line for line in plain if not line.startswith("#")} == {row["host"] for row in rows}
