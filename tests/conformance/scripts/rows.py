"""datasets at a hub, loaded and streamed.

Arguments: a token that the gated dataset wants; then features, where not all are meant.
"""

from __future__ import annotations

import sys
from typing import Any

import datasets
import huggingface_hub.constants
from datasets import get_dataset_config_names, get_dataset_split_names, load_dataset, load_dataset_builder
from telling import tell

TOKEN, *ONLY = sys.argv[1:]


def rows(name: str, *arguments: str, streaming: bool, **options: Any) -> dict[str, list[Any]]:
    """Split -> [number of rows, names of the columns, first row, last row]."""
    found = load_dataset(name, *arguments, streaming=streaming, **options)
    said = {}
    for split, held in found.items() if isinstance(found, dict) else [(options["split"], found)]:
        every = list(held)
        said[split] = [len(every), sorted(every[0]), every[0], every[-1]]
    return said


def both(name: str, *arguments: str, **options: Any) -> dict[str, Any]:
    """The same rows streamed and loaded; the token is not told."""
    told = " ".join((name, *arguments, *(key if key == "token" else value for key, value in options.items())))
    return {
        f"streamed: {told}": lambda: rows(name, *arguments, streaming=True, **options),
        f"loaded: {told}": lambda: rows(name, *arguments, streaming=False, **options),
    }


def one(way: str, name: str) -> dict[str, Any]:
    return {f"{way}: {name}": lambda: rows(name, streaming=way == "streamed")}


def offline(name: str) -> dict[str, list[Any]]:
    """As with HF_HUB_OFFLINE=1, which is read into these two places when a process starts. There is no way back."""
    huggingface_hub.constants.HF_HUB_OFFLINE = datasets.config.HF_HUB_OFFLINE = True
    return rows(name, streaming=False)


tell(
    f"datasets {datasets.__version__}",
    {
        **one("streamed", "acme/cut"),  # the hub breaks one connection for each of the two
        **one("loaded", "acme/torn"),
        **both("acme/columns"),
        **both("acme/letters"),
        **both("acme/lines"),
        **both("acme/speech", "de"),
        **both("acme/speech", "en", split="test"),
        **both("acme/letters", revision="v1"),
        **both("acme/letters", revision="v9"),
        **both("acme/old-letters"),
        "names": lambda: [
            get_dataset_config_names("acme/speech"), get_dataset_split_names("acme/speech", "de"),
            str(load_dataset_builder("acme/lines").info.features),
        ],
        **both("acme/speech", "fr"),
        **both("acme/never-was", token=TOKEN),
        **both("acme/gated-rows"),
        **both("acme/gated-rows", token=TOKEN),
        **both("umbrella/rows"),
        **both("acme/partly"),
        "offline": lambda: offline("acme/columns"),
        "offline, never asked for": lambda: offline("acme/never-was"),
    },
    ONLY,
)
