"""Servers under measurement: how each is started, where it answers, and how it is stopped."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import urllib.request
from dataclasses import asdict, dataclass, field

import yaml

from bench.contest import content
from bench.contest.house import POLICY, house_list
from bench.contest.machine import ROOT, SERVERS, UPSTREAMS, answers, debian, end, free_port, memory, on_core
from tests.support.clients import CannotPrepare, environment
from tests.support.mirror import clean_environment

PROXPI = (("proxpi==1.3.1", "gunicorn==27.0.1"),)
DEVPI = (("devpi-server==6.20.3", "devpi-client==7.3.0"),)
OLAH = (("olah==0.5.4",),)
DEVPI_INDEX = "root/pypi"


class NotHere(Exception):
    """A server that cannot run on this machine; says why."""


@dataclass
class Running:
    """One server. `base` is where it answers; `pid` is the process whose family counts as it."""

    name: str
    base: str
    pid: int
    close: object = field(repr=False)

    def memory(self):
        """Bytes, PSS, of all its processes."""
        return memory(self.pid)


class Process(Running):
    """A server that is one command."""

    def __init__(self, name, base, command, folder, *, cores=(SERVERS,), probe="/", environ=None):
        folder.mkdir(parents=True, exist_ok=True)
        self.log = folder / f"{name.replace(' ', '-')}.log"
        with on_core(*cores), self.log.open("ab") as log:
            process = subprocess.Popen(
                [str(word) for word in command], stdout=log, stderr=log, cwd=folder, stdin=subprocess.DEVNULL,
                env={**clean_environment(), "HOME": str(folder), "PYTHONPATH": "", **(environ or {})},
            )  # fmt: skip
        super().__init__(name, base, process.pid, lambda: end(process))
        try:
            answers(base + probe, process=process)
        except RuntimeError as error:
            end(process)
            raise NotHere(f"{name} did not start: {error}: {self.log.read_text(errors='replace')[-600:]}") from None


class Origin:
    """The upstreams (`bench.contest.origin`) as a process. `rate` bytes a second a connection, `trip` seconds."""

    def __init__(self, amounts, rate=0, trip=0.0):
        options = json.dumps({"amounts": asdict(amounts), "rate": rate, "trip": trip})
        with on_core(UPSTREAMS):
            self._process = subprocess.Popen(
                [sys.executable, "-m", "bench.contest.origin", options], cwd=ROOT, stdout=subprocess.PIPE, text=True
            )
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the upstreams did not start")
        urls = json.loads(line)
        self.hub, self.near, self.cdn, self.index, self.files = (
            urls[name] for name in ("hub", "near", "cdn", "index", "files")
        )

    @property
    def pid(self):
        """The process."""
        return self._process.pid

    def sent(self):
        """Bytes of large files that have left the content server so far."""
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(
            f"{self.cdn}/sent", timeout=10
        ) as answer:
            return json.load(answer)["sent"]

    def close(self):
        """Stop it."""
        end(self._process)
        self._process.stdout.close()


# --- nginx --------------------------------------------------------------------------------------------------------

_NGINX = """
worker_processes 1;
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/error.log warn;
{user}
events {{ worker_connections 8192; }}
http {{
  access_log {folder}/access.log;
  sendfile on; tcp_nopush on; tcp_nodelay on;
  keepalive_timeout 75; keepalive_requests 100000000;
  default_type application/octet-stream;
  types {{ text/html html; application/json json; }}
  client_body_temp_path {folder}/t1; proxy_temp_path {folder}/t2; fastcgi_temp_path {folder}/t3;
  uwsgi_temp_path {folder}/t4; scgi_temp_path {folder}/t5;
  {cache}
  server {{ listen 127.0.0.1:{port} backlog=1024; {server} }}
}}
"""
_CACHE = "proxy_cache_path {folder}/cache levels=1:2 keys_zone=pages:32m max_size=20g inactive=2h use_temp_path=off;"
_PROXY = """
    proxy_http_version 1.1; proxy_set_header Connection ""; proxy_cache pages; proxy_cache_lock on;
    proxy_cache_use_stale error timeout updating http_500 http_502 http_503 http_504; proxy_cache_valid 200 30m;
    proxy_ignore_headers Cache-Control Expires Set-Cookie Vary;
"""
_REWRITING = """
    location /simple/ {{
      proxy_pass {index}; proxy_set_header Accept-Encoding ""; proxy_cache_key "$uri $http_accept";
      sub_filter '{files}' 'http://127.0.0.1:{port}'; sub_filter_once off;
      sub_filter_types application/vnd.pypi.simple.v1+json application/vnd.pypi.simple.v1+html;
      gzip on; gzip_comp_level 1; gzip_proxied any; gzip_vary on;
      gzip_types application/vnd.pypi.simple.v1+json application/vnd.pypi.simple.v1+html;
    }}
    location /packages/ {{ proxy_pass {files}; proxy_cache_key $uri; }}
"""
_RAW = """
    location /simple/ {{ proxy_pass {index}; proxy_cache_key "$uri $http_accept $http_accept_encoding"; }}
    location /packages/ {{ proxy_pass {files}; proxy_cache_key $uri; }}
"""


def _nginx(name, folder, server, cache=""):
    if not debian("nginx"):
        raise NotHere("there is no nginx, and only root can install Debian's package")
    folder.mkdir(parents=True)
    port = free_port()
    user = "user root;" if os.geteuid() == 0 else ""
    places = {"folder": folder, "port": port}
    text = _NGINX.format(user=user, server=server(port), cache=cache.format(folder=folder), **places)
    (folder / "nginx.conf").write_text(text)
    return Process(
        name,
        f"http://127.0.0.1:{port}",
        ["nginx", "-p", folder, "-e", folder / "error.log", "-c", folder / "nginx.conf"],
        folder,
        probe="/x",
    )


def nginx_rewriting(folder, origin):
    """A caching proxy that turns file URLs to itself, and so compresses anew each time."""
    return _nginx(
        "nginx rewriting",
        folder,
        lambda port: _PROXY + _REWRITING.format(index=origin.index, files=origin.files, port=port),
        _CACHE,
    )


def nginx_raw(folder, origin):
    """A caching proxy that sends what upstream sent: its pages lead clients past it."""
    return _nginx(
        "nginx raw", folder, lambda port: _PROXY + _RAW.format(index=origin.index, files=origin.files), _CACHE
    )


def nginx_static(folder, files):
    """A plain file server. `files`: path to bytes, or to a `Bulk`."""
    root = folder / "root"
    root.mkdir(parents=True)
    for path, data in files.items():
        with (root / path).open("wb") as file:
            if isinstance(data, content.Bulk):
                for piece in data.pieces(0, data.size, 1 << 24):
                    file.write(piece)
            else:
                file.write(data)
    return _nginx("nginx static", folder / "server", lambda port: f"root {root};")


# --- other mirrors ------------------------------------------------------------------------------------------------


def _client(name, installs):
    try:
        return environment(name, installs).parent
    except CannotPrepare as error:
        raise NotHere(" ".join(str(error).split())[-300:]) from None


def proxpi(folder, origin):
    """proxpi under gunicorn: one process, eight threads."""
    found, port = _client("bench-proxpi", PROXPI), free_port()
    environ = {
        "PROXPI_INDEX_URL": f"{origin.index}/simple/", "PROXPI_INDEX_TTL": "7200", "PROXPI_CACHE_DIR": str(folder / "cache"),
        "PROXPI_DOWNLOAD_TIMEOUT": "30", "PROXPI_BINARY_FILE_MIME_TYPE": "1",
    }  # fmt: skip
    (folder / "cache").mkdir(parents=True)
    command = [found / "gunicorn", "--preload", "--bind", f"127.0.0.1:{port}", "--workers", "1", "--threads", "8",
               "--keep-alive", "75", "--no-control-socket", "proxpi.server:app"]  # fmt: skip
    return Process("proxpi", f"http://127.0.0.1:{port}", command, folder, probe="/index/", environ=environ)


def devpi(folder, origin):
    """devpi-server with a mirror index, both switches for core metadata on."""
    found, port = _client("bench-devpi", DEVPI), free_port()
    state, base, environ = folder / "state", f"http://127.0.0.1:{port}", {**clean_environment(), "HOME": str(folder)}
    folder.mkdir(parents=True)

    def do(*words):
        done = subprocess.run(
            [str(word) for word in words], capture_output=True, text=True, cwd=folder, env=environ, check=False
        )
        if done.returncode:
            raise NotHere(f"devpi: {words[0].name} {words[1]} failed: {(done.stdout + done.stderr)[-400:]}")

    do(found / "devpi-init", "--serverdir", state, "--no-root-pypi", "--root-passwd", "x")
    command = [
        found / "devpi-server",
        "--serverdir",
        state,
        "--host",
        "127.0.0.1",
        "--port",
        port,
        "--threads",
        16,
        "--enable-core-metadata",
    ]
    server = Process("devpi", base, command, folder, probe="/+api")
    own = ("--clientdir", folder / "client")
    try:
        do(found / "devpi", "use", *own, base)
        do(found / "devpi", "login", *own, "root", "--password", "x")
        do(found / "devpi", "index", *own, "-c", DEVPI_INDEX, "type=mirror", f"mirror_url={origin.index}/simple/", "mirror_cache_expiry=7200",
           "mirror_provides_core_metadata=true", "volatile=False")  # fmt: skip
    except NotHere:
        server.close()
        raise
    return server


def olah(folder, origin):
    """olah: one process."""
    found, port = _client("bench-olah", OLAH), free_port()
    hub, cdn, here = (url.removeprefix("http://") for url in (origin.hub, origin.cdn, f"http://127.0.0.1:{port}"))
    rules = "".join(f'[[accessibility.proxy]]\nrepo = "{repo}"\nallow = true\n' for repo in ("*", "*/*"))
    folder.mkdir(parents=True)
    (folder / "olah.toml").write_text(
        f'[basic]\nhost = "127.0.0.1"\nport = {port}\nrepos-path = "{folder}/repos"\nhf-scheme = "http"\nhf-netloc = "{hub}"\n'
        f'hf-lfs-netloc = "{cdn}"\nmirror-scheme = "http"\nmirror-netloc = "{here}"\nmirror-lfs-netloc = "{here}"\n'
        f"[accessibility]\noffline = false\n{rules}"
    )
    return Process(
        "olah", f"http://127.0.0.1:{port}", [found / "olah-cli", "-c", folder / "olah.toml"], folder, probe="/docs"
    )


def versions():
    """What is measured against, by version, as far as it is installed."""
    found = [wanted for installs in (PROXPI, DEVPI, OLAH) for row in installs for wanted in row]
    for command, words in (("nginx", ["-v"]), ("wrk", ["-v"])):
        if shutil.which(command):
            said = subprocess.run([command, *words], capture_output=True, text=True, check=False)
            found += re.findall(r"nginx/[\d.]+|wrk [\w/.+-]+", said.stderr + said.stdout)[:1]
    return found


# --- this mirror --------------------------------------------------------------------------------------------------


#: What is measured is the tree that these measurements lie in, whatever is installed.
OWN = {"PYTHONPATH": str(ROOT)}


def ours(folder, origin, *, cores=(SERVERS,), **changes):
    """This mirror with a policy of twenty rules, its ledger, and its log in a file. `changes` go into its configuration."""
    command = prepared(folder, origin, **changes)
    base = f"http://127.0.0.1:{_port(folder)}"
    return Process("this mirror", base, command, folder, cores=cores, probe="/-/health/ready", environ=OWN)


def prepared(folder, origin, **changes):
    """The command that starts this mirror in `folder`, once its configuration, policy and list are written there."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "house.csv").write_text(house_list())
    (folder / "policy.yaml").write_text(POLICY)
    hubs = {
        "huggingface": {"upstreams": [origin.hub], "origins": [origin.hub, origin.near, origin.cdn]},
        "pypi": {"upstreams": [origin.index], "origins": [origin.files]},
    }
    for name, row in changes.pop("hubs", {}).items():
        hubs[name] |= row
    config = {
        "data": "data", "policy": {"path": "policy.yaml"}, "hubs": hubs,
        "listen": {"host": "127.0.0.1", "port": free_port(), **changes.pop("listen", {})},
        "lists": {"house": {"loader": "csv", "source": "house.csv", "meaning": "blocked-party"}},
        "clients": {"groups": {"engineering": {"subnets": ["127.0.0.0/8"], "country": "GB"}}},
        "ledger": {"reserve": "1MiB"}, "store": {"min_free": "1MiB"}, "log": {"level": "info", "format": "json"}, **changes,
    }  # fmt: skip
    (folder / "mirror.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    return [sys.executable, "-m", "mirror.cli.main", "-c", folder / "mirror.yaml", "serve"]


def _port(folder):
    return yaml.safe_load((folder / "mirror.yaml").read_text())["listen"]["port"]
