"""Official lists, wired: where their editions lie, who refreshes them, and that what judges is in the evidence archive."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from mirror import __version__
from mirror.core.canonical import instant
from mirror.core.errors import InputError, Problem
from mirror.lists.editions import EditionStore, store_of
from mirror.lists.official import is_url, manifest_of
from mirror.trust.enrolment import load_roll
from mirror.watch.catalogue import PackPlace, PackWatch, condition_of
from mirror.watch.fetching import PATIENCE
from mirror.watch.lists import ListWatch, Outcome, Told

if TYPE_CHECKING:
    from datetime import datetime

    from mirror.config import Config
    from mirror.core.ports import Clock, Upstream
    from mirror.lists.signed import PackCondition
    from mirror.policy.epoch import Epoch
    from mirror.proxy.recorder import Recorder

Note = Callable[[str, str, Mapping[str, object]], None]


def list_watch_of(config: Config, clock: Clock, editions: EditionStore | None = None) -> ListWatch:
    """What refreshes the configured lists of this installation, whose editions lie in `editions` (None: with its data)."""
    offline = config.network == "offline"
    return ListWatch(config.lists, editions or store_of(config.data), partial(_way, config), clock.now, offline=offline)


def _way(config: Config, name: str) -> Upstream:
    """The way out for one list: its URLs' own hosts, and those that it says files may come from."""
    from mirror.upstream.client import HttpUpstream, Limits

    row = config.lists[name]
    bases = tuple(dict.fromkeys("{0.scheme}://{0.netloc}".format(urlsplit(source)) for source in row.source if is_url(source)))
    limits = Limits(connect=10.0, read=PATIENCE, connections=4, user_agent=f"entrepot/{__version__}")
    return HttpUpstream(f"list {name}", bases, row.origins, proxy=config.outbound.proxy, ca=config.outbound.ca, limits=limits)


def pack_watch_of(config: Config, clock: Clock) -> PackWatch | None:
    """What refreshes the signed catalogue pack of this installation; None where none is configured."""
    row = config.catalogue_pack
    if row.source is None:
        return None
    place = PackPlace(row.source, config.data, config.catalogue, row.every, row.max_age, offline=config.network == "offline")
    return PackWatch(place, lambda: load_roll(config.trust.verify), partial(_pack_way, config), clock.now)


def pack_condition(config: Config) -> Callable[[datetime], PackCondition] | None:
    """How the signed pack stands at a time; None where none is configured."""
    row = config.catalogue_pack
    return None if row.source is None else partial(condition_of, config.data, row.max_age)


def _pack_way(config: Config) -> Upstream:
    from mirror.upstream.client import HttpUpstream, Limits

    row = config.catalogue_pack
    base = "{0.scheme}://{0.netloc}".format(urlsplit(row.source or ""))
    limits = Limits(connect=10.0, read=PATIENCE, connections=1, user_agent=f"entrepot/{__version__}")
    return HttpUpstream("catalogue", (base,), row.origins, proxy=config.outbound.proxy, ca=config.outbound.ca, limits=limits)


async def lists_ready(config: Config, clock: Clock) -> ListWatch:
    """The same, with an edition of every list in force. Raises `InputError` with every list that has none, and why."""
    found = list_watch_of(config, clock)
    try:
        await found.prepare()
    except OSError as error:
        raise InputError([Problem("data", "", f"{error.filename or config.data}: {error.strerror}")]) from error
    return found


def standing_lists(epoch: Epoch, store: EditionStore) -> dict[str, object]:
    """What a `started` event says of lists: the edition of each that judges, and when that came."""
    found = ((name, store.kept(name, edition)) for name, edition in epoch.editions)
    return {"lists": dict(epoch.editions), "adopted": {name: instant(kept.adopted_at) for name, kept in found if kept is not None}}


async def keep_lists(recorder: Recorder, epoch: Epoch, store: EditionStore) -> None:
    """Archive the files of every list that decisions under `epoch` will cite; of several files also what stands for them all.

    Raises `InputError` where what lies there is not what was read.
    """
    for name, one in epoch.lists.items():
        kept = await asyncio.to_thread(store.kept, name, one.edition)
        if kept is None:
            raise InputError([Problem(f"lists.{name}", "", f"edition {one.edition} is gone")])
        parts = await asyncio.to_thread(store.parts, name, kept)
        digest = ""
        for part in parts:
            digest = await recorder.keep("list", part.data)
        if len(parts) > 1:
            digest = await recorder.keep("list", manifest_of(parts))
        if digest != one.digest:
            raise InputError([Problem(f"lists.{name}", "", "was written while it was being archived")])


def told(note: Note) -> Told:
    """What a change of a list is on the record as: an edition that was adopted, or one that was rejected and why."""

    async def hear(outcome: Outcome) -> None:
        detail: dict[str, object] = {"list": outcome.name, "entries": outcome.entries}
        if outcome.result == "changed":
            note("adopted", outcome.edition, detail)
        elif outcome.result in ("held", "unusable"):
            note("rejected", outcome.edition, {**detail, "problems": list(outcome.problems)[:50]})

    return hear
