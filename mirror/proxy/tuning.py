"""How flights behave."""

from __future__ import annotations

from dataclasses import dataclass

from mirror.core.ports import BLOCK, TAIL


@dataclass(frozen=True, slots=True)
class Tuning:
    """How flights behave. Lengths in bytes, times in seconds."""

    unverified_ranges: str = "hold_tail"
    tail: int = TAIL
    window: int = 8 * BLOCK  # a reader waiting further than this beyond the lead gets a fetch of its own
    extras: int = 4  # how many such fetches at once
    tries: int = 5  # attempts without a single new byte
    backoff: float = 0.25  # before the second attempt; doubled for each further one, at most 8
    checkpoint: float = 1.0  # between two syncs of the block map
    abandon_after: float = 60.0  # without readers ...
    abandon_below: float = 0.1  # ... and with less than this share done
    suspicion: float = 7 * 86400.0  # how long parts of a file that proved wrong are not continued with a range
