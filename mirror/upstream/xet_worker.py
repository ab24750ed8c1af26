"""One file, or a part of one, out of the hub's Xet store: a process that streams it in order to its standard output.

Started by `mirror.upstream.xet`, one process for each transfer, because hf_xet is another's native code that grows and
can hang or crash: here it has a limit on its memory, a gate before the network (`xet_gate`), and can be killed.

Standard input: one line of JSON (`Job`), so that a token is in no argument and no environment; then it stays open. Its
end means that whoever asked is gone. Standard output: the bytes. The last line of standard error, where the exit code
is not 0: `{"fault": …}`, with `"host"` where the gate refused one.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import re
import resource
import signal
import ssl
import sys
import threading
from dataclasses import dataclass, field
from typing import Final

from mirror.core.errors import HostNotAllowed
from mirror.upstream.destinations import Destinations
from mirror.upstream.xet_gate import Gate

#: What may be read ahead, in bytes: by default hf_xet fetches 2 GB before a reader who waits has taken the first.
_AHEAD: Final = 64_000_000
_LIMIT: Final = 256_000_000
_PIECE: Final = 1024 * 1024
_SECRET: Final = re.compile(r"[?][^\s\"')]*")
_DEATH: Final = 1  # PR_SET_PDEATHSIG (prctl(2))


@dataclass(frozen=True, slots=True)
class Job:
    """What to fetch: bytes `[start, stop)` of the file `hash` of `size` bytes. `memory` is the limit in bytes, `expires` Unix seconds.

    `upstreams` and `origins` are where it may go, `proxy` and `ca` how, as for `HttpUpstream`.
    """

    endpoint: str
    token: str = field(repr=False)
    expires: int
    hash: str
    size: int
    start: int
    stop: int
    memory: int
    agent: str
    upstreams: tuple[str, ...]
    origins: tuple[str, ...]
    proxy: str | None = field(default=None, repr=False)
    ca: str | None = None


def main() -> int:
    """Fetch what standard input says."""
    parent = os.getppid()
    with contextlib.suppress(OSError, AttributeError):  # where there is no prctl, the end of standard input must do
        ctypes.CDLL(None, use_errno=True).prctl(_DEATH, signal.SIGKILL, 0, 0, 0)
    line = sys.stdin.buffer.readline()
    if not line or os.getppid() != parent:
        return 1
    job = Job(**json.loads(line))
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    _bounded(job)
    try:
        _stream(job)
    except BrokenPipeError:
        return 1  # whoever asked has enough
    except BaseException as error:  # whatever it is, the other side must be told in one line
        text = _SECRET.sub("?…", str(error).replace(job.token, "…"))
        _say({"fault": f"{type(error).__name__}: {text}"[:1000]})
        return 2
    return 0


def _say(what: dict[str, str]) -> None:
    sys.stderr.write(json.dumps(what) + "\n")
    sys.stderr.flush()


def _refused(error: HostNotAllowed) -> None:
    """It would only be tried again, at the same host."""
    _say({"fault": error.fault, "host": error.upstream})
    os._exit(3)


def _leave_with_parent() -> None:
    while sys.stdin.buffer.read(4096):
        pass
    os._exit(1)


def _bounded(job: Job) -> None:
    """Limits of this process, and the environment that hf_xet reads when it is imported."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a dump would hold the token
    resource.setrlimit(resource.RLIMIT_DATA, (job.memory, job.memory))
    os.environ |= {"HF_HUB_DISABLE_TELEMETRY": "1", "DO_NOT_TRACK": "1", "HF_XET_TELEMETRY_ENABLED": "0", "RUST_BACKTRACE": "0", "HF_XET_LOG_DEST": "/dev/null"}
    gate = Gate(Destinations(job.upstreams, job.origins), job.proxy, _refused).open()
    os.environ |= {"HTTP_PROXY": gate, "HTTPS_PROXY": gate, "http_proxy": gate, "https_proxy": gate}
    if job.ca is not None:
        # A file that is named takes the place of the system's own, so these are named beside it.
        os.environ |= {"SSL_CERT_FILE": job.ca, "SSL_CERT_DIR": ssl.get_default_verify_paths().openssl_capath}


def _stream(job: Job) -> None:
    import hf_xet  # after the environment is set

    settings = {
        "reconstruction.download_buffer_size": _AHEAD,
        "reconstruction.download_buffer_perfile_size": _AHEAD,
        "reconstruction.download_buffer_limit": _LIMIT,
        "reconstruction.min_prefetch_buffer": _AHEAD,
        "reconstruction.min_reconstruction_fetch_size": _AHEAD,
        "telemetry.enabled": False,
            }
    session = hf_xet.XetSession(hf_xet.XetConfig().with_config(settings))
    group = session.new_download_stream_group(
        job.endpoint, token=job.token, token_expiry_unix_secs=job.expires, custom_headers={"User-Agent": job.agent}
    )
    left = job.stop - job.start
    for item in group.download_stream(hf_xet.XetFileInfo(job.hash, job.size), start=job.start, end=job.stop):
        view = memoryview(item)
        if len(view) > left:
            raise ValueError("more bytes than were asked for")
        for at in range(0, len(view), _PIECE):
            _write(view[at : at + _PIECE])
        left -= len(view)
    if left:
        raise ValueError(f"{left} bytes short of what was asked for")


def _write(data: memoryview) -> None:
    while data:
        data = data[os.write(1, data) :]


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    os._exit(code)  # threads of native code are not waited for
