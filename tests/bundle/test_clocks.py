"""Wrong clocks, in real processes: the mirror and its commands in 1970 and in 2100, and a clock that jumps under a mirror that serves."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import mirror
from mirror.bundle.signed_time import ClockAlarm, Reckoned, at_least, newest_signed, note
from tests.bundle.test_carried import enrolled, here
from tests.support import preloaded
from tests.support.mirror import ALLOW_ALL, MirrorProcess, clean_environment, running_mirror, until
from tests.support.standin import running_hub, running_index

#: Rules that began and an exception that ended before any bundle of these tests was signed, and some that end much later.
POLICY = """
version: 1
rules:
  - {id: began, when: {artifact: ["pkg:huggingface/acme/tiny-bert#vocab.txt"]}, effect: deny, from: 2026-01-01}
  - {id: ended, when: {artifact: ["pkg:huggingface/acme/tiny-bert#README.md"]}, effect: deny, until: 2026-02-01}
  - {id: ends, when: {artifact: ["pkg:huggingface/acme/tiny-bert#tokenizer_config.json"]}, effect: deny, until: 2090-01-01}
  - {id: lifted, when: {artifact: ["pkg:huggingface/acme/tiny-bert#pytorch_model.bin"]}, effect: deny}
exceptions:
  - {id: EX-1, rule: lifted, scope: {artifact: "acme/tiny-bert"}, reason: "ticket 1", requested_by: u1, approved_by: [u2], expires: 2026-02-01}
"""
FILES = {"config.json": "free", "vocab.txt": "began", "README.md": "ended", "tokenizer_config.json": "ends", "pytorch_model.bin": "lifted"}
#: By any clock before the bundle's time, and by the right one.
KNOWN = {"free": 200, "began": 403, "ended": 200, "ends": 403, "lifted": 403}
LIST = {"loader": "csv", "source": "https://lists.example/house.csv", "guards": {"max_age": "1s"}}


def library() -> str:
    """Where Debian's faketime keeps what it preloads."""
    found = sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))
    assert found, "these tests need libfaketime (Debian: apt-get install faketime)"
    return str(found[0])


def faked(**how: str) -> dict[str, str]:
    """The environment of a process whose clock on the wall is another; time that passes, and times of files, are what they are."""
    return {"PYTHONPATH": str(Path(mirror.__file__).parents[1]), "LD_PRELOAD": library(), "FAKETIME_DONT_FAKE_MONOTONIC": "1", "NO_FAKE_STAT": "1", **how}


def at(year: int) -> dict[str, str]:
    """The second of January of a year, at this time of day."""
    return faked(FAKETIME=f"{days_to(year):+d}d")


def days_to(year: int) -> int:
    return (datetime(year, 1, 2, tzinfo=UTC) - datetime.now(UTC)).days


def commanded(folder: Path, environ: Mapping[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    return preloaded.run(["-c", str(folder / "mirror.yaml"), *words], cwd=folder, env={**clean_environment(), **environ})


@pytest.fixture(scope="module")
def sender(tmp_path_factory):
    """A mirror with the right time that has exported one bundle, with a list."""
    folder = tmp_path_factory.mktemp("sender")
    (folder / "house.csv").write_text("name\nUmbrella Works Ltd\nInitech Trading\n")
    lists = {"house": {"loader": "csv", "source": str(folder / "house.csv")}}
    with running_hub() as hub, running_index() as index, running_mirror(folder, hub, index, ALLOW_ALL, lists=lists) as mirror:
        here(mirror)
        (folder / "few.yaml").write_text("version: 1\nname: few\nmodels: [{id: acme/tiny-bert}]\npackages: [{requirement: acme-attested, python: ['3.11'], platforms: [linux]}]\n")
        mirror.command("bundle", "export", "few.yaml", "-o", str(folder / "few.tar"))
        yield mirror


def lab_of(sender: MirrorProcess, folder: Path, policy: str = POLICY, **config: object) -> MirrorProcess:
    told = {"listen": {"host": "127.0.0.1", "port": 0}, "network": "offline", "trust": {"verify": [str(enrolled(sender, folder / "cards"))]}, **config}
    lab = MirrorProcess(folder / "lab", told, policy)
    lab.config["clients"] = {"groups": {"lab": {}}}
    return lab


NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


class Hands:
    """A clock on the wall, and the time that has passed, both turned by hand."""

    def __init__(self, data: Path) -> None:
        self.wall, self.passed = NOW, 0.0
        self.time = Reckoned(data, lambda: self.wall, lambda: self.passed)
        self.alarm = ClockAlarm(data, self.time)

    def put(self, wall: datetime, later: float = 0.0) -> tuple[datetime, str]:
        """Set the wall's, `later` seconds on; gives what is reckoned, and what is said of it."""
        self.wall, self.passed = wall, self.passed + later
        return self.time.now(), self.alarm.told()[0]


def test_time_is_never_before_the_newest_bundle(tmp_path):
    """Behind a bundle time goes on from that bundle, and from the next one a second after it came; right or ahead it is the clock's; each that cannot be right is told of."""
    early, late, hour = datetime(1970, 1, 2, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC), timedelta(hours=1)
    hands = Hands(tmp_path)
    assert at_least(tmp_path, early) == early
    assert hands.put(early) == (early, "")  # nothing is known
    note(tmp_path, NOW)
    note(tmp_path, NOW - timedelta(days=400))  # an older bundle takes nothing back
    assert newest_signed(tmp_path) == NOW
    assert (at_least(tmp_path, early), at_least(tmp_path, late)) == (NOW, late)
    assert hands.put(early, 2) == (NOW, "behind")
    assert hands.put(early, 3600) == (NOW + hour, "behind")
    assert hands.put(late) == (late, "jumped")
    assert hands.put(NOW + hour) == (NOW + hour, "")  # and back
    assert hands.put(NOW + hour - timedelta(minutes=4)) == (NOW + hour, "")  # within what clocks differ
    note(tmp_path, NOW + 9 * hour)
    assert hands.put(early, 0.5) == (NOW + hour + timedelta(seconds=0.5), "behind")
    assert hands.put(early, 0.5) == (NOW + 9 * hour, "behind")
    again = Hands(tmp_path)
    again.time = Reckoned(tmp_path, lambda: late, lambda: 0.0)
    assert ClockAlarm(tmp_path, again.time).told()[0] == "alone"  # started with a clock that is decades ahead of all that is known
    assert len(ClockAlarm(tmp_path, again.time).problems) == 1


def test_a_clock_that_ran_ahead_can_be_set_right(tmp_path):
    """Without a bundle the machine's clock is followed back as well: who corrects one that ran ahead has the right time at once, however long it was wrong."""
    hands = Hands(tmp_path)
    late = NOW + timedelta(days=27_000)
    assert hands.put(late, 60) == (late, "jumped")
    assert hands.put(late + timedelta(days=9), 9 * 86_400) == (late + timedelta(days=9), "jumped")
    assert hands.put(NOW + timedelta(days=9), 60) == (NOW + timedelta(days=9), "")


def test_a_clock_that_jumps_under_a_laboratory(sender, tmp_path):
    """In 1970, in 2100 and back again: what has ended stays ended and what has begun is in force, by the bundle's time; lists are old; operator and record are told; the record holds."""
    lab, clock = lab_of(sender, tmp_path, lists={"house": LIST}), tmp_path / "clock"

    def put(year: int | None) -> None:
        (tmp_path / "new").write_text(f"{days_to(year) if year else 0:+d}d\n")
        (tmp_path / "new").replace(clock)

    def statuses() -> dict[str, int]:
        return {told: lab.get(f"/acme/tiny-bert/resolve/main/{name}").status for name, told in FILES.items()}

    def report() -> dict:
        return lab.get("/-/health/ready").json()

    def clocks() -> list[str]:
        return [text for text in report()["rules"]["why"] if text.startswith("clock: ")]

    put(1970)
    environ = faked(FAKETIME_TIMESTAMP_FILE=str(clock), FAKETIME_CACHE_DURATION="1")
    lab_config(lab)
    done = commanded(lab.folder, environ, "bundle", "import", str(sender.folder / "few.tar"), "--json")
    assert done.returncode == 1, done.stdout + done.stderr
    # Judged by the time of the bundle, not by 1970.
    assert {one["artifact"].rpartition("#")[2] for one in json.loads(done.stdout)["refused"]} == {"vocab.txt", "tokenizer_config.json", "pytorch_model.bin"}
    token = json.loads(lab.command("token", "create", "short", "--group", "lab", "--expires", "8d", "--json").stdout)["token"]

    def asked() -> int:
        return lab.get("/api/models/acme/tiny-bert", headers={"Authorization": f"Bearer {token}"}).status

    lab.start(**environ)
    page = lab.get("/pypi/simple/acme-attested/", headers={"Accept": "application/vnd.pypi.simple.v1+json"}).json()["files"]
    assert page
    try:
        assert statuses() == KNOWN
        assert asked() == 200
        assert "is behind" in clocks()[0]
        until(lambda: report()["lists"][0]["state"] == "stale")  # a second after the bundle was signed, whatever the clock says
        put(2100)
        until(lambda: clocks() and "has gone ahead" in clocks()[0])
        assert report()["lists"][0]["state"] == "stale"
        assert asked() == 401
        assert statuses() == KNOWN  # a rule that would be over by this clock: what it refused at import has not come, and that is said
        put(1970)
        until(lambda: clocks() and "is behind" in clocks()[0])
        assert statuses() == KNOWN
        assert asked() == 401  # what was seen to have ended has ended
        put(None)
        until(lambda: not clocks())
        assert statuses() == KNOWN
        assert lab.get("/pypi/simple/acme-attested/", headers={"Accept": "application/vnd.pypi.simple.v1+json"}).json()["files"] == page
        until(lambda: any('"event":"clock"' in line and '"state":"right"' in line for line in lab.log_lines()))
        events = lab.events()
        told = [event["detail"]["state"] for event in events if event["kind"] == "notice" and event["subject"] == "clock"]
        assert told == ["behind", "jumped", "behind", "right"]
        assert any('"event":"clock"' in line and "is behind" in line for line in lab.log_lines())
        # No record is older than the bundle by which its time was reckoned, once that was there.
        assert min(event["at"] for event in events if event["kind"] in ("acquired", "bundle", "allowed", "refused")) >= "2026"
    finally:
        lab.stop()
    assert lab.command("ledger", "verify").returncode == 0


def lab_config(lab: MirrorProcess) -> None:
    """Its configuration on disk, as `start` writes it, for commands before the first start."""
    import yaml

    (lab.folder / "mirror.yaml").write_text(yaml.safe_dump(lab.config))


@pytest.mark.torture
def test_commands_in_1970_and_2100(sender, tmp_path):
    """A bundle verifies and comes in by any clock; none is made in 1970, nor at a time before the last one; a sync asks no clock."""
    bundle, cards = sender.folder / "few.tar", enrolled(sender, tmp_path / "cards")
    verified = {commanded(sender.folder, at(year), "bundle", "verify", str(bundle), "--key", str(cards)).stdout for year in (1970, 2100)}
    assert len(verified) == 1 and verified.pop().startswith("holds: ")
    lab = lab_of(sender, tmp_path, ALLOW_ALL)
    lab_config(lab)
    done = commanded(lab.folder, at(2100), "bundle", "import", str(bundle), "--json")
    assert (done.returncode, json.loads(done.stdout)["refused"]) == (0, []), done.stderr
    assert {commanded(lab.folder, at(year), "ledger", "verify").returncode for year in (1970, 2100)} == {0}
    again = ("bundle", "export", "few.yaml", "-o", str(tmp_path / "again.tar"))
    done = commanded(sender.folder, at(2026), *again)
    assert done.returncode == 2 and "clock: says 2026-01-0" in done.stderr and "bundle few 1 was signed at 2026-" in done.stderr, done.stderr
    done = commanded(sender.folder, at(1970), *again, "--name", "early")
    assert done.returncode == 2 and "no bundle is made then" in done.stderr, done.stderr
    assert not (tmp_path / "again.tar").exists()
    assert commanded(sender.folder, at(2100), "sync", "few.yaml", "--dry-run").returncode == 0


