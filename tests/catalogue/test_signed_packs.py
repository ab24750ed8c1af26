"""Signed packs of publishers: what comes into force, and what is kept out while the old one stays."""

import json
import threading
from datetime import UTC, date, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from click.testing import CliRunner

from mirror.cli.main import root
from mirror.core import dsse
from mirror.core.errors import InputError
from mirror.lists.signed import current_file, drafted, read_pack, signers
from tests.support.signers import Person, roll

TODAY = datetime.now(UTC).date()
VENDOR = Person("vendor", "catalogue")
OTHER = Person("other", "catalogue")
ALICE = Person("alice", "approver")


def content(entity="Acme Labs Ltd", country="GB", more=""):
    """A pack's text."""
    return f"""version: 1
publishers:
  - {{id: acme, entity: {entity}, kind: company, handles: {{huggingface: [acme]}}, countries: [{{code: "{country}"}}], confidence: B}}
{more}""".encode()


def pack(number, text=None, *people, day=TODAY, name="publishers"):
    """The bytes of a pack that these people signed, the vendor if nobody is named."""
    made = drafted(text or content(), name, number, day)
    envelope = made.envelope
    for one in people or (VENDOR,):
        envelope = dsse.signed(envelope, one.private)
    return dsse.written(envelope) + made.content


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with a configuration whose pack is the file `vendor.pack` and whose overlay is `ours.yaml`."""
    for one in (VENDOR, ALICE):
        one.enrol(tmp_path / "cards")
    (tmp_path / "ours.yaml").write_text("version: 1\npublishers:\n  - {id: acme, +aliases: [Our Acme]}\n")
    (tmp_path / "mirror.yaml").write_text(
        "data: var\ncatalogue: [builtin, ours.yaml]\ncatalogue_pack: {source: vendor.pack, max_age: 30d}\ntrust: {verify: [cards]}\n"
    )
    (tmp_path / "vendor.pack").write_bytes(pack(1))
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MIRROR_CONFIG", raising=False)
    return tmp_path


def run(*arguments):
    """The command; gives (exit code, JSON rows, all that was said). With --json there is nothing else on standard output."""
    result = CliRunner().invoke(root, arguments)
    if isinstance(result.exception, InputError):  # what `main` prints, with exit code 2
        return 2, [], str(result.exception)
    rows = [json.loads(line) for line in result.stdout.splitlines()] if "--json" in arguments else []
    return result.exit_code, rows, result.output + result.stderr


def test_a_signed_pack_stands_in_the_place_of_the_shipped_catalogue_under_the_overlay(here):
    """After `refresh` the publishers are the pack's, and what the organisation lays over it still holds; `status` tells who signed."""
    code, (row,), said = run("catalogue", "refresh", "--json")
    assert (code, row["result"], row["pack"]["number"]) == (0, "changed", 1), said
    _, (shown,), _ = run("publisher", "show", "acme", "--json")
    assert (shown["entity"], shown["aliases"]) == ("Acme Labs Ltd", ["Our Acme"])
    assert run("publisher", "show", "google")[0] == 1
    code, (row,), _ = run("catalogue", "status", "--json")
    assert (code, row["pack"]["number"], row["publishers"], row["age_days"], row["problems"]) == (0, 1, 1, 0, [])
    assert row["signed_by"] == [f"vendor ({VENDOR.card.id[:16]})"]
    assert run("catalogue", "refresh", "--json")[1][0]["result"] == "unchanged"


def flipped(data, at):
    """The same bytes but for one bit."""
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


GOOD = pack(2, content("Globex Ltd"))
LINE = GOOD.index(b"\n") + 1
REFUSED = {
    "rollback": (pack(1, content("Older Ltd")), "never rolled back"),
    "number used twice": (pack(2, content("Globex Inc")), "in force with other content"),
    "content changed": (flipped(pack(3), len(pack(3)) - 30), "not the digest that was signed"),
    "content cut": (pack(3)[:-10], "not the digest that was signed"),
    "content added to": (pack(3) + b"\n", "not the digest that was signed"),
    "envelope changed": (flipped(pack(3), 60), "vendor.pack"),
    "no envelope": (content(), "not a signed envelope"),
    "empty": (b"", "not a signed pack"),
    "nobody signed": (dsse.written(drafted(content(), "publishers", 3, TODAY).envelope) + content(), "nobody signed it"),
    "a stranger signed": (pack(3, None, OTHER), "no enrolled key"),
    "an approver signed": (pack(3, None, ALICE), "has not the role 'catalogue'"),
    "one of two is a stranger": (pack(3, None, VENDOR, OTHER), "no enrolled key"),
    "signed twice": (pack(3, None, VENDOR, VENDOR), "has signed already"),
    "from the future": (pack(3, day=TODAY + timedelta(days=2)), "is dated"),
    "of another line": (pack(3, name="others"), "the pack in force is 'publishers'"),
    "unsound with the overlay": (pack(3, content().replace(b"id: acme", b"id: umbrella")), "there is no earlier 'acme' to add to"),
}


def test_what_is_not_sound_is_refused_and_the_old_pack_stays(here):
    """A rollback, a change of any part, a wrong or missing signer: exit 1 with the reason, and pack 2 in force before and after."""
    (here / "vendor.pack").write_bytes(GOOD)
    assert run("catalogue", "refresh")[0] == 0
    before = current_file(here / "var").read_bytes()
    for what, (data, why) in REFUSED.items():
        (here / "vendor.pack").write_bytes(data)
        code, _, said = run("catalogue", "refresh")
        assert (code, why in said) == (1, True), (what, said)
        assert current_file(here / "var").read_bytes() == before == GOOD, what
    code, (row,), _ = run("catalogue", "status", "--json")
    assert (code, row["pack"]["number"]) == (1, 2)
    assert "there is no earlier" in row["problems"][0]


def test_a_rollback_is_refused_also_after_the_pack_in_force_was_removed(here):
    """The highest number that was ever in force is remembered beside the pack."""
    (here / "vendor.pack").write_bytes(pack(5))
    assert run("catalogue", "refresh")[0] == 0
    current_file(here / "var").unlink()
    (here / "vendor.pack").write_bytes(pack(4))
    assert "never rolled back" in run("catalogue", "refresh")[2]


def test_an_old_pack_is_a_warning(here):
    """Beyond `max_age` after its date `status` says so and exits with 1; the pack stays in force."""
    (here / "vendor.pack").write_bytes(pack(1, day=TODAY - timedelta(days=31)))
    assert run("catalogue", "refresh")[0] == 0
    code, (row,), _ = run("catalogue", "status", "--json")
    assert (code, row["age_days"], row["pack"]["number"]) == (1, 31, 1)
    assert row["problems"] == ["pack 1 is 31 days old, beyond catalogue_pack.max_age (30 days)"]


def test_a_key_that_was_revoked_before_is_told_by_status(here):
    """The pack was accepted and stays; that its signature counts no more is for people to see."""
    run("catalogue", "refresh")
    card = next((here / "cards").glob("vendor-*.yaml"))
    card.write_text(card.read_text() + "revoked: 2026-02-01\n")
    code, (row,), _ = run("catalogue", "status", "--json")
    assert (code, row["signed_by"]) == (1, [])
    assert "is not valid" in row["problems"][0]


def test_diff_tells_what_came_went_and_changed(here):
    """Between the pack before and the one in force; by fields, an entity that is new and one that is gone."""
    globex = '  - {id: globex, entity: Globex Ltd, kind: company, countries: [{code: "SG"}]}\n'
    initech = '  - {id: initech, entity: Initech, kind: company, countries: [{code: "US"}]}\n'
    for number, text in ((1, content(more=globex)), (2, content(country="FR", more=initech))):
        (here / "vendor.pack").write_bytes(pack(number, text))
        assert run("catalogue", "refresh")[0] == 0
    code, rows, said = run("catalogue", "diff", "--json")
    assert code == 0, said
    assert [(row["change"], row["id"], row["before"], row["after"]) for row in rows] == [
        ("changed", "acme", "1", "current"), ("removed", "globex", "1", "current"), ("added", "initech", "1", "current"),
    ]  # fmt: skip
    (was,), (now,) = rows[0]["fields"]["countries"]
    assert (was["code"], now["code"]) == ("GB", "FR")
    assert [row["change"] for row in run("catalogue", "diff", "2", "1", "--json")[1]] == ["changed", "added", "removed"]
    assert "is no pack that is kept here" in run("catalogue", "diff", "7")[2]


def test_sign_makes_a_pack_that_refresh_takes(here):
    """`key new --role catalogue` and `catalogue sign` are all that a publisher of packs needs; a pack is never overwritten."""
    (here / "source").mkdir()
    (here / "source" / "a.yaml").write_bytes(content("Acme Signed Ltd"))
    made = CliRunner().invoke(root, ["key", "new", "vera", "--role", "catalogue", "--unencrypted", "--out", "cards"])
    assert made.exit_code == 0, made.output
    key = next((here / "cards").glob("vera-*.key"))
    arguments = ["catalogue", "sign", "source", "--number", "7", "--key", str(key), "--out", "new.pack"]
    assert run(*arguments)[0] == 0
    assert "never overwritten" in run(*arguments)[2]
    (here / "vendor.pack").write_bytes((here / "new.pack").read_bytes())
    code, (row,), said = run("catalogue", "refresh", "--json")
    assert (code, row["pack"]["number"]) == (0, 7), said


def test_a_pack_in_the_catalogue_key_is_refused(here):
    """There its signatures would not be asked for: an error at start that names the right key."""
    (here / "mirror.yaml").write_text("data: var\ncatalogue: [builtin, vendor.pack]\n")
    code, _, said = run("config", "check")
    assert (code, "catalogue_pack.source" in said) == (2, True), said


def test_a_damaged_pack_in_force_is_an_error_that_names_it(here):
    """What lies on disk is checked against its digest each time it is read."""
    run("catalogue", "refresh")
    file = current_file(here / "var")
    file.write_bytes(flipped(file.read_bytes(), len(file.read_bytes()) - 20))
    code, _, said = run("publisher", "check")
    assert (code, "current.pack" in said) == (1, True), said


def test_an_accepted_pack_outlives_its_key():
    """A key that has expired since signs nothing new, and what it signed while it was valid still counts."""
    past = datetime(2026, 3, 1, tzinfo=UTC)
    brief = Person("brief", "catalogue", until=past)
    found = read_pack(pack(1, None, brief, day=date(2026, 2, 1)), "x")
    now = datetime(2026, 11, 1, tzinfo=UTC)
    assert [key.person for key in signers(found, roll(brief), now, "x", accepted=True)] == ["brief"]
    with pytest.raises(InputError, match="not valid"):
        signers(found, roll(brief), now, "x")


def test_a_pack_is_fetched_from_a_url_and_a_server_that_fails_changes_nothing(here):
    """By https or from loopback; what the server has is weighed like a file, and while it is gone the old pack stays."""
    served = {"body": pack(3)}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):  # noqa: N802 - the server's protocol
            self.send_response(200 if served["body"] else 503)
            self.end_headers()
            self.wfile.write(served["body"])

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/publishers.pack?token=s3cret"
        (here / "mirror.yaml").write_text(
            f'data: var\ncatalogue: [builtin, ours.yaml]\ncatalogue_pack: {{source: "{url}"}}\ntrust: {{verify: [cards]}}\n'
        )
        code, (row,), said = run("catalogue", "refresh", "--json")
        assert (code, row["result"], row["pack"]["number"]) == (0, "changed", 3), said
        for body, result in ((pack(2), "refused"), (b"", "unreachable")):
            served["body"] = body
            code, (row,), said = run("catalogue", "refresh", "--json")
            assert (code, row["result"], row["pack"]["number"]) == (1, result, 3), said
            assert "s3cret" not in said
        server.shutdown()
    with (here / "mirror.yaml").open("a") as file:
        file.write("network: offline\n")
    code, (row,), _ = run("catalogue", "refresh", "--json")
    assert (code, row["result"], row["pack"]["number"]) == (1, "offline", 3)
