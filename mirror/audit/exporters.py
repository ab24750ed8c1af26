"""Where checkpoints go: a file, a git repository, a webhook, a syslog server (RFC 5424)."""

from __future__ import annotations

import asyncio
import base64
import fcntl
import os
import socket
import subprocess
from contextlib import suppress
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from mirror.audit.notes import Checkpoint, notes_in
from mirror.audit.outlets import ExportFailed
from mirror.audit.posting import post
from mirror.audit.streams import Identity, deliver
from mirror.audit.syslog import framed, message

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

#: The file within a git repository, and seconds that one git command may take.
IN_GIT: Final = "checkpoints"
_GIT_PATIENCE: Final = 20.0
#: Nobody is there to be asked, no hook of the repository is ours to run, and the author is this program.
_GIT: Final = (
    "git", "-c", "user.name=entrepot", "-c", "user.email=ledger@localhost", "-c", "commit.gpgSign=false", "-c", "core.hooksPath=/dev/null",
    "-c", "core.askPass=false", "-c", "maintenance.auto=false",
)  # fmt: skip


def last_of(data: bytes) -> Checkpoint | None:
    """The last checkpoint of a file of notes; an end that a crash cut short is passed over. Raises `ExportFailed`."""
    found = notes_in(data)
    for note in reversed(found[-2:]):
        with suppress(ValueError):
            return Checkpoint.read(note)
    if found:
        raise ExportFailed("holds something that is no checkpoint")
    return None


def with_one_more(data: bytes, one: Checkpoint) -> bytes:
    """What to add to a file of notes so that it ends with `one`; nothing where it does."""
    note = one.note.data
    if data.endswith(note) and (len(data) == len(note) or data[: -len(note)].endswith(b"\n\n")):
        return b""
    return (b"" if not data else b"\n" if data.endswith(b"\n") else b"\n\n") + note


class FileExporter:
    """A file to which notes are added: best on another disk, or on one that keeps what was written (WORM).

    Its folder must be there: one that is missing is a disk that is not mounted.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = f"file:{path}"

    async def send(self, one: Checkpoint, at: datetime) -> None:
        """See `Exporter`."""
        await asyncio.to_thread(append_note, self.path, one)

    def newest(self) -> Checkpoint | None:
        """See `Exporter`."""
        if not self.path.parent.is_dir():
            raise ExportFailed(f"there is no folder {self.path.parent}")
        return last_of(self.path.read_bytes()) if self.path.exists() else None


def append_note(path: Path, one: Checkpoint) -> None:
    """Add a note to a file, durably, unless it is the last already. Raises `OSError`."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
    with os.fdopen(descriptor, "r+b", buffering=0) as file:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - 65_536))
        rest = with_one_more(file.read(), one)
        if rest and file.write(rest) != len(rest):
            os.ftruncate(descriptor, size)
            raise OSError(28, "no room for a checkpoint", str(path))
        os.fsync(descriptor)


class GitExporter:
    """A git repository that gets one commit a checkpoint, and is pushed to `push` (a remote or URL) if that is named."""

    def __init__(self, folder: Path, push: str | None = None) -> None:
        self.folder, self._push = folder, push
        self.name = f"git:{folder}"

    async def send(self, one: Checkpoint, at: datetime) -> None:
        """See `Exporter`."""
        await asyncio.to_thread(self._commit, one)

    def _commit(self, one: Checkpoint) -> None:
        if not (self.folder / ".git").exists():
            self._git("init", "--quiet")
        append_note(self.folder / IN_GIT, one)
        self._git("add", "--", IN_GIT)
        if self._git("status", "--porcelain", "--", IN_GIT):
            self._git("commit", "--quiet", "-m", f"Checkpoint of {one.size} records", "--", IN_GIT)
        if self._push is not None:
            self._git("push", "--quiet", self._push, "HEAD")

    def newest(self) -> Checkpoint | None:
        """See `Exporter`. With `push`, of what is there and what is here the larger one."""
        found = [self._read("HEAD")] if (self.folder / ".git").exists() else []
        if self._push is not None and found:
            self._git("fetch", "--quiet", self._push)
            found.append(self._read("FETCH_HEAD"))
        return max((one for one in found if one is not None), key=lambda one: one.size, default=None)

    def _read(self, revision: str) -> Checkpoint | None:
        try:
            data = self._git("show", f"{revision}:{IN_GIT}")
        except ExportFailed:
            return None  # no commit yet, or none with the file
        return last_of(data)

    def _git(self, *words: str) -> bytes:
        # Without a terminal of its own, nothing that git starts can wait for an answer.
        command = [*_GIT, "-C", str(self.folder), *words]
        try:
            done = subprocess.run(  # noqa: S603 - our own words, and what the configuration names
                command, stdin=subprocess.DEVNULL, capture_output=True, timeout=_GIT_PATIENCE, check=False, start_new_session=True
            )
        except subprocess.TimeoutExpired:
            raise ExportFailed(f"git {words[0]} took longer than {_GIT_PATIENCE:.0f} s") from None
        if done.returncode:
            said = done.stderr.decode("utf-8", "replace").strip().splitlines()
            raise ExportFailed(f"git {words[0]}: {said[-1] if said else f'exit {done.returncode}'}")
        return done.stdout


class WebhookExporter:
    """A POST of the note, as text/plain, to a URL; any 2xx is a yes. Redirects are not followed."""

    def __init__(self, url: str, token: str | None, *, proxy: str | None = None, ca: Path | None = None) -> None:
        self._url, self._token, self._proxy, self._ca = url, token, proxy, ca
        parts = urlsplit(url)
        self.name = f"webhook:{parts.scheme}://{parts.netloc}"

    async def send(self, one: Checkpoint, at: datetime) -> None:
        """See `Exporter`."""
        headers = {"Content-Type": "text/plain; charset=utf-8"}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        status = await post(self._url, one.note.data, headers, identity=Identity(self._ca), proxy=self._proxy)
        if not 200 <= status < 300:
            raise ExportFailed(f"answered {status}")

    def newest(self) -> Checkpoint | None:
        """It cannot be asked."""
        return None


class SyslogExporter:
    """A syslog server: RFC 5424 over UDP (RFC 5426) or TCP with octet counting (RFC 6587 3.4.1), `udp://host:514`, `tcp://…`."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._scheme, self._host, self._port = parts.scheme, parts.hostname or "", parts.port or 514
        self.name = f"syslog:{url}"

    async def send(self, one: Checkpoint, at: datetime) -> None:
        """See `Exporter`."""
        sent = syslog_message(one, at, socket.gethostname())
        if self._scheme == "udp":
            loop = asyncio.get_running_loop()
            transport, _ = await loop.create_datagram_endpoint(asyncio.DatagramProtocol, remote_addr=(self._host, self._port))
            transport.sendto(sent)
            transport.close()
            return
        await deliver(self._host, self._port, framed(sent))

    def newest(self) -> Checkpoint | None:
        """It cannot be asked."""
        return None


def syslog_message(one: Checkpoint, at: datetime, host: str) -> bytes:
    """The message of a checkpoint: from its structured data the note can be written again, line by line."""
    name, identity, signature = one.note.signatures[0]
    origin, size, root = one.note.text.split("\n")[:3]
    signed = base64.b64encode(identity + signature).decode()
    values = {"origin": origin, "size": size, "root": root, "signer": name, "signature": signed}
    return message(at, host, "checkpoint", "checkpoint", values, f"checkpoint of {size} records of {origin}")
