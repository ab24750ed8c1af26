"""Mutants of what decides who is who: matching, lineage, catalogue packs, evidence, findings, releases and approvals."""

from __future__ import annotations

from typing import Final

from tests.mutants.mutant import Mutant, mutant

_ALIKE: Final = "policy/test_matching.py::"
_SCREENED: Final = "lists/test_screening.py::"
_AHEAD: Final = "hubs/huggingface/test_ahead.py::"
_PACKS: Final = "catalogue/test_signed_packs.py::"
_RELEASED: Final = "policy/test_releases.py::"
_REFUSED_PACKS: Final = _PACKS + "test_what_is_not_sound_is_refused_and_the_old_pack_stays"

LAW: Final[tuple[Mutant, ...]] = (
    mutant("another-number-forgiven", "", "policy/words_alike.py", "if one.isdigit() or other.isdigit():", "if False:", _SCREENED + "test_a_long_number_with_another_digit_is_another_number"),
    mutant("weak-alias-accuses", "", "policy/screening.py", "yield self._numbers[row], CERTAIN, True", "yield self._numbers[row], CERTAIN, False",
           _SCREENED + "test_a_weak_alias_alone_accuses_nobody_and_confirms_into_review_only"),
    mutant("a-sold-domain-hits", "", "policy/screening.py", "            scores[number] = REVIEW\n", "            pass\n",
           _SCREENED + "test_a_domain_against_which_name_and_country_speak_is_for_review[Entirely Different-FR-8000]"),
    mutant("one-reading-is-a-hit", "", "policy/similar.py", "        return min(read, READ_ALIKE)\n", "        return read\n",
           _ALIKE + "test_one_reading_in_two_scripts_is_for_review_and_never_a_hit"),
    mutant("sounds-ruled-out", "", "policy/similar.py", "if stable == their_stable or (anchored", "if (anchored", _ALIKE + "test_bounds_rule_out_no_words_that_are_alike"),
    mutant("other-languages-ruled-out", "", "policy/similar.py", " > 0.0 or one in _MEANT or other in _MEANT", " > 0.0",
           _ALIKE + "test_a_word_that_stands_for_another_is_compared_with_it"),
    mutant("remembered-for-ever", "", "policy/remembered.py", "if len(self) >= self._most:", "if False:", _ALIKE + "test_what_is_remembered_of_words_is_bounded"),
    mutant("another-commit-is-leave", "", "hubs/huggingface/ahead.py", 'answer.status < 400 and answer.header("x-repo-commit") == page.commit else None', "answer.status < 400 else None",
           _AHEAD + "test_an_answer_about_another_commit_is_as_if_nobody_had_asked"),
    mutant("refused-and-asked-ahead", "", "hubs/huggingface/hub.py", " or self.gateway.refuses_unseen(actor, artifact):", ":",
           _AHEAD + "test_what_is_refused_by_name_is_not_asked_for_ahead"),
    mutant("comparison-is-a-parent", "", "hubs/huggingface/prose.py", ' and not _NOT.search(statement.partition("/")[0])', "",
           "hubs/huggingface/test_prose.py::test_what_only_looks_like_it"),
    mutant("comment-is-read", "", "hubs/huggingface/prose.py", 'text = _without_comments(_FRONT.sub("", body[:_READ].decode("utf-8", "replace")))',
           'text = _FRONT.sub("", body[:_READ].decode("utf-8", "replace"))', "hubs/huggingface/test_prose.py::test_what_only_looks_like_it"),
    mutant("pack-is-not-what-was-signed", "", "lists/signed.py", "if len(content) != edition.size or sha256(content).hexdigest() != edition.sha256:", "if False:", _REFUSED_PACKS),
    mutant("any-key-signs-packs", "", "lists/signed.py", "elif ROLE not in key.roles:", "elif False:", _REFUSED_PACKS),
    mutant("pack-rolled-back", "", "watch/catalogue.py", "        if number < highest:\n", "        if False:\n",
           _PACKS + "test_a_rollback_is_refused_also_after_the_pack_in_force_was_removed"),
    mutant("declared-clears", "", "policy/accounts.py", "in (ATTESTED, ORGANISATION, OWNER, MAINTAINER) else DECLARED", "in GRADE_OF else DECLARED",
           "catalogue/test_accounts.py::test_what_an_uploader_says_accuses_and_clears_nobody"),
    mutant("finding-outlives-the-entry", "", "policy/reviewed.py", "current = (found.entry_digest, found.subject_digest) == (entry.digest, subject_digest(publisher, name))", "current = True",
           "policy/test_reviewed.py::test_a_finding_counts_no_longer_when_either_side_changes"),
    mutant("release-lifts-a-denial", "", "policy/rules.py", "if effect is not self.lifts or (effect", "if (effect", _RELEASED + "test_the_denial_of_the_same_rule_is_not_lifted"),
    mutant("legal-by-one", "", "policy/amend.py", "return 2 if rule is not None and rule.legal else 1", "return 1", _RELEASED + "test_a_legal_hold_takes_two"),
    mutant("revoked-key-signs", "", "policy/approval.py", "(self.until, self.revoked) if end", "(self.until,) if end",
           "policy/test_approval.py::test_a_signature_that_must_not_be_there_voids_the_whole[a revoked key]"),
    mutant("misshaped-entry-hides-the-rest", "", "lists/packs.py", "            entries = _sound(raw, found)\n", "            entries = ()\n",
           "catalogue/test_packs.py::test_an_entry_that_cannot_be_read_hides_no_fault_of_the_others"),
)  # fmt: skip
