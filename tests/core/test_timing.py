"""Where the time of a request went."""

from __future__ import annotations

import asyncio
import re

from mirror.core.timing import begin, server_timing, spent


async def test_tasks_of_a_request_add_to_its_account_and_to_no_other():
    """What a task measures counts for the request that started it; two requests at once never share an account."""

    async def request(name: str) -> dict[str, float]:
        account = begin()
        await asyncio.gather(*(asyncio.create_task(work(name, seconds)) for seconds in (0.25, 0.5)))
        return dict(account)

    async def work(name: str, seconds: float) -> None:
        await asyncio.sleep(0)
        spent(name, seconds)

    assert await asyncio.gather(request("a"), request("b")) == [{"a": 0.75}, {"b": 0.75}]


def test_the_field_is_a_server_timing():
    """Items with durations in milliseconds, the total last: the grammar of W3C Server Timing."""
    value = server_timing({"pages": 0.0123, "judge": 0.0004}, 0.02)
    assert value == "pages;dur=12.3, judge;dur=0.4, total;dur=20.0"
    assert re.fullmatch(r"[a-z]+;dur=\d+\.\d(, [a-z]+;dur=\d+\.\d)*", value)
    assert server_timing({}, 0.0) == "total;dur=0.0"
