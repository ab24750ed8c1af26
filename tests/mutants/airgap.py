"""Mutants of what crosses the air gap: the carrier, who may sign, what is exported and taken in, what was sent and received, sync."""

from __future__ import annotations

from typing import Final

from tests.mutants.mutant import Mutant, mutant

_HOSTILE: Final = "bundle/test_hostile.py::"
_CONTENTS: Final = "bundle/test_contents.py::"
_CARRIED: Final = "bundle/test_carried.py::"
_KEYS: Final = "bundle/test_carrier.py::test_keys_are_taken_in_every_form_that_people_hand_over"
_SIGNERS: Final = _HOSTILE + "test_only_who_is_trusted_can_sign"
_SEVERAL: Final = _HOSTILE + "test_several_signatures_each_count_for_themselves"
_ABOUT: Final = _HOSTILE + "test_a_statement_about_something_else_is_refused"
_SPELT: Final = _HOSTILE + "test_documents_that_are_not_as_they_are_written_are_refused"
_ARCHIVE: Final = _HOSTILE + "test_an_archive_with_something_else_in_it_is_refused"
_FOLDER: Final = _HOSTILE + "test_a_folder_with_something_else_in_it_is_refused"
_CHANGED: Final = _HOSTILE + "test_a_blob_that_changes_while_it_is_read_is_noticed"
_HELD: Final = "bundle/test_held_carrier.py::"
_ROWS: Final = "bundle/test_held_rows.py::"
_REACH: Final = _ROWS + "test_rows_by_which_a_bundle_would_reach_too_far_are_named"
_ONCE: Final = _ROWS + "test_a_bundle_comes_in_once_and_in_its_turn"
_WRITING: Final = "bundle/test_held_writing.py::"
_TAKEN: Final = _WRITING + "test_what_is_taken_into_the_store_is_durable_before_it_is_named"
_INCOMING: Final = "bundle/test_held_incoming.py::"
_AGREE: Final = _INCOMING + "test_rows_and_parts_agree"
_LISTS: Final = _INCOMING + "test_a_list_is_no_newer_than_the_bundle_that_brings_it"
_CONTRADICTS: Final = _HELD + "test_a_statement_that_contradicts_itself_names_its_place"
_FAULTS: Final = _CONTENTS + "test_rows_that_no_index_may_hold_are_named"
_RECALLED: Final = _CARRIED + "test_a_recall_is_in_force_before_anything_else"
_POLICY: Final = _CARRIED + "test_the_receivers_own_policy_decides"
_TURN: Final = _CARRIED + "test_a_delta_is_minimal_and_in_its_turn"
_ROOM: Final = _CARRIED + "test_a_recall_comes_in_where_no_room_is_left"
_UNSOUND: Final = _CARRIED + "test_nothing_of_a_bundle_that_does_not_hold_is_taken"
_LENT: Final = _CARRIED + "test_what_the_sender_refuses_stays_out"
_BOOTSTRAP: Final = "bundle/test_laboratory.py::test_a_folder_that_was_changed_on_the_way_is_refused"
_WANTS: Final = "bundle/test_wants.py::"
_LOCKS: Final = "bundle/test_locks.py::"

CARRIER: Final = (
    mutant("statement-about-another", "", "bundle/layout.py", "if signed != here:", "if False:", _ABOUT),
    mutant("unsigned-extra-blob", "", "bundle/layout.py", "if extra := set(sizes) - known:", "if (extra := set(sizes) - known) and False:", _FOLDER),
    mutant("part-not-hashed", "", "bundle/layout.py", "if self._hashing.hexdigest() != self._part.digest.hex:", "if False:", _CHANGED),
    mutant("huge-index-read", "", "bundle/layout.py", "if self._source.sizes[name] > most:", "if False:", _HOSTILE + "test_huge_documents_are_not_read"),
    mutant("revoked-sender-taken", "", "bundle/statement.py", "if one.key in revoked:", "if False:", _SIGNERS),
    mutant("any-payload-type", "", "bundle/statement.py", "if found.kind != PAYLOAD_TYPE:", "if False:",
           _HOSTILE + "test_what_was_signed_as_something_else_is_no_statement"),
    mutant("broken-signature-passed-over", "", "bundle/statement.py", "if one.key in keys and not dsse.verifies(envelope, one, keys[one.key].public):", "if False:", _SEVERAL),
    mutant("any-name-in-archives", "", "bundle/archive.py", "if not allowed(name):", "if False:", _ARCHIVE),
    mutant("checksums-of-headers-ignored", "", "bundle/tape.py", "if _octal(block[148:156]) != _sum(block):", "if False:",
           _HOSTILE + "test_what_is_no_archive_is_said_to_be_none"),
    mutant("exchanged-volumes-taken", "", "bundle/archive.py", "if found.number != number:", "if False:",
           _HOSTILE + "test_volumes_that_are_missing_or_exchanged_are_named"),
    mutant("draft-believed", "", "bundle/folder.py", 'and file_digest(file, "sha256").hexdigest() == hexadecimal', "",
           _HOSTILE + "test_a_folder_that_was_begun_is_gone_on_with"),
    mutant("lonely-verifier-believes", "", "bundle/verify_bundle.py", "if key in keys and not ed25519_holds(keys[key], message, signature):", "if False:", _SEVERAL),
    # Who signed, and for what.
    mutant("expired-key-signs", "", "bundle/statement.py", "statement.created >= signer.until", "statement.created > signer.until", _SIGNERS),
    mutant("key-before-its-time", "", "bundle/statement.py", "(signer.since and statement.created < signer.since) or ", "", _SIGNERS),
    mutant("one-key-counts-twice", "", "bundle/statement.py", "if len(set(named)) != len(named):", "if False:", _SEVERAL),
    mutant("nobody-signed", "", "bundle/statement.py", "    if not found:\n        raise", "    if False:\n        raise", _SIGNERS),
    mutant("anybody-enrolled-sends", "", "bundle/statement.py", "for one in roll.keys.values() if ROLE in one.roles}", "for one in roll.keys.values()}", _KEYS),
    mutant("card-of-another-role", "", "bundle/senders.py", "if ROLE not in found.roles:", "if False:", _KEYS),
    mutant("revoked-card-in-a-folder", "", "bundle/statement.py", "if one.revoked is not None)", "if False)", _KEYS),
    mutant("recall-of-nothing", "", "bundle/statement.py", 'if (one.purpose == "recall") != bool(one.withdrawn):', "if False:",
           _HOSTILE + "test_all_that_is_wrong_with_a_statement_is_told_at_once"),
    mutant("contents-of-another-title", "", "bundle/layout.py", "if contents != statement.contents:", "if contents is None:", _ABOUT),
    mutant("redated-bundle", "", "bundle/layout.py", "if instant(statement.created) != self.created:", "if False:", _ABOUT),
    # What lies on the medium.
    mutant("labels-of-another", "", "bundle/layout.py", "if self._source.bundle and self._source.bundle != head.digest.hex[:32]:", "if False:",
           _HOSTILE + "test_relabelled_volumes_are_found"),
    mutant("last-bytes-before-the-digest", "", "bundle/layout.py", "        if not self._left:\n            self._demand()\n", "", _CHANGED),
    mutant("copied-unverified", "", "bundle/layout.py", "            self._left -= count\n        self._demand()\n", "            self._left -= count\n", _HELD + "test_what_changes_while_it_is_copied_is_noticed"),
    mutant("blob-named-twice", "", "bundle/oci.py", "if part.digest.hex in found:", "if False:", _SPELT),
    mutant("titles-that-collide", "", "bundle/oci.py", "if part.title.casefold() in titles:", "if part.title in titles:", _SPELT),
    mutant("title-climbs", "", "bundle/oci.py", "if not isinstance(title, str) or title != safe_title(title):", "if not isinstance(title, str):", _SPELT),
    mutant("further-keys-in-manifests", "", "bundle/oci.py", '!= data:\n        raise BundleFault(place, "is not written as', '!= data and False:\n        raise BundleFault(place, "is not written as', _SPELT),
    mutant("true-is-a-size", "", "bundle/oci.py", "or isinstance(size, bool) or", "or", _SPELT),
    mutant("manifests-without-bound", "", "bundle/oci.py", "if sum(one.size for one in named) > LARGEST_TOGETHER:", "if False:",
           _HOSTILE + "test_manifests_are_bounded_together"),
    mutant("layers-without-bound", "", "bundle/oci.py", "if held and (len(held) == MOST_LAYERS or", "if held and (", _HOSTILE + "test_many_parts_make_several_manifests"),
    mutant("file-twice-in-an-archive", "", "bundle/archive.py", "if name in self.members:", "if False:", _ARCHIVE),
    mutant("behind-the-end", "", "bundle/archive.py", 'if left > _LONGEST_END or file.read(left - BLOCK).strip(b"\\x00"):', "if left > _LONGEST_END:",
           _HOSTILE + "test_a_truncated_bundle_is_refused"),
    mutant("rest-of-another-file", "", "bundle/archive.py", "if header != Header(name, tape.REST, whole - have, have, whole):", "if header.kind != tape.REST:",
           _HOSTILE + "test_relabelled_volumes_are_found"),
    mutant("links-in-archives", "", "bundle/tape.py", "if kind not in (REGULAR, FOLDER, LABEL, REST):", "if False:", _ARCHIVE),
    mutant("packed-archives", "", "bundle/archive.py", "if packed := tape.compressed(start):", "if (packed := tape.compressed(start)) and False:",
           _HOSTILE + "test_nothing_is_unpacked"),
    mutant("links-followed", "", "bundle/folder.py", "last, os.O_RDONLY | _LINKED | os.O_NONBLOCK", "last, os.O_RDONLY | os.O_NONBLOCK", _CHANGED),
    mutant("link-for-a-folder", "", "bundle/folder.py", "if entry.name in folders and stat.S_ISDIR(found.st_mode):", "if entry.name in folders:", _FOLDER),
    mutant("stale-volumes-stay", "", "bundle/volumes.py", "stale.unlink()", "pass", _HOSTILE + "test_what_a_killed_writer_left_does_not_stay"),
    mutant("stale-blobs-stay", "", "bundle/folder.py", "if path.relative_to(self._draft).as_posix() not in self._names:", "if False:",
           _HOSTILE + "test_a_folder_that_was_begun_is_gone_on_with"),
    mutant("two-write-one-folder", "", "bundle/folder.py", "held(self._lock, target)", "pass", _HOSTILE + "test_nothing_has_the_name_of_a_bundle_that_is_none"),
    mutant("bundle-written-over", "", "bundle/layout.py", "if os.path.lexists(self._target.first):", "if False:",
           _HOSTILE + "test_nothing_has_the_name_of_a_bundle_that_is_none"),
    # The single file.
    mutant("lonely-verifier-forgives", "", "bundle/verify_bundle.py", "        if key in revoked:\n            raise", "        if False:\n            raise", _SIGNERS),
    mutant("lonely-verifier-counts-twice", "", "bundle/verify_bundle.py", "if len({key for key, _ in rows}) != len(rows):", "if False:", _SEVERAL),
    mutant("lonely-verifier-of-another", "", "bundle/verify_bundle.py", "if signed != self.manifests or", "if", _ABOUT),
    mutant("lonely-verifier-redates", "", "bundle/verify_bundle.py", 'if statement["predicate"]["created"] != self.created:', "if False:", _ABOUT),
    mutant("lonely-verifier-hashes-nothing", "", "bundle/verify_bundle.py", "if count != size or found.hexdigest() != digest:\n                raise", "if count != size:\n                raise", _FOLDER),
    mutant("lonely-verifier-lets-more-in", "", "bundle/verify_files.py", 'elif kind != "0" or not NAME.fullmatch(name) or name in self.sizes', "elif not NAME.fullmatch(name) or name in self.sizes", _HELD + "test_a_part_under_another_type_is_refused[1]"),
    mutant("lonely-verifier-follows-links", "", "bundle/verify_files.py", "elif stat.S_ISREG(mode) and NAME.fullmatch(name):", "elif NAME.fullmatch(name):", _HELD + "test_an_empty_part_is_a_file_too"),
    mutant("bootstrap-by-any-key", "", "bundle/verify_bundle.py", "if key not in revoked and ed25519_holds(keys[key], text,", "if True or ed25519_holds(keys[key], text,", _BOOTSTRAP),
    mutant("bootstrap-with-more", "", "bundle/verify_bundle.py", 'for name in sorted(there ^ {*named, "SHA256SUMS", "SHA256SUMS.sig"}):', "for name in sorted({*named} - there):", _BOOTSTRAP),
    mutant("bootstrap-not-hashed", "", "bundle/verify_bundle.py", '        if found.hexdigest() != digest:\n            raise Wrong(f"{name!a}: is damaged")', "        pass", _BOOTSTRAP),
    mutant("verified-whatever-it-is", "", "cli/bundle_verify.py", "        sys.exit(2 if isinstance(fault, Unreadable) else 1)\n", "        return\n", "bundle/test_carrier.py::test_verify_needs_nothing_but_the_key"),
    # What a statement may not say, and what no whole bundle shows.
    mutant("delta-on-itself", "", "bundle/statement.py", "if one.since is not None and one.since >= one.number:", "if one.since is not None and one.since > one.number:", _CONTRADICTS),
    mutant("needs-without-a-ground", "", "bundle/statement.py", "if one.requires and one.since is None:", "if False:", _CONTRADICTS),
    mutant("manifest-signed-twice", "", "bundle/statement.py", "if len(set(names)) != len(names):", "if False:", _CONTRADICTS),
    mutant("another-spelling-of-a-moment", "", "bundle/statement.py", "if _bytes(statement) != payload:", "if False:", _HELD + "test_a_statement_has_one_spelling"),
    mutant("document-and-part", "", "bundle/layout.py", "if both := (documents & set(self.parts)) - {oci.NOTHING_HEX}:", "if (both := (documents & set(self.parts)) - {oci.NOTHING_HEX}) and False:", _HELD + "test_what_names_its_own_documents_is_refused"),
    mutant("index-names-twice", "", "bundle/oci.py", "if len({one.digest.hex for one in named}) != len(named):", "if False:", _HELD + "test_what_names_its_own_documents_is_refused"),
    mutant("rides-in-the-padding", "", "bundle/archive.py", 'if file.read(tape.padding(size)).strip(b"\\x00"):', "if False:", _HELD + "test_the_space_between_files_is_empty"),
    mutant("lonely-padding-unseen", "", "bundle/verify_files.py", 'if file.read(padding).strip(b"\\0"):', "if False:", _HELD + "test_the_space_between_files_is_empty"),
    mutant("revoked-card-alone", "", "bundle/senders.py", "return trusted(Roll({found.id: found}))", "return trusted(Roll({found.id: found}))[0], frozenset()", _HELD + "test_a_revoked_card_by_itself_voids"),
    # What is durable, and when.
    mutant("volume-named-before-durable", "", "bundle/volumes.py", "                os.fsync(file.fileno())\n", "                pass\n", _WRITING + "test_a_bundle_is_durable_before_it_has_its_name[tar-4096]"),
    mutant("first-volume-first", "", "bundle/volumes.py", "in reversed(list(zip(self._drafts, self.places, strict=True))):", "in list(zip(self._drafts, self.places, strict=True)):", _WRITING + "test_a_bundle_is_durable_before_it_has_its_name[tar-4096]"),
    mutant("folder-named-before-durable", "", "bundle/folder.py", "sync_all(self._draft, [self._draft / name for name in self._names])", "pass", _WRITING + "test_a_bundle_is_durable_before_it_has_its_name[dir-None]"),
    mutant("sent-without-rows", "", "bundle/sent.py", "        write_whole(told, lines(rows))\n        write_whole(stated, payload)\n", "        write_whole(stated, payload)\n        write_whole(told, lines(rows))\n",
           _WRITING + "test_a_statement_is_remembered_after_its_rows"),
    mutant("taken-and-not-durable", "", "store/intake.py", "    sync_all(folder, files)  #", "    pass  #", _TAKEN),
    mutant("taken-and-not-named", "", "store/intake.py", "    sync_all(folder, sorted(folders))\n", "    pass\n", _TAKEN),
    mutant("taken-at-any-length", "", "store/intake.py", "if count != blob.size:", "if False:", _TAKEN),
)  # fmt: skip

GOODS: Final = (
    mutant("header-ends-a-line", "", "bundle/contents.py", "any(not _HEADER.fullmatch(name) or _UNSENDABLE.search(text) for", "any(not _HEADER.fullmatch(name) for", _FAULTS + "[header with a line end]"),
    mutant("page-for-a-person", "", "bundle/contents.py", 'if isinstance(row, PageRow) and row.scope not in ("", ORGANISATION):', "if False:", _FAULTS + "[scope of a person]"),
    mutant("any-digest-of-a-file", "", "bundle/contents.py", 'if isinstance(row, EntryRow) and not row.digest.startswith("sha256:"):', "if False:", _FAULTS + "[not SHA-256]"),
    mutant("a-hub-of-another-dialect", "", "bundle/contents.py", "if dialect == row.dialect]", "]", _CONTENTS + "test_hubs_are_found_by_name_then_by_dialect"),
    mutant("delta-of-everything", "", "bundle/sent.py", "fresh = (_spoken(rows, EntryRow) - stored) |", "fresh = _spoken(rows, EntryRow) |", _CONTENTS + "test_a_delta_has_what_is_new_and_counts_on_the_rest"),
    mutant("text-in-the-archive-is-a-file", "", "bundle/sent.py", "fresh = (_spoken(rows, EntryRow) - stored) |", "fresh = (_spoken(rows, EntryRow) - stored - archived) |", _CONTENTS + "test_licence_texts_go_once_and_are_no_files"),
    mutant("refused-pages-counted-on", "", "bundle/sent.py", "if not isinstance(row, PageRow) or row.about not in lost)", ")", _CONTENTS + "test_what_a_receiver_refused_it_lacks"),
    mutant("right-outlives-the-hubs-no", "", "bundle/sent.py", "replace(row, allowed=False, at=at", "replace(row, at=at", _CONTENTS + "test_rights_end_where_the_hub_ends_them"),
    mutant("receipt-tells-nothing", "", "bundle/receipt.py", 'for one in receipt.get("refused", ())]', "for one in ()]", _POLICY),
    mutant("bundle-time-goes-back", "", "bundle/signed_time.py", "if known is None or created > known:", "if True:", "bundle/test_clocks.py::test_time_is_never_before_the_newest_bundle"),
    mutant("clock-of-1970-believed", "", "bundle/signed_time.py", "now if newest is None else max(now, newest)", "now", "bundle/test_clocks.py::test_time_is_never_before_the_newest_bundle"),
    mutant("time-goes-back", "", "bundle/signed_time.py", "return found if least is None else max(found, least)", "return found", "bundle/test_clocks.py::test_time_is_never_before_the_newest_bundle"),
    mutant("clock-behind-unsaid", "", "bundle/signed_time.py", "if least is not None and least - now > _SKEW:", "if False:", "bundle/test_clocks.py::test_time_is_never_before_the_newest_bundle"),
    mutant("licence-bomb", "", "bundle/acquired.py", "if part is not None and part.size > MOST:", "if False:", _CONTENTS + "test_no_bomb_is_a_licence"),
    mutant("acquired-what-is-not-here", "", "bundle/acquired.py", "if one.artifact.identity in held and _about", "if _about", _CONTENTS + "test_how_a_file_came_is_the_word_of_whose_transfer_it_was"),
    mutant("ours-what-another-fetched", "", "bundle/acquired.py", "row.evidence, row.sender or sender, bundle", "row.evidence, row.sender, bundle", _CONTENTS + "test_how_a_file_came_is_the_word_of_whose_transfer_it_was"),
    # Taking in.
    mutant("rolled-back", "", "cli/bundle_incoming.py", "if statement.number <= last and not allow_rollback:", "if False:", _TURN),
    mutant("delta-without-its-ground", "", "cli/bundle_incoming.py", "if statement.since is not None and last < statement.since:", "if False:", _TURN),
    mutant("senders-policy-is-enough", "", "cli/bundle_incoming.py", "if not all(_denies(verdict) for _, verdict in verdicts):", "if True:", _POLICY),
    mutant("refused-and-named", "", "cli/bundle_incoming.py", "case PageRow() if row.hub in hubs:", "case PageRow() if row.hub in hubs and row.about in of:", _POLICY),
    mutant("refused-off-the-record", "", "cli/bundle_import.py", "head = await desk.record(found.events)", "head = await desk.record([])", _POLICY),
    mutant("recall-not-applied", "", "cli/bundle_import.py", "            await _recalled(config, bundle, clock, dry_run=dry_run)\n", "", _RECALLED),
    mutant("recall-not-legal", "", "bundle/recall.py", '"legal": legal}', '"legal": False}', _RECALLED),
    mutant("recall-needs-room", "", "cli/bundle_incoming.py", "if files + pages > max(0, room):", "if files + pages > room:", _ROOM),
    mutant("disk-filled-up", "", "cli/bundle_incoming.py", "if files + pages > max(0, room):", "if False:", _ROOM),
    mutant("no-turn-remembered", "", "bundle/receipt.py", "write_whole(self.path(number), receipt)", "pass", _TURN),
    # Sending.
    mutant("lent-to-everybody", "", "bundle/gather.py", "        if not page.public:\n            grant", "        if False:\n            grant", _LENT),
    mutant("gated-pages-for-everybody", "", "bundle/gather.py", '        scope = "" if page.public else ORGANISATION\n        scopes', '        scope = ""\n        scopes', "bundle/test_as_outside.py::test_every_route_is_answered_as_outside"),
    mutant("hubs-no-left-behind", "", "bundle/gather.py", "if refused is not None and not refused.allowed:", "if False:", _LENT),
    mutant("left-out-and-fine", "", "cli/bundle_outgoing.py", "for one in outcomes if not one.state.fine}", "for one in ()}", _LENT),
    mutant("export-off-the-record", "", "cli/bundle_export.py", "        await _record(config, name, made, left_out)\n", "", _LENT),
    # What is wanted.
    mutant("lock-without-digest", "", "bundle/locks.py", "        if sha256 is None:\n            self._say", "        if False:\n            self._say", _LOCKS + "test_what_is_no_lock_is_told_with_its_place"),
    mutant("lock-names-a-path", "", "bundle/locks.py", 'or not name or "/" in name:', "or not name:", _LOCKS + "test_what_is_no_lock_is_told_with_its_place"),
    mutant("lock-of-a-later-release", "", "bundle/locks.py", 'if raw["version"] != 1:', "if False:", _LOCKS + "test_what_is_no_lock_is_told_with_its_place"),
    mutant("marker-of-strangers", "", "bundle/locks.py", "if edge.of != extra or holds is None or stands is None:", "if edge.of != extra:", _LOCKS + "test_each_kind_of_lock_gives_the_same_files[uv]"),
    mutant("lacking-unsaid", "", "bundle/locks.py", "lacking.append(target.name)", "pass", _LOCKS + "test_a_package_without_a_file_for_a_target_is_told"),
    mutant("lock-believed-over-the-index", "", "bundle/packages.py", "elif file.sha256 is not None and row.sha256 not in (None, file.sha256):", "elif False:", "cli/test_sync_sources.py::test_lock_files_made_elsewhere"),
    mutant("any-option-is-meaningless", "", "bundle/requirements.py", 'return "" if option in _MEANINGLESS else', 'return "" if True else', _WANTS + "test_requirements_that_lead_past_the_mirror"),
    mutant("any-index-is-public", "", "bundle/requirements.py", 'and value.rstrip("/") == _PUBLIC:', "and value:", _WANTS + "test_requirements_that_lead_past_the_mirror"),
    mutant("resolver-led-past-the-mirror", "", "bundle/plan.py", 'if f"{parts.scheme}://{parts.netloc}" not in origins:', "if False:", _WANTS + "test_a_lock_that_leads_elsewhere_is_refused"),
    mutant("pins-of-others-dropped", "", "bundle/plan.py", "others = [reason for reason in reasons if reason != self.reason]", "others = []", _WANTS + "test_pins_of_others_stay"),
    mutant("pruned-without-knowing", "", "bundle/sync.py", "        if self._unplanned:\n", "        if False:\n", "cli/test_sync.py::test_pins_that_nobody_wants_any_more_go"),
    mutant("changed-file-appended", "", "bundle/fetch.py", "if span is None or span[0].start != self.got:", "if span is None:", "bundle/test_fetch.py::test_a_file_that_changed_begins_anew"),
    mutant("hubs-token-for-packages", "", "bundle/fetch.py", "if self._token and (hub or self._token.startswith(PREFIX)):", "if self._token:", "bundle/test_fetch.py::test_the_hubs_token_goes_to_the_hub_only"),
    mutant("locked-bytes-unchecked", "", "bundle/fetch.py", "if self.file.sha256 is not None and self._hash.hexdigest() != self.file.sha256:", "if False:", "bundle/test_fetch.py::test_wrong_bytes_are_told"),
    mutant("metadata-is-a-file-of-its-own", "", "bundle/used.py", "not artifact.path.endswith(_METADATA)", "True", _ROWS + "test_what_comes_with_a_wheel_is_not_asked_for_by_itself"),
    mutant("future-run-believed", "", "bundle/scheduled.py", "began = None if began is not None and began > now else began", "pass", "bundle/test_scheduled.py::test_when_a_list_is_due"),
    mutant("run-again-after-restart", "", "bundle/scheduled.py", '            write_whole(self._folder / f"{row.name}.json", json.dumps(ran.record()).encode())\n', "            pass\n", "bundle/test_scheduled.py::test_one_at_a_time_and_not_again_after_a_restart"),
    # What a bundle may reach for, and an import take.
    mutant("right-of-a-person", "", "bundle/contents.py", 'if isinstance(row, GrantRow) and row.credential not in ("", ORGANISATION):', "if False:", _REACH + "[a right of somebody]"),
    mutant("digest-is-a-path", "", "bundle/contents.py", 'if part.name == "sha256" and not _SHA256.fullmatch(value):', "if False:", _REACH + "[a page under no digest]"),
    mutant("list-of-any-digest", "", "bundle/contents.py", "for file in row.files if not _SHA256.fullmatch(file.sha256))", "for file in row.files if False)", _REACH + "[a list of no digest]"),
    mutant("time-without-bounds", "", "bundle/contents.py", "and value is not None and abs(value) > 2**53):", "and False):", _REACH + "[a time beyond bounds]"),
    mutant("same-number-again", "", "cli/bundle_incoming.py", "if statement.number <= last and not allow_rollback:", "if statement.number < last and not allow_rollback:", _ONCE),
    mutant("time-not-moved-on", "", "bundle/receipt.py", "        note(self._data, created)\n", "", _WRITING + "test_an_import_moves_the_time_on"),
    mutant("denied-to-some-is-denied", "", "cli/bundle_incoming.py", "if not all(_denies(verdict) for _, verdict in verdicts):", "if not any(_denies(verdict) for _, verdict in verdicts):", _INCOMING + "test_what_somebody_here_may_have_is_taken"),
    mutant("unwanted-parts-unread", "", "cli/bundle_incoming.py", "            bundle.reader.copy(part, lambda data: came(len(data)))\n", "            pass\n", _INCOMING + "test_every_part_is_verified_whether_it_is_wanted_or_not"),
    mutant("row-of-another-size", "", "cli/bundle_incoming.py", "if part is not None and part.size != row.size:", "if False:", _AGREE),
    mutant("lacking-and-taken", "", "cli/bundle_incoming.py", "            lacking.append(row.digest)\n", "            pass\n", _AGREE),
    mutant("listed-and-lacking", "", "cli/bundle_incoming.py", "for one in spoken_of(other) if not _at_hand(config, bundle, one)]", "for one in ()]", _AGREE),
    mutant("judged-without-its-pages", "", "bundle/overlay.py", "return await self._below.get_document(key) if row is None else page_of(", "return await self._below.get_document(key) if True else page_of(", _INCOMING + "test_what_somebody_here_may_have_is_taken"),
    mutant("quota-not-kept", "", "cli/bundle_incoming.py", "if files and config.store.quota is not None and used + files > config.store.quota:", "if False:", _INCOMING + "test_a_quota_is_kept_to"),
    mutant("recalled-by-a-dry-run", "", "cli/bundle_import.py", "if bundle.statement.withdrawn and not dry_run:", "if bundle.statement.withdrawn:", _INCOMING + "test_a_dry_run_takes_nothing_back"),
    mutant("recalled-twice", "", "bundle/recall.py", "    if path.exists():\n        return None\n", "", _INCOMING + "test_a_dry_run_takes_nothing_back"),
    mutant("list-of-tomorrow", "", "cli/bundle_incoming.py", "min(seen, bundle.statement.created))", "seen)", _LISTS),
    mutant("own-list-replaced", "", "cli/bundle_incoming.py", "if ours is None or ours.loader != row.loader or not fetched(ours):", "if ours is None or ours.loader != row.loader:", _LISTS),
    mutant("right-to-what-was-refused", "", "cli/bundle_incoming.py", "(not row.allowed or str(artifact_of(row.project, hubs).project) in of)", "True", _INCOMING + "test_a_right_lasts_with_what_it_is_of"),
    mutant("branch-that-moved-on", "", "bundle/gather.py", "return commit is None or commit in commits", "return True", _ROWS + "test_a_page_of_a_branch_that_moved_on_stays_behind"),
    mutant("files-that-lie-elsewhere", "", "bundle/packages.py", 'if f"{parts.scheme}://{parts.netloc}" in self._origins:', "if True:", _ROWS + "test_files_that_an_index_has_elsewhere_are_not_its_own"),
    mutant("tools-led-past-the-index", "", "bundle/bootstrap.py", 'if not name.startswith(("PIP_", "UV_"))}', "}", _ROWS + "test_wheels_come_from_the_index_that_was_named"),
)  # fmt: skip

AIRGAP: Final[tuple[Mutant, ...]] = (*CARRIER, *GOODS)
