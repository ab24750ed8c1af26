"""What a piece of code asks of the disk, in order: which file was made durable, which got its name."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest


@contextmanager
def watched() -> Iterator[list[tuple[str, str]]]:
    """Pairs of a step (`synced`, `named`, `gone`) and the path it was about, as they are done; a name is told with its new path."""
    steps: list[tuple[str, str]] = []
    fsync, rename, replace, unlink = os.fsync, os.rename, os.replace, os.unlink

    def synced(descriptor: int) -> None:
        fsync(descriptor)
        steps.append(("synced", os.readlink(f"/proc/self/fd/{descriptor}")))

    def named(real: Any) -> Any:
        def call(source: Any, target: Any, **more: Any) -> None:
            real(source, target, **more)
            steps.append(("named", f"{Path(source).absolute()} -> {Path(target).absolute()}"))

        return call

    def gone(path: Any, **more: Any) -> None:
        unlink(path, **more)
        steps.append(("gone", str(path)))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", synced)
        patch.setattr(os, "fdatasync", synced)
        patch.setattr(os, "rename", named(rename))
        patch.setattr(os, "replace", named(replace))
        patch.setattr(os, "unlink", gone)
        yield steps


def durable_before_named(steps: list[tuple[str, str]]) -> list[str]:
    """What got its name before its bytes were durable, or whose folder was not made durable afterwards; nothing where all is well."""
    wrong = []
    for at, (step, about) in enumerate(steps):
        if step != "named":
            continue
        source, _, target = about.partition(" -> ")
        if ("synced", source) not in steps[:at]:
            wrong.append(f"{target} was named before it was durable")
        if ("synced", str(Path(target).parent)) not in steps[at:]:
            wrong.append(f"the name {target} was not made durable")
    return wrong
