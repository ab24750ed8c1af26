"""How flights behave."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from mirror.core.ports import BLOCK, TAIL

#: Clients give up after 10 s without a byte, of the head or of a body (huggingface.md section 2).
PATIENCE: Final = 9.0


@dataclass(frozen=True, slots=True)
class Lanes:
    """How a large file comes from one upstream. Lengths in bytes.

    A file of at least `above` is asked for in parts of `part`, `parallel` of them at once; 1 asks for every file whole. A
    transfer that brings less than `minimum` bytes a second on average is given up; 0 waits for any.
    """

    parallel: int = 4
    part: int = 16 * BLOCK
    above: int = 64 * BLOCK
    minimum: int = 1024


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
    patience: float = PATIENCE  # how long a reader waits while upstream sends nothing; then its answer ends short
    suspicion: float = 7 * 86400.0  # how long parts of a file that proved wrong are not continued with a range
    lanes: Lanes = Lanes()
    span: float = 60.0  # over how long `lanes.minimum` is measured
    hurry: float = 2.0  # how long a reader waits for bytes that a part under way will bring much later, before they are asked for
    drip: float = 1.0  # between two drips to those who wait while what is here is verified
