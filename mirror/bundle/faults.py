"""What is wrong with a bundle: one sentence and its place."""

from __future__ import annotations

from mirror.core.errors import MirrorError


class BundleFault(MirrorError):
    """A bundle that is broken, hostile or signed by nobody who counts. `place` is what a person can find: a file, a blob, a field."""

    def __init__(self, place: str, message: str) -> None:
        super().__init__(f"{place}: {message}" if place else message)
        self.place, self.message = place, message


class Unreadable(BundleFault):
    """The medium does not give what lies there; whether the bundle holds is not known."""

    def __init__(self, place: str, error: OSError) -> None:
        super().__init__(place, f"cannot be read: {error.strerror or error}")
