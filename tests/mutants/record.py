"""Mutants of what becomes of the record: retention and holds, personal parts, audit packs, a laboratory's record at its sender."""

from __future__ import annotations

from typing import Final

from tests.mutants.mutant import Mutant, mutant

_RETENTION: Final = "audit/test_retention.py::"
_SHORT: Final = _RETENTION + "test_what_is_short_lived"
_KEEPING: Final = "audit/test_held_keeping.py::"
_HOLDS: Final = "audit/test_holds.py::"
_PACK: Final = "audit/test_pack.py::"
_FORGED: Final = _PACK + "test_who_has_the_key_cannot_pass_off_another_history"
_HANDED: Final = _PACK + "test_a_key_hands_over_by_its_own_signature_only"
_LEAVE: Final = "audit/test_pack_removed.py::"
_CARRY: Final = "audit/test_carry.py::"
_HOSTILE: Final = _CARRY + "test_hostile_archives"
_REPLICA: Final = _CARRY + "test_verify_finds_what_became_of_a_replica"
_KEYS: Final = "trust/test_pseudonyms.py::"

RECORD: Final[tuple[Mutant, ...]] = (
    # What is short-lived, and when its time is over.
    mutant("denied-if-enforced-goes", "", "audit/retention.py", """(b'"would":"allow"},', b'"would":"warn"},')""", """(b'"would":"allow"},', b'"would":"warn"},', b'"would":"deny"},')""", _SHORT),
    mutant("matched-and-goes", "", "audit/retention.py", "if matches < 0 or line.find", "if line.find", _SHORT),
    mutant("excepted-and-goes", "", "audit/retention.py", "if matches < 0 or line.find(b',\"exception\":\"', line.rfind(b',\"rules\":[', matches)) >= 0:", "if matches < 0:", _SHORT),
    mutant("refusals-repeats-go", "", "audit/retention.py", "return self._remembered(line, LONG)", "return LONG", _RETENTION + "test_a_repeat_of_a_refusal_is_no_expired_permission"),
    mutant("across-the-border-goes", "", "audit/retention.py", "return country in (home or jurisdictions)", "return True", _SHORT),
    mutant("slow-clock-makes-old", "", "audit/retention.py", "self._latest = max(self._latest, window.at)", "self._latest = window.at", _RETENTION + "test_a_clock_that_was_slow"),
    mutant("gone-too-soon", "", "audit/retention.py", "return datetime.fromisoformat(sealed) + age <= now", "return True", _RETENTION + "test_goes_when_its_time_is_over"),
    mutant("jumping-clock-believed", "", "audit/keeping.py", "settled = looked(notebook, self._clock.now()) or sure", "looked(notebook, self._clock.now()); settled = True", _RETENTION + "test_a_clock_that_jumps"),
    mutant("jump-forgotten", "", "audit/keeping.py", "if not notebook.looked or not notebook.settled or abs(now - datetime.fromisoformat(notebook.looked)) > JUMP:", "if not notebook.looked or not notebook.settled:", _RETENTION + "test_a_clock_that_jumps"),
    mutant("gone-without-counts", "", "audit/keeping.py",
           "            await self._ledger.record_own(EventKind.COUNTS, batch.detail(self.terms.allows)).durable()\n            outcome.freed += await self._carry_out(notebook)\n",
           "            outcome.freed += await self._carry_out(notebook)\n            await self._ledger.record_own(EventKind.COUNTS, batch.detail(self.terms.allows)).durable()\n",
           _RETENTION + "test_goes_when_its_time_is_over"),
    mutant("records-before-their-parts", "", "audit/rewriting.py", "return erase_parts(current, gone) + _replaced(current.path, lambda: _stubbed(current, gone))",
           "return _replaced(current.path, lambda: _stubbed(current, gone)) + erase_parts(current, gone)", _RETENTION + "test_kill_nine_at_each_step"),
    # Whether what is gone had leave to go.
    mutant("gone-without-leave", "", "audit/account.py", "if self._wrong is not None or REMOVED not in self._of:", "if True:", _RETENTION + "test_a_record_that_is_gone_without_leave[refused]"),
    mutant("classed-twice", "", "audit/account.py", "if window.since < self._latest:", "if False:", _RETENTION + "test_classes_are_said_once"),
    mutant("refusal-called-short-lived", "", "audit/account.py", "and not self._grades.is_short(grade, window.home):", "and False:", _RETENTION + "test_a_refusal_is_not_passed_off_as_an_expired_permission"),
    mutant("counts-of-anything", "", "audit/account.py", "or any(one & ~short for", "or any(False for", _RETENTION + "test_counts_of_something_else"),
    mutant("counts-before-their-time", "", "audit/account.py", "if not is_due(sealed[number], moment, removal.allows):", "if False:", _RETENTION + "test_too_soon"),
    mutant("removed-under-a-hold", "", "audit/account.py", "if any(map(hold.covers_row, removal.rows))", "if False", _HOLDS + "test_removed_under_a_hold"),
    # Holds.
    mutant("hold-of-nobody-known", "", "audit/holds.py", 'or "" in named or', "or", _HOLDS + "test_an_unknown_publisher_is_held"),
    mutant("hold-of-an-artifact", "", "audit/holds.py", 'if self.artifact and not decision["artifact"].startswith(self.artifact):', "if self.artifact:", _HOLDS + "test_what_a_hold_keeps[scope3-2]"),
    mutant("hold-keeps-nothing", "", "audit/keeping.py", "return holds.of(record) is not None", "return False", _HOLDS + "test_what_a_hold_keeps[scope0-0]"),
    mutant("lifted-by-who-added-it", "", "audit/keeping.py", 'str(detail["by"]).casefold() == hold.by.casefold():', 'str(detail["by"]) == hold.by:', _HOLDS + "test_what_a_hold_keeps[scope0-0]"),
    mutant("erased-under-a-hold", "", "audit/erasing.py", "if (hold := holds.of(record)) is not None:", "if (hold := holds.of(record)) is not None and False:", _HOLDS + "test_erasure_is_refused"),
    mutant("expired-under-a-hold", "", "audit/erasing.py", 'keep = record["at"] >= last or holds.of(record) is not None', 'keep = record["at"] >= last', _HOLDS + "test_erasure_is_refused"),
    # Personal parts and whose pseudonyms they bear.
    mutant("erased-in-part", "", "audit/erasing.py", 'if name is None or not (name == actor or record["seq"] in sequences):', 'if name is None or record["seq"] not in sequences:', _RETENTION + "test_erasure"),
    mutant("erased-off-the-record", "", "audit/keeping.py", "            await self._ledger.record_own(EventKind.ERASED, detail).durable()\n        return", "        return", _RETENTION + "test_erasure"),
    mutant("parts-for-ever", "", "audit/erasing.py", "chosen += [] if keep else", "chosen += [] if True else", _RETENTION + "test_old_personal_parts"),
    mutant("parts-too-soon", "", "audit/erasing.py", 'keep = record["at"] >= last or', "keep =", _KEEPING + "test_personal_parts_go_one_by_one"),
    mutant("keys-under-a-hold", "", "audit/keeping.py", "if any(hold.covers_time(since, until) for hold in holds.standing.values()) or self._keys is None:", "if self._keys is None:", _KEYS + "test_destroyed_when_its_time_is_over"),
    mutant("key-in-use-is-ended", "", "trust/pseudonyms.py", "if one.until is not None and one.until <= before]", "if one.since <= before]", _KEYS + "test_destroyed_when_its_time_is_over"),
    mutant("one-key-for-ever", "", "trust/pseudonyms.py", "if not known or now - known[-1].since >= self._rotate:", "if not known:", _KEYS + "test_another_key_each_period"),
    mutant("a-part-of-a-key", "", "trust/pseudonyms.py", "if len(key) != 32 or since", "if since", _KEYS + "test_what_is_no_key"),
    mutant("keys-for-everybody", "", "trust/pseudonyms.py", "mode=0o600, replace=False", "mode=0o644, replace=False", _KEYS + "test_another_key_each_period"),
    mutant("salt-given-twice", "", "audit/salts.py", "for at in range(SALT, len(entropy), SALT)", "for at in range(0, len(entropy), SALT)", "audit/test_salts.py::test_no_salt_is_given_twice"),
    # Audit packs.
    mutant("pack-with-more", "", "audit/verify_pack.py", "for name in sorted(pack.names - set(files) - {MANIFEST, SIGNATURE}):", "for name in ():", _HOSTILE + "[a file too much]"),
    mutant("pack-of-another-manifest", "", "audit/verify_pack.py", 'if said["manifest"] != {"name": MANIFEST,', 'if False and said["manifest"] != {"name": MANIFEST,', _HOSTILE + "[another manifest]"),
    mutant("pack-files-unchecked", "", "audit/verify_pack.py", 'if {"sha256": found.hexdigest(), "size": size} != files[name]:', "if False:", _HOSTILE + "[another record]"),
    mutant("path-to-another-root", "", "audit/verify_pack.py", 'if row["path"] is not None and root_of(', "if False and root_of(", _FORGED + "[a path changed]"),
    mutant("context-without-a-path", "", "audit/verify_pack.py", 'if row["path"] is None and record["seq"] < size:', "if False:", _FORGED + "[a path left out]"),
    mutant("prev-of-another", "", "audit/verify_pack.py", 'if before and record["prev"] != before:', "if False:", _FORGED + "[a record made a stub]"),
    mutant("out-of-their-order", "", "audit/verify_pack.py", 'if record["seq"] != sequence:', "if False:", _FORGED + "[records swapped]"),
    mutant("records-of-another-root", "", "audit/verify_pack.py", "for _, one, _ in keys.statements}) != root:", "for _, one, _ in keys.statements}) != root and False:", _FORGED + "[the last record changed]"),
    mutant("span-of-other-dates", "", "audit/verify_pack.py", 'if sequence not in there or manifest["from"] <= at < manifest["to"]:', "if sequence not in there:", _PACK + "test_a_span_cut_short_is_found"),
    mutant("evidence-exchanged", "", "audit/verify_pack.py", "if hashlib.sha256(content).hexdigest() != digest:", "if False:", _PACK + "test_evidence_that_is_not_what_is_cited_is_found"),
    mutant("removed-without-leave-in-a-pack", "", "audit/verify_pack.py", "for said in walk.removed.faults():", "for said in ():", _PACK + "test_what_is_left_of_a_record_keeps_its_place"),
    mutant("checkpoint-of-other-records", "", "audit/verify_pack.py", 'if walk.roots.get(size, root) != root:\n                raise Wrong("is of other', 'if False:\n                raise Wrong("is of other', _PACK + "test_a_checkpoint_of_other_records_is_found"),
    mutant("rotated-without-the-old-key", "", "audit/verify_keys.py", '        if how == "rotated":\n            noted(detail["statement"], before)\n', "", _HANDED),
    mutant("replaced-and-trusted", "", "audit/verify_keys.py", 'if how == "rotated" and before in found', "if before in found", _HANDED),
    mutant("made-twice", "", "audit/verify_keys.py", 'if (how == "made") != (not before):', "if False:", _HANDED),
    mutant("rewritten-and-packed", "", "audit/pack.py", "if frontier.size != span.stop or frontier.root() != root(node, span.stop):", "if False:", _PACK + "test_a_history_written_anew_is_not_packed"),
    mutant("people-in-every-pack", "", "audit/pack.py", "    if wish.personal:\n", "    if True:\n", _PACK + "test_without_personal_parts_nobody_is_in_it"),
    mutant("leave-left-out", "", "audit/pack_removed.py", "    return counts | {one for", "    return {one for", _LEAVE + "test_what_was_removed_is_checked[1]"),
    mutant("classes-left-out", "", "audit/pack_removed.py", "if at < len(gone) and gone[at] < window.until:", "if False:", _LEAVE + "test_what_was_removed_is_checked[1]"),
    # A laboratory's record.
    mutant("gap-adopted", "", "audit/adoption.py", "if parcel.first > count:", "if False:", _CARRY + "test_a_gap_is_refused_and_named"),
    mutant("rewritten-and-adopted", "", "audit/adoption.py", "if seen[size] != known[size]:", "if False:", _CARRY + "test_a_laboratory_that_rewrote_its_record_is_refused"),
    mutant("left-flank-unseen", "", "audit/adoption.py", "seen = {parcel.first: edge.root().hex()}", "seen = dict[int, str]()", _CARRY + "test_the_left_flank_speaks_for_what_is_not_carried"),
    mutant("old-key-goes-on", "", "audit/adoption.py", "if key is None or not parcel.checkpoint.note.signed_by(key):", "if False:", _CARRY + "test_a_key_that_was_handed_over_signs_no_more"),
    mutant("adopted-onto-what-was-altered", "", "audit/adoption.py", "        if found.fault is not None:\n            raise InputError", "        if False:\n            raise InputError", _CARRY + "test_nothing_is_adopted_onto_what_was_altered"),
    mutant("replica-gone-unseen", "", "audit/adoption.py", "    if not folder.is_dir():\n        said", "    if False:\n        said", _REPLICA + "[gone]"),
    mutant("replica-altered-unseen", "", "audit/adoption.py", "wrong = [] if found.fault is None else", "wrong = [] if True else", _REPLICA + "[a record changed]"),
    mutant("receipt-altered-unseen", "", "audit/adoption.py", 'return "" if sha256(data).hexdigest() == digest else', 'return "" if True else', _REPLICA + "[a receipt changed]"),
    mutant("carry-names-a-path", "", "audit/adoption_parcel.py", "    if not _NAME.match(name):\n", "    if False:\n", _HOSTILE + "[a path out of the folder]"),
    mutant("carry-with-links", "", "audit/adoption_parcel.py", "if not member.isreg() or member.issparse():", "if False:", _HOSTILE + "[a symbolic link]"),
    mutant("header-bomb", "", "audit/adoption_parcel.py", "and self.size > _EXTENDED):", "and False):", _CARRY + "test_archives_that_are_cut_or_swell"),
    mutant("pack-adopted", "", "audit/adoption_parcel.py", 'if manifest.get("span") != verify_pack.BY_NUMBER:', "if False:", _CARRY + "test_a_pack_of_a_time_is_no_carry"),
    mutant("receipt-of-another-name", "", "audit/adoption_parcel.py", '.hexdigest() != digest:\n            raise _bad(source, f"{RECEIPTS}', '.hexdigest() != digest and False:\n            raise _bad(source, f"{RECEIPTS}', _CARRY + "test_who_has_the_key_cannot_pass_off_a_receipt_under_another_name"),
    mutant("carry-faults-forgiven", "", "audit/adoption_parcel.py", "        if report.faults:\n", "        if False:\n", _HOSTILE + "[a file too few]"),
    mutant("set-back-unsaid", "", "audit/carry.py", "standing.size).hex() != standing.root:", "standing.size).hex() != standing.root and False:", _CARRY + "test_a_laboratory_that_was_set_back_hears_it_at_home"),
    mutant("receipts-of-other-spans", "", "audit/carry.py", "if first < _records(data) <= stop}", "}", _CARRY + "test_what_the_laboratory_answered_is_told"),
    mutant("held-repeats-go", "", "audit/keeping.py", 'if record.get("decision") is None and record["subject"] in removed:', 'if record.get("decision") is None:', _HOLDS + "test_repeats_stay_with_their_decision"),
    mutant("hold-of-what-was-erased", "", "audit/holds.py", "if self.actor and name is not None and name not in self.actor:", "if self.actor and name not in self.actor:",
           _KEEPING + "test_a_hold_of_somebody_keeps_what_is_nobodys_any_more"),
    mutant("hold-of-ancestors", "", "audit/holds.py", ', *(str(edge.get("publisher") or "") for edge in decision["lineage"])}', "}", _KEEPING + "test_the_borders_of_a_hold[scope0-1]"),
    mutant("hold-begins-late", "", "audit/holds.py", "return (not self.since or self.since <= at) and", "return (not self.since or self.since < at) and", _KEEPING + "test_the_borders_of_a_hold[scope3-1]"),
    mutant("hold-ends-late", "", "audit/holds.py", "(not self.until or at < self.until)\n\n    def row", "(not self.until or at <= self.until)\n\n    def row", _KEEPING + "test_the_borders_of_a_hold[scope5-0]"),
    mutant("replaced-before-durable", "", "audit/rewriting.py", "            os.fsync(descriptor)\n", "            pass\n", _KEEPING + "test_files_are_replaced_by_durable_ones"),
    mutant("replacement-not-named", "", "audit/rewriting.py", "    sync_folder(path.parent)\n", "", _KEEPING + "test_files_are_replaced_by_durable_ones"),
    mutant("replacement-for-everybody", "", "audit/rewriting.py", "before.st_mode & 0o777)", "0o666)", _KEEPING + "test_files_are_replaced_by_durable_ones"),
    mutant("another-record-stubbed", "", "audit/rewriting.py", "isinstance(link, str) or link.sequence != at or", "isinstance(link, str) or", _KEEPING + "test_what_is_removed_is_the_record_that_stands_there"),
    mutant("key-not-overwritten", "", "trust/pseudonyms.py", 'os.pwrite(descriptor, b"\\0" * os.fstat(descriptor).st_size, 0)', "pass", _KEEPING + "test_a_key_that_is_destroyed_leaves_nothing"),
    mutant("key-made-twice", "", "trust/pseudonyms.py", "mode=0o600, replace=False", "mode=0o600, replace=True", _KEEPING + "test_a_key_that_is_destroyed_leaves_nothing"),
    mutant("overwritten-key-stops-all", "", "trust/pseudonyms.py", "if data and not any(data):", "if False:", _KEEPING + "test_a_key_is_destroyed_on_the_record"),
    mutant("key-gone-off-the-record", "", "audit/keeping.py",
           "                await self._ledger.record_own(EventKind.ERASED, detail).durable()\n                await asyncio.to_thread(self._keys.destroy, one.number)\n",
           "                await asyncio.to_thread(self._keys.destroy, one.number)\n                await self._ledger.record_own(EventKind.ERASED, detail).durable()\n",
           _KEEPING + "test_a_key_is_destroyed_on_the_record"),
    mutant("long-files-not-carried", "", "audit/adoption_parcel.py", "(*tarfile.SUPPORTED_TYPES, tarfile.XHDTYPE)", "tarfile.SUPPORTED_TYPES", "audit/test_held_carry.py::test_a_file_whose_size_needs_a_header_of_its_own_is_carried"),
)  # fmt: skip
