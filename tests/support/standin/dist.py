"""Real wheels and source archives, built in memory and the same every time; pip and uv can install both."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import random
import re
import tarfile
import zipfile
from dataclasses import dataclass, field
from typing import Final

_WHEN: Final = (2024, 1, 1, 0, 0, 0)
_BACKEND: Final = '''"""A build backend that needs nothing: it hands out the wheel which travels in this archive."""
import pathlib, shutil

def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    wheel = next(pathlib.Path(__file__).parent.glob("prebuilt/*.whl"))
    shutil.copy(wheel, wheel_directory)
    return wheel.name

def build_sdist(sdist_directory, config_settings=None):
    raise NotImplementedError
'''
_PYPROJECT: Final = '[build-system]\nrequires = []\nbuild-backend = "standin_backend"\nbackend-path = ["."]\n'


def normalised(name: str) -> str:
    """The name by PEP 503."""
    return re.sub(r"[-_.]+", "-", name).lower()


@dataclass(frozen=True, slots=True)
class Meta:
    """What goes into the core metadata (version 2.4) of one release."""

    name: str
    version: str
    requires: tuple[str, ...] = ()
    requires_python: str | None = None
    summary: str = "Made by the stand-in index."
    license_expression: str | None = None
    license: str | None = None
    author: str | None = None
    author_email: str | None = None
    maintainer_email: str | None = None
    home_page: str | None = None
    project_urls: dict[str, str] = field(default_factory=dict)
    classifiers: tuple[str, ...] = ()
    extras: tuple[str, ...] = ()

    @property
    def module(self) -> str:
        """The importable package's name, which is also the first part of the file names."""
        return normalised(self.name).replace("-", "_")

    def text(self) -> bytes:
        """The METADATA file."""
        single = {
            "Metadata-Version": "2.4",
            "Name": self.name,
            "Version": self.version,
            "Summary": self.summary,
            "Home-page": self.home_page,
            "Author": self.author,
            "Author-email": self.author_email,
            "Maintainer-email": self.maintainer_email,
            "License-Expression": self.license_expression,
            "License": self.license,
            "Requires-Python": self.requires_python,
        }
        rows = [f"{key}: {value}" for key, value in single.items() if value]
        rows += [f"Project-URL: {label}, {url}" for label, url in self.project_urls.items()]
        rows += [f"Classifier: {value}" for value in self.classifiers]
        rows += [f"Provides-Extra: {value}" for value in self.extras]
        rows += [f"Requires-Dist: {value}" for value in self.requires]
        return ("\n".join(rows) + "\n\nA package of the stand-in index.\n").encode()


def wheel(meta: Meta, pad: int = 0, extra: dict[str, bytes] | None = None) -> tuple[str, bytes]:
    """File name and bytes of a pure wheel; `pad` adds that many incompressible bytes."""
    info = f"{meta.module}-{meta.version}.dist-info"
    files = {
        f"{meta.module}/__init__.py": f'__version__ = "{meta.version}"\n'.encode(),
        **(extra or {}),
        f"{info}/METADATA": meta.text(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: standin\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    if pad:
        files[f"{meta.module}/pad.bin"] = random.Random(f"{meta.name}{meta.version}").randbytes(pad)
    record = [f"{path},sha256={_b64(data)},{len(data)}" for path, data in files.items()]
    files[f"{info}/RECORD"] = ("\n".join([*record, f"{info}/RECORD,,"]) + "\n").encode()
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for path, data in files.items():
            entry = zipfile.ZipInfo(path, _WHEN)
            entry.compress_type = zipfile.ZIP_STORED if path.endswith(".bin") else zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, data, compresslevel=1)
    return f"{meta.module}-{meta.version}-py3-none-any.whl", out.getvalue()


def sdist(meta: Meta) -> tuple[str, bytes]:
    """File name and bytes of a source archive that builds without any network."""
    root = f"{meta.module}-{meta.version}"
    wheel_name, wheel_bytes = wheel(meta)
    files = {
        "PKG-INFO": meta.text(),
        "pyproject.toml": _PYPROJECT.encode(),
        "standin_backend.py": _BACKEND.encode(),
        f"prebuilt/{wheel_name}": wheel_bytes,
    }
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for path, data in files.items():
            entry = tarfile.TarInfo(f"{root}/{path}")
            entry.size, entry.mtime, entry.mode = len(data), 1704067200, 0o644
            archive.addfile(entry, io.BytesIO(data))
    return f"{root}.tar.gz", gzip.compress(plain.getvalue(), 6, mtime=0)


def _b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).decode().rstrip("=")
