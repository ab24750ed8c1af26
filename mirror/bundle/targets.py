"""Pythons and platforms as uv names them, and which wheels and markers hold there. Pure.

https://docs.astral.sh/uv/reference/cli/#uv-pip-compile--python-platform; tags are those of PEP 425, 600 and 656.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Final

from packaging.tags import Tag, compatible_tags, cpython_tags, mac_platforms

_ALIASES: Final = {"linux": "x86_64-unknown-linux-gnu", "windows": "x86_64-pc-windows-msvc", "macos": "aarch64-apple-darwin"}
_SHAPE: Final = re.compile(
    r"(?P<arch>[a-z0-9_]+?)-(?:manylinux(?P<legacy>2014)|manylinux_2_(?P<glibc>[0-9]{1,3})|unknown-linux-(?P<libc>gnu|musl)"
    r"|pc-(?P<windows>windows)-msvc|apple-(?P<mac>darwin))"
)
_WINDOWS: Final = {"x86_64": ("win_amd64", "AMD64"), "aarch64": ("win_arm64", "ARM64"), "i686": ("win32", "x86")}
_MAC: Final = {"x86_64": "x86_64", "aarch64": "arm64"}
#: The oldest glibc for which wheels were made, and the names that tags had before PEP 600.
_OLDEST: Final = {"x86_64": 5, "i686": 5}
_LEGACY: Final = {5: "manylinux1", 12: "manylinux2010", 17: "manylinux2014"}
#: What uv takes for a bare triple.
_GLIBC, _MUSL, _MACOS = 28, 2, (14, 0)
#: The Pythons for which a marker is asked where none is named.
_PYTHONS: Final = tuple(f"3.{minor}" for minor in range(8, 16))
_PLATFORMS: Final = ("linux", "aarch64-unknown-linux-gnu", "windows", "aarch64-pc-windows-msvc", "macos", "x86_64-apple-darwin")


@dataclass(frozen=True, slots=True)
class Target:
    """One Python (`3.11`) on one platform; None is any. The platform must be `known`."""

    python: str | None = None
    platform: str | None = None

    @property
    def name(self) -> str:
        """For people."""
        return ", ".join(part for part in (self.python and f"Python {self.python}", self.platform) if part) or "any"

    def takes(self, tag: Tag) -> bool:
        """Whether a wheel with this tag installs here."""
        if self.python is not None and (tag.interpreter, tag.abi) not in _pairs(self.python):
            return False
        return self.platform is None or tag.platform == "any" or tag.platform in _platform(self.platform).tags

    def environments(self) -> Iterator[Mapping[str, str]]:
        """Environments of markers (PEP 508); several where the target leaves something open, as it does the micro version."""
        for platform in (self.platform,) if self.platform else _PLATFORMS:
            for python in (self.python,) if self.python else _PYTHONS:
                for micro in (0, 99):
                    full = f"{python}.{micro}"
                    of_python = {"python_version": python, "python_full_version": full, "implementation_version": full}
                    yield {**_platform(platform).markers, **of_python}


@dataclass(frozen=True, slots=True)
class _Platform:
    tags: frozenset[str]
    markers: Mapping[str, str]


def known(platform: str) -> bool:
    """Whether wheels for this name of uv's can be told from others."""
    found = _SHAPE.fullmatch(_ALIASES.get(platform, platform))
    return found is not None and not (
        (found["windows"] and found["arch"] not in _WINDOWS) or (found["mac"] and found["arch"] not in _MAC)
    )


@cache
def _pairs(python: str) -> frozenset[tuple[str, str]]:
    major, minor = map(int, python.split("."))
    name = f"cp{major}{minor}"
    tags = [*cpython_tags((major, minor), [name], ["x"]), *compatible_tags((major, minor), name, ["x"])]
    return frozenset((tag.interpreter, tag.abi) for tag in tags)


@cache
def _platform(name: str) -> _Platform:
    """Raises `ValueError` for a name that is not `known`."""
    found = _SHAPE.fullmatch(_ALIASES.get(name, name))
    if found is None or not known(name):
        raise ValueError(name)
    arch = found["arch"]
    if found["windows"]:
        tag, machine = _WINDOWS[arch]
        return _Platform(frozenset({tag}), _markers("nt", "win32", "Windows", machine))
    if found["mac"]:
        return _Platform(frozenset(mac_platforms(_MACOS, _MAC[arch])), _markers("posix", "darwin", "Darwin", _MAC[arch]))
    tags = {f"linux_{arch}"}
    if found["libc"] == "musl":
        tags |= {f"musllinux_1_{minor}_{arch}" for minor in range(_MUSL + 1)}
    else:
        newest = 17 if found["legacy"] else int(found["glibc"] or _GLIBC)
        reached = range(_OLDEST.get(arch, 17), newest + 1)
        tags |= {f"manylinux_2_{minor}_{arch}" for minor in reached}
        tags |= {f"{old}_{arch}" for minor, old in _LEGACY.items() if minor in reached}
    return _Platform(frozenset(tags), _markers("posix", "linux", "Linux", arch))


def _markers(os_name: str, sys_platform: str, system: str, machine: str) -> Mapping[str, str]:
    return {
        "os_name": os_name, "sys_platform": sys_platform, "platform_system": system, "platform_machine": machine, "platform_release": "",
        "platform_version": "", "implementation_name": "cpython", "platform_python_implementation": "CPython", "extra": "",
    }  # fmt: skip
