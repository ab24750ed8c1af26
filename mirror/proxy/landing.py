"""What a flight tells whoever launched it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from mirror.core.errors import IntegrityError
    from mirror.core.nouns import Blob
    from mirror.proxy.flight import Flight
    from mirror.proxy.withhold import Withholding


class Landing(Protocol):
    """What a flight tells its owner."""

    async def landed(self, flight: Flight, blob: Blob) -> None:
        """The blob is in the store; what is held back leaves when this returns."""

    async def faulty(self, flight: Flight, error: IntegrityError, held: Withholding) -> None:
        """What upstream sent was not what was declared; `held` says what of it has left."""
