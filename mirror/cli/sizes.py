"""Numbers of bytes as people read them."""

from __future__ import annotations


def readable(count: int) -> str:
    """Bytes in the largest binary unit in which they are at least one."""
    value, unit = float(count), "B"
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if value < 1024 or unit == "TiB":
            break
        value /= 1024
    return f"{int(value)} B" if unit == "B" else f"{value:.1f} {unit}"
