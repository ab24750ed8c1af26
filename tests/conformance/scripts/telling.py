"""What a script of this folder says: one JSON object, feature by feature, as its last line. Runs in the client's own Python."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any


def tell(version: str, features: dict[str, Callable[[], Any]], only: Sequence[str] = ()) -> None:
    """Try every feature (or only these), each by itself; one that fails is told as {"error": class, "text": its words on one line}."""
    said: dict[str, Any] = {"version": version}
    for name, call in features.items():
        if only and name not in only:
            continue
        try:
            said[name] = call()
        except Exception as error:
            said[name] = {"error": type(error).__name__, "text": " ".join(str(error).split())}
    print(json.dumps(said))
