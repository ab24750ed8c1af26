"""Salts of personal parts."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from mirror.audit.record import SALT
from mirror.audit.salts import Salts


def test_no_salt_is_given_twice():
    """Of many salts, taken by several threads at once, each has its length and none comes again."""
    salts = Salts()
    with ThreadPoolExecutor(4) as threads:
        taken = [salt for some in threads.map(lambda _: [salts.next() for _ in range(1000)], range(8)) for salt in some]
    assert len(taken) == len(set(taken)) == 8000 and {len(salt) for salt in taken} == {SALT}
