"""Building a mirror, and taking it down again, on data folders in every state."""

from __future__ import annotations

import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from mirror import config as configuration
from mirror.audit.segments import Reader
from mirror.clock_wiring import SystemClock
from mirror.config import Config
from mirror.core.errors import InputError
from mirror.reply.identify import groups_from
from mirror.wiring import build, installation_key

CONFIG = "listen: {port: 0}\ndata: ./var\nnetwork: offline\nledger: {reserve: 1MiB}\nstore: {min_free: 1MiB}\n"


@pytest.fixture
def config(tmp_path: Path) -> Config:
    (tmp_path / "mirror.yaml").write_text(CONFIG)
    (tmp_path / "var").mkdir()
    return configuration.load(tmp_path / "mirror.yaml", {})


def kinds(config: Config) -> list[str]:
    return [record["kind"] for record in Reader(config.data / "ledger").read(100)]


def test_every_key_of_a_group_reaches_its_members(tmp_path: Path) -> None:
    """What is configured of a group is what the actor carries: rules with `applies_to` read its jurisdiction."""
    group = "{subnets: [10.8.0.0/16], header: [grp], country: US, jurisdiction: [US, DE], entity: Acme Inc}"
    (tmp_path / "mirror.yaml").write_text(CONFIG + f"clients: {{header: X-Groups, groups: {{lab: {group}}}}}\n")
    (made,) = groups_from(configuration.load(tmp_path / "mirror.yaml", {}).clients.groups)

    assert (made.name, [str(network) for network in made.subnets], made.header) == ("lab", ["10.8.0.0/16"], ("grp",))
    assert (made.country, made.jurisdictions, made.entity) == ("US", ("US", "DE"), "Acme Inc")


async def test_a_data_folder_that_cannot_be_used_is_one_clear_error(config: Config) -> None:
    """The path and the reason are named, and what was opened before is closed: the ledger ends with `stopped`."""
    (config.data / "evidence").write_text("a file where a folder should be")

    with pytest.raises(InputError, match="evidence.*Not a directory"):
        await build(config)

    assert kinds(config) == ["started", "key", "stopped"]


async def test_every_step_of_stopping_is_taken(config: Config) -> None:
    """An upstream that cannot be closed does not keep the ledger from being closed."""
    services = await build(config)
    await services.start()

    async def failing() -> None:
        raise RuntimeError("a connection that cannot be closed")

    services.closing.push_async_callback(failing)
    with pytest.raises(RuntimeError):
        await services.stop()

    assert kinds(config) == ["started", "key", "stopped"]


async def test_what_tells_who_asked_is_readable_by_its_owner_only(config: Config) -> None:
    """Key, index and personal parts: no other user of the machine can read them."""
    services = await build(config)
    await services.stop()

    private = [config.data / "secret.key", config.data / "index.sqlite", *(config.data / "ledger").glob("personal-*")]
    assert [path.name for path in private if stat.S_IMODE(path.stat().st_mode) & 0o077] == []
    assert len(private) == 3


@pytest.mark.parametrize("held", [b"", b"short", b"x" * 33])
def test_a_torn_key_is_an_error(tmp_path: Path, held: bytes) -> None:
    """A key that a crash cut short would let fingerprints be guessed: it is named, not used."""
    (tmp_path / "secret.key").write_bytes(held)

    with pytest.raises(InputError, match="secret.key"):
        installation_key(tmp_path / "secret.key")


def test_the_key_is_made_once(tmp_path: Path) -> None:
    """The first start makes it, every later one reads it, and nothing else is left in the folder."""
    made = installation_key(tmp_path / "secret.key")

    assert (len(made), installation_key(tmp_path / "secret.key")) == (32, made)
    assert [path.name for path in tmp_path.iterdir()] == ["secret.key"]


def test_the_clock_waits_out_small_steps_and_follows_corrections() -> None:
    """A second back is not seen; a year back, when somebody sets a wrong clock right, is the time from then on."""
    start = datetime(2027, 11, 22, tzinfo=UTC)
    wall = iter([start, start + timedelta(seconds=5), start + timedelta(seconds=4), start - timedelta(days=365), start - timedelta(days=364)])
    clock = SystemClock(lambda: next(wall))

    told = [clock.now() - start for _ in range(4)]

    assert told == [timedelta(seconds=5), timedelta(seconds=5), -timedelta(days=365), -timedelta(days=364)]
