"""What is running for the measurements: started when a case first needs it, stopped at the end."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from pathlib import Path

from bench.contest import content, running
from bench.contest.machine import CORES

#: The far upstream: 125 MB/s a connection and a round trip of 20 ms.
RATE, TRIP = 125_000_000, 0.020


class Field:
    """Servers and upstreams by name. `left_out` says which could not run here, and why."""

    def __init__(self, amounts, say=print):
        self.amounts = amounts
        self.left_out = {}
        self.folder = Path(tempfile.mkdtemp(prefix="bench-rivals-"))
        self._say = say
        self._made = {}
        self._closing = contextlib.ExitStack()
        self._taken = {}

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self._closing.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def origin(self, *, far=False):
        """The upstreams; `far` ones are 20 ms away and give 125 MB/s a connection."""
        return self._once(
            f"upstreams far={far}", lambda: running.Origin(self.amounts, *((RATE, TRIP) if far else (0, 0.0)))
        )

    def fresh(self, what):
        """The number of a large file (`cold` or `first`) on the hub that nobody has asked for yet."""
        number = self._taken.get(what, 0)
        if number >= getattr(self.amounts, f"{what}_files"):
            raise RuntimeError(f"no {what} files are left: fewer rounds, please")
        self._taken[what] = number + 1
        return number

    def server(self, name, *, far=False):
        """A server in front of the near or far upstreams, or None where it cannot run."""
        make = {
            "nginx rewriting": running.nginx_rewriting, "nginx raw": running.nginx_raw, "proxpi": running.proxpi,
            "devpi": running.devpi, "olah": running.olah, "this mirror": running.ours,
        }  # fmt: skip
        if name == "nginx static":
            files = {"config.json": content.config(), "model.safetensors": content.big(self.amounts)}
            return self._or_not(name, lambda: running.nginx_static(self.folder / "static", files))
        slug = f"{name.replace(' ', '-')}-{'far' if far else 'near'}"
        return self._or_not(name, lambda: make[name](self.folder / slug, self.origin(far=far)), slug)

    def mirror(self, slug, *, far=False, whole_machine=False, **changes):
        """This mirror with a configuration of its own. Raises `running.NotHere`."""
        cores = {"cores": tuple(CORES)} if whole_machine else {}
        return self._once(slug, lambda: running.ours(self.folder / slug, self.origin(far=far), **cores, **changes))

    def drop(self, slug):
        """Stop a server that was made as `slug`, and take its folder away."""
        server = self._made.pop(slug, None)
        if server is not None:
            server.close()
        shutil.rmtree(self.folder / slug, ignore_errors=True)

    def _or_not(self, name, make, slug=None):
        if name in self.left_out:
            return None
        try:
            return self._once(slug or name, make)
        except running.NotHere as error:
            if name == "this mirror":
                raise RuntimeError(str(error)) from None
            self.left_out[name] = " ".join(str(error).split())[-300:]
            self._say(f"  left out: {name}: {error}")
            return None

    def _once(self, key, make):
        if key not in self._made:
            self._made[key] = make()
            self._closing.callback(lambda: key in self._made and self._made[key].close())
        return self._made[key]
