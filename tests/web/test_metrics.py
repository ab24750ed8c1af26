"""What operators measure, read from a running mirror."""

from __future__ import annotations

from pathlib import Path

from tests.support.mirror import running_mirror
from tests.support.standin import running_hub


def test_bytes_and_origins_of_bodies_are_counted(tmp_path: Path) -> None:
    """A file that was fetched and then served again is one miss and one hit, and its bytes count both times."""
    with running_hub() as hub, running_mirror(tmp_path, hub) as mirror:
        sizes = [len(mirror.get("/acme/tiny-bert/resolve/main/model.safetensors").body) for _ in range(2)]
        text = mirror.get("/-/metrics").body.decode()

    samples = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    assert samples['mirror_cache_total{hub="huggingface",outcome="miss"}'] == "1.0"
    assert samples['mirror_cache_total{hub="huggingface",outcome="hit"}'] == "1.0"
    assert float(samples['mirror_sent_bytes_total{hub="huggingface"}']) >= sum(sizes) > 0
