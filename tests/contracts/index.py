"""What every index owes its callers: documents, entries, grants, places, and the queryable copy of the ledger."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from datetime import UTC, timedelta
from hashlib import sha256

import pytest

from mirror.audit.record import GENESIS, display, prepare, seal
from mirror.core.acquisitions import Acquisition
from mirror.core.decision import Effect, Event, EventKind, Verdict
from mirror.core.errors import InputError
from mirror.core.facts import Fact, Facts, Publisher
from mirror.core.findings import Finding
from mirror.core.nouns import Artifact, Blob, Digest, Document, DocumentKey, Entry, Kind, Project
from mirror.core.ports import Grant, Pin, Place
from mirror.core.tokens import MirrorToken
from mirror.index.bulk import document_key
from mirror.index.engine import IndexDown
from mirror.proxy.findings import detail_of
from tests.audit.samples import ACTOR, ALLOW, NOW, PROJECT, RULE, VERDICT, aged, allowed, decision, refused

ODD = "odd \0 \udc80 日本 ' \" \\ %25"


def document(body: bytes = b"{}" * 4000, key: DocumentKey = DocumentKey("pypi", "/simple/x/"), **changes) -> Document:
    digest = Digest("sha256", sha256(body).hexdigest())
    headers = (("etag", '"x"'), ("link", "a"), ("link", "b"))
    return replace(Document(key, 200, headers, body, digest, NOW, timedelta(minutes=10)), **changes)


def records(*events: Event, first: int = 0) -> list[dict]:
    """Joined records of these events, as a ledger would hand them over."""
    found = []
    for sequence, event in enumerate(events, first):
        made = seal(prepare(event, bytes(16)), sequence, GENESIS)
        found.append(display(json.loads(made.line), json.loads(made.personal)["part"]))
    return found


def sequences(found) -> list[int]:
    return [record["seq"] for record in found]


class IndexContract:
    """Subclasses give an empty `index`."""

    # --- documents ----------------------------------------------------------------------------------------------------

    @pytest.mark.parametrize("body", [b"", b"x", b"{}" * 4000, bytes(range(256)) * 4, b"word " * 500_000])
    async def test_documents_come_back_as_they_were(self, index, body):
        """A page of any size comes back byte for byte, with its headers in order and its times to the microsecond."""
        stored = document(body)
        await index.put_document(stored)
        assert await index.get_document(stored.key) == stored
        assert await index.get_document(replace(stored.key, variant="v")) is None

    async def test_documents_are_replaced(self, index):
        """The newest of one key stands, also a negative answer and one that never expires."""
        await index.put_document(document())
        newer = document(b"gone", status=404, max_age=None, fetched_at=NOW + timedelta(seconds=1))
        await index.put_document(newer)
        assert await index.get_document(newer.key) == newer

    async def test_keys_do_not_run_into_each_other(self, index):
        """Keys that read alike when joined are different keys; odd and very long targets are keys like any other."""
        keys = [
            DocumentKey("a", "bc"), DocumentKey("ab", "c"), DocumentKey("a", "b", "c"), DocumentKey("a", "b", "", "c"),
            DocumentKey("a", ODD), DocumentKey("a", "/" + "x" * 20_000),
        ]  # fmt: skip
        for number, key in enumerate(keys):
            await index.put_document(document(b"%d" % number, key))
        for number, key in enumerate(keys):
            assert (await index.get_document(key)).body == b"%d" % number

    # --- entries ------------------------------------------------------------------------------------------------------

    @pytest.mark.parametrize("path", ["a/b.bin", ODD, "long/" * 900])
    async def test_entries(self, index, path):
        """An entry comes back with everything, is replaced, touched and forgotten under its artifact's identity."""
        entry = Entry(
            Artifact(PROJECT, "a" * 40, path), Blob(Digest("sha256", "b" * 64), 2**42), (("x-repo-commit", "a" * 40),),
            NOW, Digest("git-sha1", "c" * 40), "region:CU,IR",
        )  # fmt: skip
        identity = entry.artifact.identity
        assert await index.get_entry(identity) is None
        await index.put_entry(entry)
        found = await index.get_entry(identity)
        assert found == entry
        assert (found.artifact.project.hub, found.artifact.project.hub_id) == ("huggingface", "6f00")
        await index.put_entry(replace(entry, declared=None, restriction=""))
        await index.touch_entries({identity: NOW + timedelta(days=1), "absent": NOW})
        assert await index.get_entry(identity) == replace(entry, declared=None, restriction="")
        await index.forget_entry(identity)
        await index.forget_entry(identity)
        assert await index.get_entry(identity) is None

    # --- what is stored, by use; pins -----------------------------------------------------------------------------------

    @staticmethod
    def entry(number: int, blob: str, used: int, size: int = 10) -> Entry:
        return Entry(Artifact(PROJECT, "a" * 40, f"f{number}"), Blob(Digest("sha256", blob * 64), size), (), NOW + timedelta(seconds=used))

    @pytest.mark.parametrize("batch", [1, 2, 100])
    async def test_blobs_come_by_the_last_use_of_any_name(self, index, batch):
        """Every blob is given once, oldest use first, with all its names; an old name of a busy blob does not make it old."""
        rows = [(1, "a", 50), (2, "b", 10), (3, "c", 20), (4, "a", 5), (5, "b", 12), (6, "d", 20)]
        for number, blob, used in rows:
            await index.put_entry(self.entry(number, blob, used))
        found = [holding async for part in index.idle_holdings(batch) for holding in part]
        digests = [holding.blob.digest.hex[0] for holding in found]
        assert digests[0] == "b"
        assert sorted(digests[1:3]) == ["c", "d"]
        assert digests[3:] == ["a"]
        assert {artifact.path for artifact in found[-1].artifacts} == {"f1", "f4"}
        assert [holding.last_used for holding in found] == [NOW + timedelta(seconds=used) for used in (12, 20, 20, 50)]

    async def test_a_blob_is_forgotten_under_all_its_names(self, index):
        """Forgetting a blob drops each entry of it and no other; what is counted follows."""
        for number, blob in ((1, "a"), (2, "a"), (3, "b")):
            await index.put_entry(self.entry(number, blob, number, size=7))
        await index.put_document(document())
        totals = await index.totals()
        assert (totals.entries, totals.blobs, totals.size, totals.documents) == (3, 2, 14, 1)
        await index.forget_blob(Digest("sha256", "a" * 64))
        await index.forget_blob(Digest("sha256", "a" * 64))
        assert await index.get_entry(self.entry(1, "a", 0).artifact.identity) is None
        assert await index.get_entry(self.entry(3, "b", 0).artifact.identity) is not None
        totals = await index.totals()
        assert (totals.entries, totals.blobs, totals.size) == (1, 1, 7)

    async def test_pins(self, index):
        """A pin is kept, replaced and dropped under its pattern; dropping what is not there says so."""
        first, second = Pin("acme/*", "audit", NOW), Pin(ODD.replace("\0", "").replace("\udc80", ""), "", NOW + timedelta(days=1))
        assert list(await index.pins()) == []
        await index.put_pin(second)
        await index.put_pin(first)
        await index.put_pin(replace(first, reason="contract"))
        assert list(await index.pins()) == [replace(first, reason="contract"), second]
        assert await index.drop_pin("acme/*")
        assert not await index.drop_pin("acme/*")
        assert list(await index.pins()) == [second]

    # --- bundles ------------------------------------------------------------------------------------------------------

    async def test_many_rows_are_taken_in_together_or_not_at_all(self, index):
        """Pages, entries, rights, places and pins come in by one transaction; where one of them fails none is there."""
        project = Project("pypi", Kind.PACKAGE, "x", "pypi")
        entries = [Entry(Artifact(project, "1", f"{number}"), Blob(Digest("sha256", "a" * 64), 3), (), NOW) for number in range(450)]
        place = Place("pypi", "/p", entries[0].artifact, None, None)
        others = [document(), Grant("service", "p", True, False, NOW, cause="bundle"), place, Pin("acme/*", "bundle lab", NOW)]

        def broken():
            yield from entries
            raise InputError([])

        with pytest.raises(InputError):
            await index.take_in(broken())
        assert await index.held([entry.artifact.identity for entry in entries]) == frozenset()
        assert await index.take_in([*entries, *others, *entries]) == 904
        assert await index.held([*(entry.artifact.identity for entry in entries), "nothing"]) == {entry.artifact.identity for entry in entries}
        assert await index.get_document(document().key) == document()
        assert await index.get_place("pypi", "/p") == place
        assert (await index.get_grant("service", "p")).cause == "bundle"
        assert [pin.pattern for pin in await index.pins()] == ["acme/*"]

    async def test_pages_are_found_by_target_and_by_digest(self, index):
        """Every page is listed with its hub and target under a key that tells scope and variant to who guesses them; its bytes are found by digest."""
        stored = document(key=DocumentKey("pypi", "/simple/x/", "service", "head"))
        await index.put_document(stored)
        listed = [row async for batch in index.document_targets() for row in batch]
        assert listed == [(document_key(stored.key), "pypi", "/simple/x/")]
        assert document_key(replace(stored.key, scope="")) != listed[0][0]
        assert await index.bodies([stored.digest.hex, "0" * 64]) == {stored.digest.hex: stored.body}

    # --- grants, places -----------------------------------------------------------------------------------------------

    async def test_grants_are_per_credential(self, index):
        """What one credential was told is never the answer for another, nor for none, nor for another project."""
        yes = Grant("f1", "huggingface:model:6f00", True, False, NOW)
        no = Grant("", "huggingface:model:6f00", False, False, NOW, 401, "GatedRepo", "Access to é is restricted", "gated")
        await index.put_grant(yes)
        await index.put_grant(no)
        assert await index.get_grant("f1", yes.project) == yes
        assert await index.get_grant("", yes.project) == no
        assert await index.get_grant("f2", yes.project) is None
        assert await index.get_grant("f1", "huggingface:model:6f01") is None
        await index.put_grant(replace(yes, allowed=False, status=403))
        assert (await index.get_grant("f1", yes.project)).allowed is False

    async def test_places(self, index):
        """Thousands of file paths are stored at once, replaced where they exist, and found one by one."""
        project = Project("pypi", Kind.PACKAGE, "acme-tools", "pypi")
        many = [
            Place("pypi", f"/packages/aa/{number}", Artifact(project, "1.0", f"f{number}"), Digest("sha256", "d" * 64), number,
                  f"https://files.example/{number}", NOW)
            for number in range(3000)
        ]  # fmt: skip
        await index.put_places(many)
        bare = Place("pypi", "/packages/aa/7", Artifact(project, "2.0", ODD), None, None)
        await index.put_places([bare, many[8], bare])
        await index.put_places([])
        assert await index.get_place("pypi", "/packages/aa/2999") == many[2999]
        assert await index.get_place("pypi", "/packages/aa/7") == bare
        assert await index.get_place("other", "/packages/aa/7") is None

    async def test_many_at_once(self, index):
        """A crowd that reads and writes the same rows at the same time gets whole answers and no error."""
        async def visit(number: int) -> None:
            await index.put_document(document(b"%d" % (number % 3)))
            assert (await index.get_document(document().key)).body in (b"0", b"1", b"2")
            await index.put_grant(Grant("f", str(number % 5), True, True, NOW))
            await index.put_places([Place("h", str(n), Artifact(PROJECT, "1", "p"), None, None) for n in (number % 7, number % 4)])
        await asyncio.gather(*(visit(number) for number in range(60)))
        assert index.fault == ""

    # --- events -------------------------------------------------------------------------------------------------------

    async def test_events_come_back_joined(self, index):
        """A record comes back as it was handed over, by its decision's id and by a query, and twice added is once there."""
        given = records(refused(1), Event(EventKind.STARTED, NOW, ACTOR, subject="ledger", detail=(("v", [1, None]),)))
        assert await index.last_sequence() == -1
        await index.add_events(given)
        await index.add_events(given)
        await index.add_events([])
        assert await index.query({}, 10, None) == given[::-1]
        assert await index.find_decision(decision(1).id) == given[0]
        assert await index.find_decision("no such id") is None
        assert await index.last_sequence() == 1

    async def test_erased_events_come_back_with_nulls(self, index):
        """A record whose personal part is gone is indexed without it."""
        made = seal(prepare(refused(1), bytes(16)), 0, GENESIS)
        await index.add_events([display(json.loads(made.line), None)])
        found = (await index.query({"rule": "origin-cn"}, 1, None))[0]
        assert (found["actor"]["name"], found["decision"]["request"]["user_agent"]) == (None, None)

    @pytest.fixture
    async def filled(self, index):
        globex = Facts(publisher=Fact(Publisher("globex", "Globex", "company"), "catalogue"))
        other = replace(ACTOR, name="u:other", groups=("lab", "research"), country="DE")
        pypi = Project("pypi", Kind.PACKAGE, "globex-tools", "pypi")
        warned = Verdict(Effect.WARN, Effect.WARN, (replace(RULE, id="licence", effect=Effect.WARN),), "")
        made = records(
            refused(0),
            allowed(1, actor=other, facts=globex, project=pypi, path="globex_tools-1.0.tar.gz"),
            Event(EventKind.ALLOWED, NOW, other, decision(2, verdict=warned, actor=other)),
            Event(EventKind.REPEATED, NOW, ACTOR, subject=decision(0).id, count=5),
            Event(EventKind.WRITE_REFUSED, NOW, other, subject="pkg:pypi/globex-tools"),
            aged(refused(5, path="later.bin"), 10),
            aged(allowed(6), 20),
        )
        await index.add_events(made[:3])
        await index.add_events(made[3:])
        return index

    @pytest.mark.parametrize(
        ("where", "expected"),
        [
            ({}, [6, 5, 4, 3, 2, 1, 0]),
            ({"actor": "u:other"}, [4, 2, 1]),
            ({"group": "research"}, [4, 2, 1]),
            ({"group": "research", "kind": "allowed"}, [2, 1]),
            ({"publisher": "acme"}, [6, 5, 3, 2, 0]),
            ({"publisher": "globex"}, [1]),
            ({"country": "DE", "effect": "warn"}, [2]),
            ({"rule": "origin-cn"}, [5, 3, 0]),
            ({"rule": "licence"}, [2]),
            ({"list": "house"}, [5, 3, 0]),
            ({"ancestor": "acme/solid-7b"}, [6, 5, 3, 2, 0]),
            ({"ancestor": "pkg:huggingface/Acme/Solid-7B", "country": "DE"}, [2]),
            ({"ancestor": "ACME/*", "effect": "deny"}, [5, 3, 0]),
            ({"ancestor": "umbrella/*"}, []),
            ({"publisher": "", "effect": "allow"}, []),
            ({"rule": "", "kind": "allowed"}, [6, 1]),
            ({"effect": "deny"}, [5, 3, 0]),
            ({"kind": "repeated"}, [3]),
            ({"artifact": "pkg:pypi/globex-"}, [4, 1]),
            ({"artifact": "pkg:huggingface/umbrella/"}, [6, 5, 3, 2, 0]),
            ({"artifact": "pkg:huggingface/umbrella/", "actor": "u:other"}, [2]),
            ({"artifact": "pkg:", "rule": "origin-cn", "country": "US"}, [5, 3, 0]),
            ({"artifact": "pkg:PyPI/"}, []),
            ({"artifact": "pkg:%"}, []),
            ({"since": "2026-12-01"}, [6, 5]),
            ({"since": "2026-12-02T10:00:00.123456Z", "until": "2026-12-12T10:00:00.123456+00:00"}, [5]),
            ({"until": "2026-11-22"}, []),
            ({"until": "2026-12-01", "effect": "deny"}, [3, 0]),
            ({"since": "2026-12-01", "effect": "deny", "artifact": "pkg:huggingface/umbrella"}, [5]),
            ({"actor": "nobody"}, []),
            ({"actor": "' OR 1=1 --"}, []),
        ],
    )
    async def test_questions(self, filled, where, expected):
        """Each condition, alone and together, gives exactly the events for which all hold, newest first.

        A repeat is found under what its decision is found under.
        """
        assert sequences(await filled.query(where, 100, None)) == expected

    async def test_pages(self, filled):
        """`before` continues where a page ended, without gap or overlap, for every driver of the query."""
        for where in ({}, {"rule": "origin-cn"}, {"artifact": "pkg:"}, {"artifact": "pkg:huggingface", "publisher": "acme"}):
            whole = sequences(await filled.query(where, 100, None))
            paged, before = [], None
            while page := sequences(await filled.query(where, 2, before)):
                paged += page
                before = page[-1]
            assert paged == whole

    async def test_bad_questions(self, index):
        """Unknown keys and times that are none are all named at once."""
        with pytest.raises(InputError) as caught:
            await index.query({"colour": "red", "since": "yesterday", "until": "2026-13-01", "ancestor": "pkg:npm/x"}, 1, None)
        assert [problem.place for problem in caught.value.problems] == ["colour", "since", "until", "ancestor"]

    @pytest.mark.parametrize(
        ("by", "where", "expected"),
        [
            ("day", {}, {"2026-11-22": (5, {"allowed": 2, "refused": 7}), "2026-12-02": (1, {"refused": 1}), "2026-12-12": (1, {"allowed": 1})}),
            ("day", {"rule": "origin-cn", "until": "2026-12-01"}, {"2026-11-22": (2, {"refused": 6})}),
            ("rule", {}, {"origin-cn": (3, {"refused": 7}), "": (3, {"allowed": 2, "refused": 1}), "licence": (1, {"allowed": 1})}),
            ("country", {}, {"US": (4, {"allowed": 1, "refused": 7}), "DE": (3, {"allowed": 2, "refused": 1})}),
            ("publisher", {}, {"acme": (5, {"allowed": 2, "refused": 7}), "": (1, {"refused": 1}), "globex": (1, {"allowed": 1})}),
            ("group", {"country": "DE"}, {"lab": (3, {"allowed": 2, "refused": 1}), "research": (3, {"allowed": 2, "refused": 1})}),
            ("group", {"artifact": "pkg:pypi/", "since": "2026-11-22"}, {"lab": (2, {"allowed": 1, "refused": 1}), "research": (2, {"allowed": 1, "refused": 1})}),
        ],
    )
    async def test_sums(self, filled, by, where, expected):
        """Events and requests by what people ask for: a repeat counts as its decision's answer, one of two groups under both, and nothing is lost."""
        found = await filled.summed(by, where)
        assert [(one.term, sum(one.events.values()), one.requests) for one in found] == [(term, *counts) for term, counts in expected.items()]

    async def test_forget_and_fill_again(self, filled):
        """An emptied copy is empty and can be filled again."""
        before = await filled.query({}, 100, None)
        await filled.forget_events()
        assert (await filled.last_sequence(), await filled.query({"kind": "refused"}, 9, None)) == (-1, [])
        await filled.add_events(before[::-1])
        assert await filled.query({}, 100, None) == before

    async def test_what_a_bundle_told_of_is_no_transfer_of_ours(self, index):
        """Whose word an acquisition is stays told apart: what senders had stands beside our own, and before it counts for none of ours."""
        artifact, digest = Artifact(Project("huggingface", Kind.MODEL, "acme/tiny"), "c" * 40, "config.json"), Digest("sha256", "a" * 64)
        ours = Acquisition(artifact, digest, 3, NOW + timedelta(days=9), "https://hub.example", public=True)
        theirs = [replace(ours, at=NOW - timedelta(days=3), sender=sender, bundle="lab 1") for sender in ("hq.example", "far.example")]
        made = records(*(Event(EventKind.ACQUIRED, NOW + timedelta(days=9), ACTOR, subject=str(artifact), detail=one.detail()) for one in (*theirs, theirs[0], ours, ours)))
        await index.add_events(made[:3])
        assert await index.acquired_among([(artifact, digest)]) == frozenset()
        await index.add_events(made[3:])
        assert await index.acquired_among([(artifact, digest)]) == {(str(artifact), digest)}
        assert list(await index.acquisitions([artifact])) == [*theirs, ours]

    async def test_dense_and_rare(self, index):
        """Rare conditions among thousands of events are found whichever of the plans is taken."""
        rare = replace(ACTOR, name="u:rare")
        events = [
            refused(n, actor=rare if n == 17 else ACTOR, path=f"f{n % 100:02}", verdict=ALLOW if n % 2 else VERDICT, at=NOW.astimezone(UTC))
            for n in range(5000)
        ]  # fmt: skip
        await index.add_events(records(*events))
        prefix = f"{decision(path='f17').artifact}"
        assert sequences(await index.query({"actor": "u:rare", "effect": "allow"}, 5, None)) == [17]
        assert sequences(await index.query({"effect": "deny"}, 3, None)) == [4998, 4996, 4994]
        assert sequences(await index.query({"artifact": prefix, "effect": "allow"}, 3, None)) == [4917, 4817, 4717]
        assert sequences(await index.query({"artifact": prefix, "effect": "deny"}, 3, None)) == []
        assert sequences(await index.query({"artifact": prefix, "actor": "u:rare"}, 3, None)) == [17]

    async def test_tokens(self, index):
        """Tokens come back as they were kept, the oldest first; one is revoked once, and each change is seen in the state."""
        assert (list(await index.tokens()), await index.tokens_state()) == ([], (0, 0))
        first = MirrorToken("id-1", "ci", "a" * 64, ("lab", "grüße"), "for \x00 CI", NOW, NOW + timedelta(days=1))
        second = MirrorToken("id-2", "ci", "b" * 64, (), "", NOW + timedelta(seconds=1))
        await index.put_token(second)
        await index.put_token(first)
        states = [await index.tokens_state()]
        assert list(await index.tokens()) == [replace(first, note="for \ufffd CI"), second]
        assert [await index.revoke_token(one, NOW) for one in ("id-1", "id-1", "ci")] == [True, False, False]
        states.append(await index.tokens_state())
        assert [one.revoked_at for one in await index.tokens()] == [NOW, None]
        with pytest.raises(IndexDown):
            await index.put_token(replace(second, digest="c" * 64))  # ids are unique
        assert len(await index.tokens()) == 2
        assert states[0] != states[1] == await index.tokens_state()

    async def test_findings_count_once_the_ledger_has_them(self, index):
        """A finding is kept as it was given, odd texts included, and is told apart until it is marked as recorded."""
        one = Finding("01A", "umbrella", "a" * 64, "house", "E-1", "b" * 64, "false_match", "ann", NOW, "looked \u65e5\u672c 'x'")
        other = replace(one, id="01B", at=NOW + timedelta(seconds=1), finding="true_match")
        assert await index.findings_state() == (0, 0)
        await index.put_finding(other)
        await index.put_finding(one)
        assert list(await index.findings()) == [one, other]
        assert await index.findings_state() == (2, 0)
        await index.mark_recorded("01B")
        assert await index.findings_state() == (2, 1)
        assert list(await index.findings(recorded=True)) == [other]
        assert list(await index.findings(recorded=False)) == [one]

    async def test_findings_come_back_from_the_ledger(self, index):
        """Whoever lost the database has every finding again when the ledger's records are copied; twice is once."""
        one = Finding("01A", "umbrella", "a" * 64, "house", "E-1", "b" * 64, "false_match", "ann", NOW, "looked")
        detail = tuple(sorted(detail_of(one).items()))
        event = Event(EventKind.FINDING, NOW, ACTOR, subject="umbrella", detail=detail)
        await index.add_events(records(event))
        await index.add_events(records(event))
        assert list(await index.findings(recorded=True)) == [one]

    async def test_who_was_asked_for_is_told_by_publisher_and_by_stranger(self, index):
        """Publishers by id; of strangers the owner's handle with what the newest project declared; counted since a moment."""
        known = Facts(publisher=Fact(Publisher("umbrella", "Umbrella", "company")))
        declared = Facts(names=Fact(("Globex Labs",)))
        strange = [Artifact(Project("huggingface", Kind.MODEL, name), "c" * 40, "x.bin") for name in ("globex/a", "globex/b")]
        package = Artifact(Project("pypi", Kind.PACKAGE, "initech-kit"), "1.0", "initech_kit-1.0.tar.gz")
        asked = [(allowed().decision.artifact, known), (strange[0], Facts()), (strange[1], declared), (package, declared), (strange[0], Facts())]
        events = []
        for number, (artifact, facts) in enumerate(asked):
            made = replace(allowed().decision, id=f"01K{number:023d}", artifact=artifact, facts=facts, at=NOW + timedelta(hours=number))
            events.append(replace(allowed(), decision=made, at=NOW + timedelta(hours=number)))
        await index.add_events(records(*events))
        told = {one.publisher or one.owner or one.projects[0]: one for one in await index.seen()}
        assert set(told) == {"umbrella", "globex", "initech-kit"}
        assert (told["globex"].decisions, told["globex"].names, set(told["globex"].projects)) == (3, ("globex",), {"globex/a", "globex/b"})
        assert told["initech-kit"].names == ("Globex Labs",)
        assert (told["globex"].first, told["globex"].last) == (NOW + timedelta(hours=1), NOW + timedelta(hours=4))
        later = await index.seen(NOW + timedelta(hours=4))
        assert [(one.owner, one.decisions) for one in later] == [("globex", 1)]
