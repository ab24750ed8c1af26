"""Events in the words of SIEMs: OCSF against its published schema, ECS, CEF and syslog; and what they never hold."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest
from referencing import Registry, Resource

from mirror.audit.formats import FORMATS, as_syslog, rendered
from mirror.audit.formats.released import released
from mirror.audit.formats.times import milliseconds, moment
from mirror.audit.record import display, prepare, seal
from mirror.core.decision import Effect, Event, EventKind, Mode, RuleHit, Verdict
from tests.audit.ocsf_schema import faults
from tests.audit.samples import ACTOR, ALLOW, NOW, RULE, VERDICT, allowed, decision, refused

ROOT = Path(__file__).parents[2]
SECRET = "hf_" + "a" * 34


def shown(event: Event, sequence: int = 7, *, erased: bool = False) -> dict:
    """The record of an event as readers of the ledger see it."""
    record = seal(prepare(event, b"s" * 16), sequence, "0" * 64)
    return display(json.loads(record.line), None if erased else json.loads(record.personal)["part"])


def decided(effect: Effect, would: Effect | None = None, kind: EventKind = EventKind.REFUSED, mode: Mode = Mode.ENFORCE) -> Event:
    rule = replace(RULE, effect=effect if mode is Mode.ENFORCE else would or effect, mode=mode, legal=False)
    made = decision(1, verdict=Verdict(effect, would or effect, (rule,), "so"))
    return Event(kind, NOW, ACTOR, made)


GAP = {
    "kind": "gap", "seq": 3, "at": "2026-11-22T10:00:00.000000Z", "actor": {"name": "mirror", "address": "", "groups": [], "country": None, "country_source": ""},
    "count": 1, "subject": "ledger", "detail": {"since": 3, "until": 9, "records": 6, "why": "not in the ledger any more"},
}  # fmt: skip
OWN = [Event(kind, NOW, ACTOR, subject="x", detail=(("outcome", "active"),)) for kind in EventKind]
RECORDS = {
    "refused": shown(refused()), "erased": shown(refused(), erased=True), "allowed": shown(allowed()), "gap": GAP,
    "allowed without rules": shown(Event(EventKind.ALLOWED, NOW, ACTOR, decision(2, verdict=replace(ALLOW, would=Effect.ALLOW)))),
    "repeated": shown(Event(EventKind.REPEATED, NOW, ACTOR, subject=decision(1).id, count=12)),
    "held": shown(decided(Effect.QUARANTINE, kind=EventKind.HELD)), "review": shown(decided(Effect.REVIEW, kind=EventKind.HELD)),
    "warned": shown(decided(Effect.WARN, kind=EventKind.ALLOWED)), "steered": shown(decided(Effect.DENY, kind=EventKind.STEERED)),
    "audited": shown(decided(Effect.ALLOW, Effect.DENY, EventKind.ALLOWED, Mode.AUDIT)),
    **{f"own {event.kind}": shown(event) for event in OWN},
}  # fmt: skip


@pytest.mark.parametrize("name", RECORDS)
def test_ocsf_is_as_published(name):
    """Every kind of event is valid OCSF 1.8.0: known attributes only, required ones there, types and enumerations right."""
    assert faults(json.loads(rendered(RECORDS[name], "ocsf", "1.0"))) == []


def test_the_schema_finds_faults():
    """What the schema does not allow is found: an unknown attribute, a missing one, a wrong type, number or caption."""
    good = json.loads(rendered(RECORDS["refused"], "ocsf", "1.0"))
    for change in ({"nonsense": 1}, {"time": "now"}, {"action_id": 7}, {"action": "Allowed"}, {"type_uid": 400299}, {"src_endpoint": {"ip": "ten"}}, {"http_response": {}}):
        assert faults(good | change), change
    assert faults({key: value for key, value in good.items() if key != "severity_id"})


@pytest.mark.parametrize(
    ("name", "action", "disposition", "status", "alert"),
    [
        ("refused", 2, 2, 2, True), ("held", 2, 3, 2, True), ("review", 2, 3, 2, True), ("warned", 1, 17, 1, True),
        ("audited", 3, 17, 1, True), ("allowed without rules", 1, 1, 1, False), ("steered", 4, 99, 1, True), ("own write_refused", 2, 2, 2, False),
    ],
)  # fmt: skip
def test_what_was_done_about_it(name, action, disposition, status, alert):
    """The security-control profile says what the answer was: denied and blocked, quarantined, allowed, observed, modified."""
    event = json.loads(rendered(RECORDS[name], "ocsf", "1.0"))
    assert (event["action_id"], event["disposition_id"], event["status_id"], event["is_alert"]) == (action, disposition, status, alert)


def test_what_a_refusal_says_in_ocsf():
    """A refusal is an HTTP activity with its request, answer, client by pseudonym and country, policy, rule, and the list that matched."""
    event = json.loads(rendered(RECORDS["refused"], "ocsf", "1.0"))
    assert (event["class_uid"], event["type_uid"], event["severity_id"], event["time"]) == (4002, 400203, 4, 1795341600123)
    assert event["http_request"]["url"] == {"path": "/umbrella/solid-7b-GGUF/resolve/main/q4.gguf"}
    assert event["http_response"] == {"code": 451} and event["src_endpoint"] == {"ip": "10.8.0.9", "location": {"country": "US"}}
    assert event["actor"]["user"] == {"uid": "u:9f2c", "groups": [{"name": "dod-contract"}]}
    assert event["firewall_rule"]["uid"] == "origin-cn" and event["policy"]["uid"] == "f" * 64
    assert event["file"]["name"] == "q4.gguf" and event["file"]["size"] == 4_000_000_000 and event["confidence_score"] == 98
    assert {one["name"]: one["value"] for one in event["enrichments"]} == {"list match": "Acme Labs", "publisher": "acme"}
    assert event["metadata"]["correlation_uid"] == decision().id == json.loads(rendered(RECORDS["refused"], "native", ""))["decision"]["id"]


def test_ecs():
    """An ECS document names the decision's parts by the schema's fields, its categories and types by the schema's words."""
    event = json.loads(rendered(RECORDS["refused"], "ecs", "1.0"))
    assert event["event"] | {"reason": "", "id": ""} == {
        "kind": "alert", "module": "entrepot", "dataset": "entrepot.ledger", "provider": "entrepot", "action": "refused", "code": "refused",
        "sequence": 7, "severity": 4, "id": "", "category": ["network", "web"], "type": ["access", "denied"], "outcome": "failure", "reason": "",
    }  # fmt: skip
    assert event["rule"]["id"] == "origin-cn" and event["rule"]["ruleset"] == "f" * 64
    assert event["package"] | {"reference": ""} == {"type": "huggingface", "name": "umbrella/solid-7b-GGUF", "version": "a" * 40, "reference": ""}
    assert event["source"] == {"ip": "10.8.0.9", "geo": {"country_iso_code": "US"}} and event["user"]["id"] == "u:9f2c"
    assert event["http"]["response"]["status_code"] == 451 and event["file"] == {"path": "q4.gguf", "name": "q4.gguf"}
    assert json.loads(rendered(RECORDS["own policy"], "ecs", "1.0"))["event"]["category"] == ["configuration"]


def cef_fields(text: str) -> tuple[list[str], dict[str, str]]:
    """Header and extensions of a CEF line, read as the format's guide says."""
    head = re.split(r"(?<!\\)(?:\\\\)*\|", text, maxsplit=7)
    found = re.findall(r"(?:^|(?<= ))([A-Za-z0-9]+)=((?:\\.|[^\\=])*?)(?= [A-Za-z0-9]+=|$)", head[7])
    return head[:7], {key: re.sub(r"\\(.)", lambda one: "\n" if one[1] == "n" else one[1], value) for key, value in found}


def test_cef_escapes():
    """Bars, backslashes, equals signs and line ends of outside text come out of a CEF line as they went in, and it stays one line."""
    rule = RuleHit("origin-cn", Effect.DENY, Mode.ENFORCE, False, False, "house", "a=b | c\\d\ne suser=root")
    event = Event(EventKind.REFUSED, NOW, ACTOR, decision(1, verdict=replace(VERDICT, rules=(rule,)), path="we=ird|na\\me.bin"))
    text = rendered(shown(event), "cef", "1|0")
    head, found = cef_fields(text)
    assert "\n" not in text and head == ["CEF:0", "Entrepot", "mirror", "1\\|0", "refused", "Refused", "6"]
    assert found["reason"] == "a=b | c\\d\ne suser=root" and found["suser"] == "u:9f2c" and found["fname"] == "we=ird|na\\me.bin"
    assert (found["act"], found["outcome"], found["cs3"], found["cn2"], found["rt"]) == ("deny", "failure", "house:Acme Labs", "98", "1795341600123")


def test_syslog_structured_data():
    """An RFC 5424 message has severity, time, message id and the fields as structured data, escaped as section 6.3.3 says."""
    event = Event(EventKind.REFUSED, NOW, ACTOR, decision(1, path='a"b\\c]d.bin'))
    text = as_syslog(shown(event), "rfc5424", "1.0", NOW, "mirror.acme.example").decode()
    found = re.fullmatch(r'<(\d+)>1 (\S+) (\S+) entrepot - (\S+) \[event@32473 ((?:[a-z]+="(?:\\["\\\]]|[^"\\\]])*" ?)+)\] (.*)', text)
    assert found is not None and found.groups()[:4] == ("107", "2026-11-22T10:00:00.123456Z", "mirror.acme.example", "refused")
    values = {key: re.sub(r'\\(["\\\]])', r"\1", value) for key, value in re.findall(r'([a-z]+)="((?:\\.|[^"\\])*)"', found[5])}
    assert (values["rule"], values["seq"], values["status"], values["score"]) == ("origin-cn", "7", "451", "98")
    assert values["artifact"] == str(decision(1, path='a"b\\c]d.bin').artifact)
    assert found[6].startswith("Blocked by policy rule")


@pytest.mark.parametrize("form", FORMATS)
def test_what_no_format_holds(form):
    """No format lets out a query, a secret, the whole address of somebody permitted, a person's name in a verdict, or a float."""
    request = replace(decision().request, path=f"/a/b?download=true&token={SECRET}")
    detail = (("requested_by", "jo@acme.example"), ("approved_by", ["kim@acme.example"]), ("raw", "am9AYWNtZQ=="), ("reason", f"uses {SECRET}"))
    events = [allowed(3, request=request), refused(3, request=request), Event(EventKind.WAIVER, NOW, ACTOR, subject="W-1", detail=detail)]
    for event in events:
        record = shown(event)
        text = as_syslog(record, form, "1.0", NOW, "h").decode() + ("" if form == "rfc5424" else rendered(record, form, "1.0"))
        for hidden in ("download=", "hf_a", "jo@", "kim@", "am9A"):
            assert hidden not in text, (event.kind, hidden)
        assert ("10.8.0.9" in text) == (event.kind is EventKind.REFUSED)
        assert "\n" not in text
        if form not in ("rfc5424", "cef"):
            json.loads(rendered(record, form, "1.0"), parse_float=lambda number: pytest.fail(number))


def test_native_is_the_ledgers_own_record():
    """The native format is a record by the ledger's published schema, its leaf and sequence as in the ledger."""
    schema = {name: json.loads((ROOT / "docs" / "schema" / f"{name}.json").read_text(encoding="utf-8")) for name in ("event", "decision")}
    store = {f"{name}.json": text for name, text in schema.items()}
    registry = Registry().with_resources((name, Resource.from_contents(text)) for name, text in store.items())
    for name in ("refused", "allowed", "own policy", "erased"):
        one = json.loads(rendered(RECORDS[name], "native", "1.0"))
        jsonschema.Draft202012Validator(schema["event"], registry=registry).validate(one)
        assert (one["seq"], one["leaf"]) == (RECORDS[name]["seq"], RECORDS[name]["leaf"])


def test_addresses_of_the_permitted():
    """Of an address that was permitted the network stays (24 bits of IPv4, 48 of IPv6), of one that was refused all."""
    for address, cut in (("10.8.3.9", "10.8.3.0"), ("2001:db8:1:2::9", "2001:db8:1::"), ("nonsense", "")):
        actor = replace(ACTOR, address=address)
        assert released(shown(allowed(actor=actor)))["decision"]["actor"]["address"] == cut
        assert released(shown(refused(actor=actor)))["actor"]["address"] == address
    assert milliseconds("2026-11-22T10:00:00.123456Z") == 1795341600123
    assert moment("2026-11-22T10:00:00.123456Z") == NOW
