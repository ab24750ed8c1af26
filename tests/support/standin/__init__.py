"""Stand-in upstreams: an imitation Hugging Face hub and an imitation PyPI, as real servers on loopback.

    async with StandInHub() as hub:            # empty; `populate(StandInHub())` for the default content
        hub.add_repo("model", "acme/x", {"config.json": b"{}"}, lfs={"model.safetensors": b"..."})
        ...                                    # hub.url, hub.cdn_url, hub.cas_url, hub.requests, hub.faults

    with running_hub() as hub: ...             # in a thread, for tests that are not asynchronous
    with running_index() as index: ...         # index.simple_url, index.files_url, index.add_release(...)

    python -m tests.support.standin --json     # as a process that can be killed

Written to what was measured on the real services; nothing here imports the product.
"""

from .defaults import ALICE, BOB, CANARY, populate, take_over
from .faults import Fault, FaultBook
from .hub import StandInHub, running_hub
from .index import StandInIndex, running_index
from .index_defaults import populate_index
from .server import StandIn, running
from .wire import Call, RequestLog

__all__ = [
    "ALICE",
    "BOB",
    "CANARY",
    "Call",
    "Fault",
    "FaultBook",
    "RequestLog",
    "StandIn",
    "StandInHub",
    "StandInIndex",
    "populate",
    "populate_index",
    "running",
    "running_hub",
    "running_index",
    "take_over",
]
