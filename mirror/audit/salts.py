"""Salts of personal parts, many to a system call: one call for each costs a fifth of what sealing a record does."""

from __future__ import annotations

import os
from collections import deque
from typing import Final

from mirror.audit.record import SALT

_AT_ONCE: Final = 256


class Salts:
    """`SALT` random bytes at a time, each given once. Threads may share it."""

    def __init__(self) -> None:
        self._left: deque[bytes] = deque()

    def next(self) -> bytes:
        """A fresh salt."""
        try:
            return self._left.popleft()  # atomic: two threads never get the same
        except IndexError:
            entropy = os.urandom(_AT_ONCE * SALT)
            self._left.extend(entropy[at : at + SALT] for at in range(SALT, len(entropy), SALT))
            return entropy[:SALT]
