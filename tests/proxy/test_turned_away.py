"""What imports of bundles refused, from their receipts."""

from __future__ import annotations

import base64
import json

from mirror.proxy.turned_away import TurnedAway


def receipt(folder, number, *refused):
    folder.mkdir(parents=True, exist_ok=True)
    rows = [{"artifact": artifact, "rule": "house", "decision": decision, "sentence": "no"} for artifact, decision in refused]
    told = {"name": "lab", "number": number, "sender": "hq.example", "at": f"2026-11-{number:02}T00:00:00Z", "refused": rows}
    (folder / f"{number:06}.json").write_text(json.dumps({"payload": base64.b64encode(json.dumps(told).encode()).decode()}))


async def test_the_newest_refusal_of_a_file_is_told(tmp_path):
    """The newest refusal of a file; none of what could not be judged; a new receipt counts, a damaged one keeps out no other."""
    folder, away = tmp_path / "bundles" / "received" / "f00d" / "lab", TurnedAway(tmp_path)
    one, two = "pkg:huggingface/acme/one@abc#a.bin", "pkg:huggingface/acme/two@abc#b.bin"
    assert await away.of(one) is None
    receipt(folder, 1, (one, "D1"), (two, ""))
    (folder / "000003.json").write_text("{")
    found = await away.of(one)
    assert (found.decision, found.bundle, found.day) == ("D1", "lab 1", "2026-11-01")
    assert await away.of(two) is None
    receipt(folder, 2, (one, "D4"))
    assert (await away.of(one)).decision == "D4"
