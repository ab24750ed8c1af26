"""Sinks: at least once, in order, however long the receiver is away, and whatever happens to either side."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from aiohttp import web
from structlog.testing import CapturingLogger

from mirror import config
from mirror.audit.cursors import Cursor, cursor_path, read_cursor, write_cursor
from mirror.audit.ledger import SegmentLedger
from mirror.audit.outlets import ExportFailed
from mirror.audit.passage import PAGE, Choice
from mirror.audit.receivers import FileReceiver, StreamReceiver, WebReceiver, Writing, append_lines
from mirror.audit.segments import read_head, segments
from mirror.audit.sinks import Pace, Sink, Sinks, left_to_others
from mirror.audit.streams import Identity, deliver
from mirror.bundle.backup import Place, back_up, restore
from mirror.core.errors import InputError
from tests.acceptance.test_client_certificates import issuer
from tests.audit.samples import NOW, SteppingClock, allowed, refused
from tests.support import preloaded
from tests.support.collector import Collector
from tests.support.mirror import MirrorProcess

NATIVE = Writing("native", "1.0", "mirror.acme.example")
FAST = Pace(gather=0.01, first=0.01, longest=0.05)


async def until(condition, seconds: float = 60.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)


@asynccontextmanager
async def running(folder: Path, *sinks: Sink, clock: SteppingClock | None = None):
    """A ledger with sinks, as a mirror has them; `ledger.sinks` are those."""
    every = Sinks(sinks)
    ledger = SegmentLedger(folder, clock or SteppingClock(), reserve=0, segment_size=60_000, on_durable=every.advance)
    await ledger.start({"version": "1.0"})
    every.begin(ledger.head.count)
    try:
        yield ledger
    finally:
        await ledger.close()
        await every.close(60.0)  # a stop waits less; here what it waits for is the point


async def fill(ledger: SegmentLedger, count: int) -> None:
    tickets = [ledger.record(refused(number) if number % 3 else allowed(number)) for number in range(count)]
    await tickets[-1].durable()


def in_order(records: list[dict], count: int) -> bool:
    """Whether each of `count` records arrived at least once, and never one before all that precede it."""
    reached = 0
    for record in records:
        if record["seq"] > reached:
            return False
        reached = max(reached, record["seq"] + 1)
    return reached == count


def sink_to(folder: Path, port: int, **how) -> Sink:
    return Sink("siem", folder, StreamReceiver("127.0.0.1", port, NATIVE), how.pop("clock", SteppingClock()), pace=FAST, **how)


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> CapturingLogger:
    """What sinks log. The test's own: the process's may be bound to what an earlier test set up."""
    own = CapturingLogger()
    monkeypatch.setattr("mirror.audit.sinks._LOG", own)
    return own


async def test_a_week_without_the_receiver(tmp_path, log):
    """A receiver that is away for a week and seven restarts gets everything, in order; meanwhile the log has one line a run and memory one page."""
    place = await Collector().start()
    await place.stop()
    clock = SteppingClock()
    for _ in range(7):
        clock.moment += timedelta(days=1)
        sink = sink_to(tmp_path, place.port, clock=clock)
        async with running(tmp_path, sink, clock=clock) as ledger:
            await fill(ledger, 350)
            await until(lambda sink=sink: sink.failing)
            assert len(sink._pending) <= PAGE and sink.lag == ledger.head.count
            assert sink.record()["why"] and sink.record()["since"]
    assert [call.args[0] for call in log.calls if call.args[0].startswith("sink")] == ["sink_not_delivered"] * 7
    assert len(segments(tmp_path)) > 7
    assert sink.age > 6 * 86400 - 1
    sink = sink_to(tmp_path, place.port, clock=clock)
    await place.start()
    async with running(tmp_path, sink, clock=clock) as ledger:
        await until(lambda: not sink.lag)
        assert (sink.record()["state"], sink.record()["why"], sink.age) == ("ok", "", 0.0)
    count = read_head(tmp_path).count
    await place.stop()
    assert in_order(place.records(), count) and len(place.messages) == count > 7 * 350
    assert read_cursor(cursor_path(tmp_path, "siem")).next == count  # the record of the stop, too


async def test_a_receiver_that_breaks_off(tmp_path):
    """What a receiver had not read when it broke off comes again; nothing is lost and the order holds."""
    place = await Collector(resets=[10, 3000, 70_000, 1]).start()
    async with running(tmp_path, sink_to(tmp_path, place.port)) as ledger:
        for _ in range(5):
            await fill(ledger, 120)
        await until(lambda: len({one["seq"] for one in place.records()}) >= 600)
    await place.stop()
    assert place.connections > 5
    assert in_order(place.records(), read_head(tmp_path).count)


async def test_tls(tmp_path):
    """Over TLS a receiver gets everything if its certificate is trusted and ours is; else nothing, and the sink says why."""
    ours = issuer(tmp_path / "pki", "Acme logs")
    server, _ = ours.issue("log", common="log", dns="localhost")
    client, _ = ours.issue("client", common="mirror")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=tmp_path / "pki" / "ca.pem")
    context.load_cert_chain(server)
    context.verify_mode = ssl.CERT_REQUIRED
    place = await Collector(tls=context).start()
    known, ledger_folder = Identity(tmp_path / "pki" / "ca.pem", client), tmp_path / "ledger"
    sinks = [
        Sink(name, ledger_folder, StreamReceiver("localhost", place.port, NATIVE, identity), SteppingClock(), pace=FAST)
        for name, identity in (("known", known), ("untrusting", Identity(None, client)), ("nobody", Identity(known.ca)))
    ]
    async with running(ledger_folder, *sinks) as ledger:
        await fill(ledger, 700)
        await until(lambda: not sinks[0].lag and sinks[1].failing and sinks[2].failing)
        whys = [sink.record()["why"] for sink in sinks]
        assert whys[0] == "" and "certificate" in whys[1] and whys[2], whys
        assert sinks[1].lag == sinks[2].lag == ledger.head.count
    await place.stop()
    assert in_order(place.records(), read_head(ledger_folder).count)


async def test_who_closes_without_a_word(tmp_path):
    """Under TLS 1.3 a receiver that closes without ticket and close_notify may have refused our certificate: it does not have what was sent."""
    ours = issuer(tmp_path / "pki", "Acme logs")
    server, _ = ours.issue("log", common="log", dns="localhost")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(server)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    listening = socket.create_server(("127.0.0.1", 0))

    def serve(tickets: int) -> bytes:
        context.num_tickets = tickets
        with listening.accept()[0] as plain, context.wrap_socket(plain, server_side=True) as connection:
            return b"".join(iter(lambda: connection.recv(4096), b""))

    with listening:
        for tickets in (0, 1):
            served = asyncio.create_task(asyncio.to_thread(serve, tickets))
            sent = deliver("localhost", listening.getsockname()[1], b"5 event", Identity(tmp_path / "pki" / "ca.pem"))
            if tickets:
                await sent
            else:
                with pytest.raises(ExportFailed, match="without a word"):
                    await sent
            assert await served == b"5 event"


async def test_a_webhook(tmp_path, log):
    """A webhook gets JSON Lines with its headers; what it finds too large comes in smaller pieces, what it refuses comes again, and no secret is told."""
    bodies, answers = [], [500, 307]

    async def take(request: web.Request) -> web.Response:
        body = await request.read()
        if answers:
            return web.Response(status=answers.pop(0), headers={"Location": "/elsewhere"})
        if len(body) > 50_000:
            return web.Response(status=413)
        assert request.headers["Authorization"] == "Splunk tell-nobody" and request.headers["Content-Type"] == "application/x-ndjson"
        bodies.append(body)
        return web.Response(status=202)

    app = web.Application(client_max_size=10**8)
    app.router.add_post("/hook/{name}", take)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    receiver = WebReceiver(f"{url}/hook/tell-nobody", url, NATIVE, {"Authorization": "Splunk tell-nobody"}, Identity())
    sink = Sink("hook", tmp_path, receiver, SteppingClock(), Choice(frozenset(["refused", "allowed"]), frozenset(["deny"])), pace=FAST)
    async with running(tmp_path, sink) as ledger:
        await until(lambda: not sink.lag and not sink.failing)
        await fill(ledger, 300)
        await until(lambda: not sink.lag)
        assert log.calls
        told = json.dumps([sink.record(), [[call.args, call.kwargs] for call in log.calls]])
    await runner.cleanup()
    records = [json.loads(line) for body in bodies for line in body.splitlines()]
    assert len(bodies) > 5 and len(records) == 200 and {one["kind"] for one in records} == {"refused"}
    assert [one["seq"] for one in records] == sorted(one["seq"] for one in records)
    assert "tell-nobody" not in told and "answered 500" not in told.split('"why"')[0]


async def test_a_file(tmp_path):
    """A file grows by whole lines; one that a crash cut short is ended before the next, and a folder that is away is waited for."""
    target = tmp_path / "out" / "events.jsonl"
    sink = Sink("file", tmp_path / "ledger", FileReceiver(target, Writing("ocsf", "1.0")), SteppingClock(), pace=FAST)
    async with running(tmp_path / "ledger", sink) as ledger:
        await fill(ledger, 20)
        await until(lambda: sink.failing)
        assert "No such file" in sink.record()["why"]
        target.parent.mkdir()
        target.write_bytes(b'{"cut')
        await until(lambda: not sink.lag)
    lines = target.read_bytes().splitlines()
    assert lines[0] == b'{"cut' and [json.loads(line)["metadata"]["sequence"] for line in lines[1:]] == list(range(22))
    append_lines(target, b"x\n")
    assert target.read_bytes().endswith(b"}\nx\n")


async def test_what_was_removed_is_told(tmp_path):
    """Records that went before a sink had them are told of by a gap event in their place, at the beginning and in the middle alike."""
    async with running(tmp_path) as ledger:
        for _ in range(8):
            await fill(ledger, 100)
    known = segments(tmp_path)
    assert len(known) > 5
    for at in (0, 1, 3):
        known[at].path.unlink()
        known[at].personal.unlink()
    place = await Collector().start()
    sink = sink_to(tmp_path, place.port, choice=Choice(frozenset(["stopped"])))
    async with running(tmp_path, sink):
        await until(lambda: not sink.lag and place.messages)
    await place.stop()
    gaps = [record["detail"] for record in place.records() if record["kind"] == "gap"]
    assert [(gap["since"], gap["until"]) for gap in gaps] == [(0, known[2].first), (known[3].first, known[4].first)]
    assert place.records()[-1]["kind"] == "stopped"


async def test_a_ledger_that_was_set_back(tmp_path):
    """A cursor of another history begins anew, and says so; one that is no cursor begins at the beginning."""
    async with running(tmp_path) as ledger:
        await fill(ledger, 10)
    for cursor, told in ((Cursor(9000, "a" * 64), True), (Cursor(5, "b" * 64), True), (None, False)):
        write_cursor(cursor_path(tmp_path, "siem"), cursor or Cursor())
        if cursor is None:
            cursor_path(tmp_path, "siem").write_bytes(b'{"next": 4')
        place = await Collector().start()
        sink = sink_to(tmp_path, place.port)
        async with running(tmp_path, sink):
            await until(lambda sink=sink: sink._cursor is not None and not sink.lag)
        await place.stop()
        gaps = [record for record in place.records() if record["kind"] == "gap"]
        assert [gap["detail"]["records"] for gap in gaps] == [0] * told
        assert in_order([record for record in place.records() if record["kind"] != "gap"], read_head(tmp_path).count)


async def test_a_backup_has_the_cursors(tmp_path):
    """A restored mirror delivers from where the backup was made, not everything again."""
    place = await Collector().start()
    data = tmp_path / "data"
    async with running(data / "ledger", sink := sink_to(data / "ledger", place.port)) as ledger:
        await fill(ledger, 30)
        await until(lambda: not sink.lag)
    back_up(Place(data, data / "ledger", {}, False), tmp_path / "backup", NOW, "1.0", keys=False)
    again = tmp_path / "again"
    restore(tmp_path / "backup", Place(again, again / "ledger", {}, False))
    place.messages.clear()
    async with running(again / "ledger", sink := sink_to(again / "ledger", place.port)):
        await until(lambda: place.messages and not sink.lag)
    await place.stop()
    assert [record["seq"] for record in place.records()] == [32, 33]


async def test_a_new_sink_from_now_on(tmp_path):
    """A sink that begins `now` gets what is recorded after it was first started, also what came while its receiver was away."""
    async with running(tmp_path) as ledger:
        await fill(ledger, 10)
    place = await Collector().start()
    await place.stop()
    for _ in range(2):
        async with running(tmp_path, sink := sink_to(tmp_path, place.port, whole=False)):
            await until(lambda sink=sink: sink._cursor is not None)
    await place.start()
    async with running(tmp_path, sink := sink_to(tmp_path, place.port, whole=False)):
        await until(lambda: sink._cursor is not None and not sink.lag)
    await place.stop()
    assert [record["seq"] for record in place.records()] == list(range(13, read_head(tmp_path).count))


async def test_a_mirror_that_is_killed(tmp_path):
    """`kill -9` of the mirror while events are on their way loses none: health and metrics tell of the lag, the next start delivers."""
    place = await Collector(resets=[2000] * 1000).start()
    sink = {"name": "siem", "to": f"tcp://127.0.0.1:{place.port}", "format": "native"}
    mirror = MirrorProcess(tmp_path / "m", {"network": "offline", "ledger": {"reserve": "1MiB", "sinks": [sink]}})
    await asyncio.to_thread(mirror.start)
    try:
        for number in range(60):
            assert (await asyncio.to_thread(mirror.get, f"/api/models/acme/m{number}/commit/main", method="POST", body=b"{}")).status == 403
        health: dict = {"lag": 0}
        async with asyncio.timeout(60):
            while not (health["lag"] and health["state"] == "failing"):
                health = (await asyncio.to_thread(mirror.get, "/-/health/ready")).json()["sinks"][0]
        metrics = (await asyncio.to_thread(mirror.get, "/-/metrics")).body.decode()
        assert health["state"] == "failing" and health["lag"] > 0 and health["to"] == "tcp", health  # by kind alone, for everybody may ask
        assert 'mirror_ledger_sink_alarm{sink="siem"} 1.0' in metrics and 'mirror_ledger_sink_lag_records{sink="siem"} 0.0' not in metrics
        await asyncio.to_thread(mirror.kill)
        told = preloaded.run(["-c", str(mirror.folder / "mirror.yaml"), "ledger", "sinks", "--json"], cwd=mirror.folder)
        assert told.returncode == 1 and json.loads(told.stdout)["lag"] > 0 and json.loads(told.stdout)["why"]
        place.resets.clear()
        await asyncio.to_thread(mirror.start)
        count = (await asyncio.to_thread(read_head, tmp_path / "m" / "data" / "ledger")).count
        await until(lambda: count in {one["seq"] + 1 for one in place.records()})
        assert in_order([one for one in place.records() if one["seq"] < count], count)
    finally:
        await asyncio.to_thread(mirror.stop)
    await place.stop()
    assert sum(one["kind"] == "write_refused" for one in {one["seq"]: one for one in place.records()}.values()) == 60
    told = preloaded.run(["-c", str(mirror.folder / "mirror.yaml"), "ledger", "sinks"], cwd=mirror.folder)
    assert told.returncode == 0 and " behind" in told.stdout and sink["to"] in told.stdout


def test_what_a_configuration_may_say(tmp_path):
    """Sinks are read with every fault at once and its place; headers are secrets and files are found from the configuration's folder."""
    file = tmp_path / "mirror.yaml"
    file.write_text("""
ledger:
  sinks:
    - {name: Bad name, to: "udp://x:514"}
    - {name: a, to: "https://user:pw@siem.acme.example/x", format: ecs}
    - {name: a, to: "tcp://log.acme.example", kinds: [refusal], effects: [no], headers: {"A b": x}, ca: nowhere.pem, key: k.pem}
""")
    with pytest.raises(InputError) as caught:
        config.load(file, {})
    said = "\n".join(map(str, caught.value.problems))
    for place in ("[0].name", "[0].to", "[1].to", "[2].name", "[2].kinds", "[2].effects", "[2].headers", "[2].headers.A b", "[2].ca", "[2].key"):
        assert f"ledger.sinks{place}: " in said, place
    file.write_text("""
ledger:
  sinks:
    - {name: hook, to: "https://siem.acme.example/in", kinds: [refused], effects: [deny], headers: {Authorization: "Splunk ${HEC}"}}
    - {name: copy, to: "file:out/events.jsonl", format: native, begin: now}
""")
    found = config.load(file, {"HEC": "tell-nobody"})
    assert found.ledger.sinks[0].headers["Authorization"].reveal() == "Splunk tell-nobody"
    assert "tell-nobody" not in json.dumps(config.effective(found)) and found.ledger.sinks[1].to == f"file:{tmp_path / 'out' / 'events.jsonl'}"


def test_what_is_left_to_others():
    """After a batch a sink rests as long again where others worked beside it, at most a second; where nobody did, hardly."""
    assert left_to_others(0.2, 0.2) == left_to_others(0.2, 0.05) == 0.2
    assert left_to_others(0.2, 0.001) == 0.004
    assert left_to_others(9.0, 9.0) == 1.0
    assert left_to_others(0.2, -0.001) == 0.0
