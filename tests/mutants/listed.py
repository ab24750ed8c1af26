"""The mutants: for each guard of docs/traps.md the smallest edit that takes it away, and the test that must notice.

`old` stands exactly once in its file; `tests/traps/test_traps_table.py` sees to that, so a mutant cannot go stale unseen.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Mutant:
    """One guard taken away. `traps` are rows of docs/traps.md, `edits` are (file, old text, new text), `test` a node id of pytest."""

    name: str
    traps: str
    edits: tuple[tuple[str, str, str], ...]
    test: str


def mutant(name: str, traps: str, file: str, old: str, new: str, test: str) -> Mutant:
    """A mutant of one edit; `file` is below mirror/, `test` below tests/."""
    return Mutant(name, traps, ((f"mirror/{file}", old, new),), f"tests/{test}")


_HUB: Final = "hubs/huggingface/"
_INDEX: Final = "hubs/pypi/"
_RESOLVE: Final = "hubs/huggingface/test_resolve.py::"
_VIEWS: Final = "hubs/huggingface/test_views.py::"
_ACCESS: Final = "hubs/huggingface/test_access.py::"
_CLIENT: Final = "upstream/test_client.py::"
_TRAPS: Final = "traps/test_huggingface_traps.py::"
_WHEELS: Final = "traps/test_pypi_traps.py::"

HUGGING_FACE: Final = (
    mutant("no-commit", "HF-1", _HUB + "files.py", '        "X-Repo-Commit": page.commit,\n', "",
           _RESOLVE + "test_head_and_get_agree_and_are_whole[models-acme/tiny-bert-config.json]"),
    mutant("xet-keys-kept", "HF-2", _HUB + "rewrite.py", " if not _XET.fullmatch(key)}", "}",
           _VIEWS + "test_pages_arrive_without_xet[/api/models/acme/tiny-bert/tree/main?recursive=true]"),
    mutant("xet-token-route", "HF-2", _HUB + "routes.py", "refused.xet)", "refused.unknown)",
           "hubs/huggingface/test_refusals.py::test_xet_tokens_are_not_given"),
    mutant("any-link-relation", "HF-2 HF-7", _HUB + "rewrite.py", "relation is None or relation[1].strip().lower() not in _PAGING or not ours",
           "relation is None or not ours", "hubs/huggingface/test_rewrite.py::test_links_name_the_mirror"),
    mutant("cdn-tag-believed", "HF-3", _HUB + "documents.py", "sha256 = _hexadecimal(linked, 64)", "sha256 = _hexadecimal(linked or plain, 64)",
           _TRAPS + "test_the_tag_is_never_the_cdns"),
    mutant("head-coded", "HF-4", "upstream/client.py", 'if ask.method == "HEAD":', 'if ask.method == "NONE":', _CLIENT + "test_head_asks_for_identity"),
    mutant("stream-coded", "HF-4 1.2-03", "upstream/client.py", 'hop.headers["Accept-Encoding"] = "identity"', "pass",
           _CLIENT + "test_a_stream_is_asked_for_in_identity"),
    mutant("coded-stream-believed", "HF-4 1.2-03", "upstream/client.py", 'if codings := coded(response.headers.get("Content-Encoding")):',
           'if (codings := coded(response.headers.get("Content-Encoding"))) and False:', _CLIENT + "test_an_encoded_stream_is_garbage"),
    mutant("target-requoted", "HF-5", "upstream/client.py", "url = URL(raw, encoded=True)", "url = URL(raw)", _CLIENT + "test_the_target_arrives_byte_for_byte"),
    mutant("decoded-by-the-library", "HF-5", "upstream/client.py", "auto_decompress=False", "auto_decompress=True", _CLIENT + "test_content_codings_are_removed"),
    mutant("path-decoded", "HF-5", "web/front.py", "normal_path(request.raw_path)", "normal_path(request.path)", _RESOLVE + "test_revisions"),
    mutant("followed-by-the-library", "HF-6", "upstream/client.py", "allow_redirects=False", "allow_redirects=True",
           _CLIENT + "test_redirects_are_not_followed_unasked"),
    mutant("secret-abroad", "HF-6 HF-21", "upstream/client.py", "return _Hop(url, hop.method, abroad, hop.body, None)",
           "return _Hop(url, hop.method, abroad, hop.body, hop.secret)", _CLIENT + "test_a_credential_never_leaves_the_first_origin"),
    mutant("links-to-the-hub", "HF-7", _HUB + "rewrite.py", "kept.append(f'<{public_url}{parts.path}{query}>;", "kept.append(f'<{target}>;",
           "hubs/huggingface/test_rewrite.py::test_links_name_the_mirror"),
    mutant("any-host", "HF-7 HF-26", "web/front.py", "        except ValueError:\n            return False\n        local",
           "        except ValueError:\n            return True\n        local", _TRAPS + "test_a_host_that_is_not_ours_gets_nothing"),
    mutant("host-echoed", "HF-7", "web/front.py", "            return self.public_url\n", '            return f"{self.scheme}://{host}"\n',
           _TRAPS + "test_links_name_the_public_url_whatever_host_is_sent"),
    mutant("head-transfers", "HF-8", _HUB + "files.py", "            if call.head:\n                await hub.locate", "            if False:\n                await hub.locate",
           _RESOLVE + "test_head_starts_no_transfer"),
    mutant("a-flight-each", "HF-8", "proxy/flights.py", "        flight = self._flights.get(key)\n        collapsed", "        flight = None\n        collapsed",
           "proxy/test_flights.py::test_many_readers_share_one_transfer"),
    mutant("held-to-the-end", "HF-8", "proxy/withhold.py", "stop = min(stop, self.withheld.start)", "stop = wanted.start",
           _TRAPS + "test_first_bytes_come_while_upstream_is_still_sending"),
    mutant("late-head", "HF-8", "proxy/flights.py", "limit = 8.0 if flight.source.size is None else 3.5", "limit = 8.0",
           _TRAPS + "test_a_cdn_that_hangs_costs_no_client_its_download"),
    mutant("reset-on-failure", "HF-9", "reply/body.py", "self.request.transport.close()  # FIN",
           'self.request.get_extra_info("socket").setsockopt(1, 13, bytes([1, 0, 0, 0, 0, 0, 0, 0])); self.request.transport.abort()  # SO_LINGER 0: RST, FIN not',
           "reply/test_body.py::test_mismatch_ends_with_fin_short_of_the_length"),
    mutant("ended-as-if-whole", "HF-9", "reply/body.py", "self.request.transport.close()  # FIN", "pass  # FIN",
           "reply/test_body.py::test_upstream_gone_in_the_middle_of_chunks"),
    mutant("digest-unchecked", "HF-10", "proxy/flight.py", "if declared is not None and found != declared:", "if False:",
           "proxy/test_flights_truth.py::test_whole_reader_never_completes_a_flipped_byte[0]"),
    Mutant("tail-not-held", "HF-10", (
        ("mirror/proxy/withhold.py", "self.withheld = Span(0, 0) if size is None else Span(max(0, size - tail), size)", "self.withheld = Span(0, 0)"),
        ("mirror/proxy/withhold.py", "self.withheld = Span(max(0, size - self._tail), size)", "self.withheld = Span(0, 0)"),
    ), "tests/proxy/test_flights_truth.py::test_something_always_stays_back"),
    mutant("asked-once", "HF-11", "proxy/flight.py", "if failures >= limit or (", "if True or (", "proxy/test_flights.py::test_expired_url_and_bursts_are_tried_again"),
    mutant("no-patience-limit", "HF-12", "upstream/client.py",
           "return self._limits.read if ask.patience == _UNSTATED else min(ask.patience, self._limits.read)", "return 3600.0", _TRAPS + "test_a_page_never_waits_longer_than_a_client"),
    mutant("bugs-dropped", "HF-13", "web/front.py", "except Exception as error:  # the outermost", "except KeyError as error:  # the outermost",
           _TRAPS + "test_a_bug_is_answered"),
    mutant("idle-closed-early", "HF-13", "web/server.py", "KEEP_ALIVE: Final = 75.0", "KEEP_ALIVE: Final = 3.0", _TRAPS + "test_an_idle_connection_outlives_the_clients"),
    mutant("no-drain", "HF-13", "wiring.py", "shutdown_timeout=DRAIN)", "shutdown_timeout=0.01)", _TRAPS + "test_a_restart_waits_for_downloads"),
    mutant("query-not-in-the-key", "HF-14", _HUB + "pages.py", "key = DocumentKey(self._options.name, target, bearer.scope, variant)",
           'key = DocumentKey(self._options.name, target.partition("?")[0], bearer.scope, variant)', _TRAPS + "test_a_query_is_part_of_a_page_and_not_of_a_file"),
    mutant("get-not-pinned", "HF-15", _HUB + "files.py", "headers | _pinned(call, page, path, revision)", "headers", _TRAPS + "test_get_follows_the_commit_that_head_saw"),
    mutant("name-inherits", "HF-16", "core/nouns.py", "{self.kind}:{self.hub_id or self.name.casefold()}", "{self.kind}:{self.name.casefold()}",
           _TRAPS + "test_a_right_ends_when_the_name_changes_hands"),
    mutant("asked-name-judged", "HF-16", _HUB + "documents.py", "project = Project(HUGGINGFACE, kind, name, hub,",
           'project = Project(HUGGINGFACE, kind, "/".join(target.split("/")[3:5]), hub,',
           "hubs/huggingface/test_refusals.py::test_no_spelling_gets_round_a_rule[/solid2/resolve/main/config.json]"),
    mutant("main-only", "HF-17", _HUB + "routes.py", '_REV: Final = r"(?P<rev>[^/]+)"', '_REV: Final = r"(?P<rev>main)"',
           "hubs/huggingface/test_refusals.py::test_no_spelling_gets_round_a_rule[/acme/tiny-bert/resolve/refs%2Fpr%2F1/config.json]"),
    mutant("right-not-checked", "HF-18", _HUB + "access.py", "        if page.gone:\n", "        if True:\n",
           _ACCESS + "test_gated_and_private_content_stays_with_its_token[/acme/gated-auto/resolve/main/weights.bin]"),
    mutant("commits-shared", "HF-18", _HUB + "pages.py", "open_to_all = not page.private and not (contents and not page.public)", "open_to_all = not page.private",
           _VIEWS + "test_commits_of_a_gated_repository"),
    mutant("no-code-on-401", "HF-19", _HUB + "replies.py", "if no.status == 401 and not code and", "if False and", _ACCESS + "test_the_hubs_no_is_replayed"),
    mutant("own-token-first", "HF-20", _HUB + "pages.py", "public, own = public_bearer(self._options), own_bearer(self._options, credential)",
           "public = own = own_bearer(self._options, credential)", _ACCESS + "test_a_stale_token_harms_no_public_download"),
    mutant("token-as-a-key", "HF-21", "reply/identify.py", 'Credential(authorization, self.fingerprint(authorization, "credential"))',
           "Credential(authorization, authorization)", _ACCESS + "test_tokens_are_nowhere_on_disk"),
    mutant("token-in-the-log", "HF-21", "log.py", "return {key: _clean(key, value, 0) for key, value in event.items()}", "return event",
           "test_log.py::test_no_credential_is_logged_wherever_it_stands"),
    mutant("any-origin-is-the-first", "HF-21", "upstream/client.py", "        if origin(url) != self._first:\n            return None\n", "",
           _CLIENT + "test_an_absolute_target_abroad_gets_no_credential"),
    mutant("xet-answer-asked-for", "HF-22", "upstream/client.py", 'headers = {"Accept": "*/*",', 'headers = {"Accept": "application/vnd.xet-fileinfo+json, */*",',
           _TRAPS + "test_accept_does_not_choose_another_body"),
    mutant("listing-of-a-branch", "HF-23", _HUB + "views.py", 'f"/tree/{page.commit}{folder}"', "f\"/tree/{call.match['rev']}{folder}\"",
           _VIEWS + "test_a_listing_is_paged_through_the_mirror"),
    mutant("misses-forgotten", "HF-24", _HUB + "access.py", 'if no.cause == "missing_entry" and', "if False and",
           _RESOLVE + "test_a_missing_file_is_the_hubs_own_answer_kept_for_ever"),
    mutant("streams-forwarded", "HF-27", _HUB + "refused.py", 'forwards = self._hub.options.unknown_routes == "forward" and', "forwards =",
           _TRAPS + "test_endless_streams_are_refused_at_once"),
    mutant("reads-by-get-only", "HF-28", _HUB + "routes.py", 'route("paths-info", "POST",', 'route("paths-info", "GET HEAD",', _VIEWS + "test_paths_info"),
    mutant("lfs-as-a-write", "HF-28", _HUB + "routes.py", "by.lfs.batch)", "refused.unknown)", _TRAPS + "test_lfs_batch_is_answered_as_lfs"),
    mutant("ranges-wait", "HF-29", "proxy/flight.py", "if self.size is None or not self._ranges or len(self._extras)", "if True or len(self._extras)",
           "proxy/test_flights.py::test_range_near_the_end_does_not_wait"),
    mutant("another-range-believed", "HF-29", "proxy/transfer.py",
           "if span.start != start or (stop is not None and span.stop > stop) or (None not in (size, total) and size != total):", "if False:",
           _TRAPS + "test_another_range_is_never_spliced_in"),
    Mutant("hub-headers-passed", "HF-30", (
        ("mirror/proxy/documents.py", '"content-type", "etag",', '"ratelimit", "x-cache", "content-type", "etag",'),
        ("mirror/hubs/huggingface/hub.py", 'return ({"Link": links} if links else {})',
         'return {k: v for k, v in document.headers if k in ("ratelimit", "x-cache")} | ({"Link": links} if links else {})'),
    ), "tests/traps/test_huggingface_traps.py::test_no_answer_carries_upstreams_own_headers[/api/models/acme/tiny-bert/refs-200]"),
    mutant("quota-replayed", "HF-30", "upstream/client.py", "if status != 429 and status < 500:", "if status < 500:",
           _TRAPS + "test_a_quota_that_is_used_up_is_ours_to_wait_for"),
)  # fmt: skip

_SERVED: Final = "hubs/pypi/test_served.py::"
_PAGES: Final = "hubs/pypi/test_pages.py::"
PYPI: Final = (
    mutant("ties-go-to-json", "1.2-01", _INDEX + "negotiation.py", "OFFERS: Final = (HTML, HTML_V1, JSON_V1)", "OFFERS: Final = (JSON_V1, HTML_V1, HTML)",
           "hubs/pypi/test_negotiation.py::test_pages_are_negotiated_as_pypi_does"),
    mutant("forms-mixed", "1.2-01 HF-22", _INDEX + "routes.py", "judgement.edition, form, base)", "judgement.edition, base)",
           _WHEELS + "test_both_forms_of_a_page_are_kept_apart"),
    mutant("coding-not-asked-for", "1.2-02", _INDEX + "negotiation.py",
           'return best if qualities[best] > 0 and qualities[best] >= weights.get("identity", 0.0) else "identity"', "return best",
           "hubs/pypi/test_negotiation.py::test_codings_are_negotiated"),
    mutant("ranges-not-announced", "1.2-04", _INDEX + "routes.py", ', ("Accept-Ranges", "bytes")]', "]",
           _WHEELS + "test_a_wheel_without_metadata_can_be_read_in_parts"),
    mutant("metadata-everywhere", "1.2-04", _INDEX + "documents.py", "has_metadata=metadata is not None,", "has_metadata=True,",
           _PAGES + "test_metadata_is_advertised_only_where_upstream_has_it"),
    mutant("pages-reusable", "1.2-05", _INDEX + "routes.py", '"Cache-Control": "private, no-cache",\n            "Vary"',
           '"Cache-Control": "max-age=600, public",\n            "Vary"', _SERVED + "test_pages_must_be_asked_for_each_time"),
    mutant("edition-forgotten", "1.2-05", _INDEX + "routes.py", "sheet.edition, judgement.edition, form,", "sheet.document.digest.hex, form,",
           _SERVED + "test_a_changed_policy_changes_the_page"),
    mutant("wheel-unchecked", "1.2-06", _INDEX + "hub.py", "declared = file.metadata if metadata else file.sha256",
           "declared = file.metadata if metadata else None", _WHEELS + "test_wrong_bytes_are_neither_served_nor_kept"),
    mutant("one-try", "1.2-07", "upstream/client.py", "_TRIES: Final = 3", "_TRIES: Final = 1", _WHEELS + "test_a_burst_of_errors_is_not_passed_on"),
    mutant("if-range-ignored", "1.2-08", "core/http.py", "if conditions.if_range is not None and not _still(", "if False and not _still(",
           _WHEELS + "test_a_cut_download_can_be_resumed_after_a_restart"),
    Mutant("relative-links-lost", "1.2-09", (
        ("mirror/hubs/pypi/anchors.py", "link = urljoin(base, href)", "link = href"),
        ("mirror/hubs/pypi/documents.py", 'url = urljoin(page, link.strip()).partition("#")[0]', 'url = link.strip().partition("#")[0]'),
    ), "tests/hubs/pypi/test_documents.py::test_html_is_read_for_what_the_peps_define"),
    mutant("spellings-served", "1.2-10", _INDEX + "routes.py", 'if raw != name or not call.match["slash"]:', "if False:",
           _SERVED + "test_other_spellings_are_sent_to_the_one"),
    mutant("agent-forgotten", "1.2-11", "reply/identify.py", 'user_agent=request.headers.get("User-Agent", "")[:500]', 'user_agent=""',
           _WHEELS + "test_the_user_agent_is_on_the_record"),
    mutant("slashes-kept", "1.2-12", "reply/routing.py", '_SLASHES.sub("/", path)', "path", "reply/test_routing.py::test_normal_path_keeps_what_was_sent"),
    mutant("every-page-an-event", "1.2-13", "proxy/gateway.py", "        if not left_out:\n            return\n        _, worst = max(left_out, key=lambda pair: pair[1].effect)",
           "        worst = max((pair[1] for pair in left_out), key=lambda verdict: verdict.effect, default=Verdict(Effect.ALLOW, Effect.ALLOW, (), ""))",
           _WHEELS + "test_a_page_that_hides_nothing_is_no_event"),
    mutant("upload-time-dropped", "1.2-14", _INDEX + "pages.py", "entry = dict(file.raw)", 'entry = {k: v for k, v in file.raw.items() if k != "upload-time"}',
           _PAGES + "test_files_point_to_the_mirror_and_nothing_else_changes"),
    mutant("refused-with-401", "1.2-15 1.3-03 1.3-08", "core/decision.py", "return 451 if self.effect is Effect.DENY and self.legal else 403", "return 401",
           _WHEELS + "test_a_refusal_is_no_status_that_clients_mistake"),
    mutant("files-elsewhere", "1.2-16", _INDEX + "pages.py", 'entry["url"] = base + quoted(file.path)', 'entry["url"] = file.url',
           _PAGES + "test_files_point_to_the_mirror_and_nothing_else_changes"),
    mutant("direct-urls-unseen", "1.2-17", _INDEX + "facts.py", "        if url:\n            found.append(url)\n", "", "hubs/pypi/test_facts.py::test_every_direct_url_is_seen"),
    mutant("metadata-unchecked", "1.2-18", _INDEX + "hub.py", "declared = file.metadata if metadata else file.sha256",
           "declared = None if metadata else file.sha256", _WHEELS + "test_wrong_bytes_are_neither_served_nor_kept"),
    mutant("index-left-open", "1.2-19", "cli/client_settings.py", '"pypi": ("pypi.org", "files.pythonhosted.org",', '"pypi": ("pypi.org",',
           "cli/test_env.py::test_the_hosts_to_close"),
    mutant("uploads-as-reads", "1.2-20", _INDEX + "routes.py", 'if method in ("GET", "HEAD", "OPTIONS"):', "if True:",
           _SERVED + "test_writes_are_refused_and_recorded"),
    mutant("absent-is-a-fault", "1.3-01 1.3-21", _INDEX + "hub.py", "        if status in (404, 410):\n            raise NotHere(what)\n", "",
           _SERVED + "test_what_is_not_there_is_404"),
    mutant("denied-page-shown", "1.3-02 1.3-04 1.3-20 1.4-02", _INDEX + "routes.py",
           'if judgement.whole and self._hub.settings.denied_project == "page":\n            await self._refuse_whole(call, sheet, judgement)\n        await self._steered',
           "if False:\n            await self._refuse_whole(call, sheet, judgement)\n        await self._steered", _WHEELS + "test_a_strict_page_stops_uv_before_the_next_index"),
    mutant("down-is-absent", "1.3-05 1.3-09 1.3-22", _INDEX + "routes.py", 'return 503, "The index cannot be reached"', 'return 404, "The index cannot be reached"',
           _WHEELS + "test_an_index_that_is_down_is_503_for_page_and_file"),
    mutant("quarantine-ignored", "1.3-06", _INDEX + "hub.py", "if page.quarantined:", "if False:", _SERVED + "test_what_upstream_quarantined_is_withheld"),
    mutant("reason-unsaid", "1.3-07 1.3-15", "reply/refusal.py", "        reason=reason_phrase(decision, url),\n", "",
           _WHEELS + "test_the_reason_phrase_is_one_short_line"),
    mutant("denied-hidden", "1.3-10 1.3-11", _INDEX + "pages.py", "for file in page.files]\n    return model", "for file in page.files if file.name not in marked]\n    return model",
           _PAGES + "test_our_mark_shows_in_both_forms"),
    mutant("denied-unmarked", "1.3-12 1.3-13 1.3-18", _INDEX + "pages.py", "        found[one.file.name] = one.sentence\n", "",
           _PAGES + "test_a_refused_sdist_leaves_its_wheel"),
    mutant("upstreams-yank-dropped", "1.3-14", _INDEX + "pages.py", "entry = dict(file.raw)", 'entry = dict(file.raw) | {"yanked": False}',
           _SERVED + "test_a_denied_version_is_yanked_with_our_reason"),
    mutant("charset-added", "1.3-16", "reply/refusal.py", 'PROBLEM: Final = "application/problem+json"', 'PROBLEM: Final = "application/problem+json; charset=utf-8"',
           _WHEELS + "test_a_refusal_is_no_status_that_clients_mistake"),
    mutant("long-reason", "1.3-17", "reply/refusal.py", "MAX_REASON: Final = 199", "MAX_REASON: Final = 1999", _WHEELS + "test_the_reason_phrase_is_one_short_line"),
    mutant("all-marked", "1.3-19", _INDEX + "pages.py", "if not refused or denied_whole(judged):", "if not refused:",
           _PAGES + "test_a_project_refused_whole_is_listed_as_it_is"),
    mutant("day-unsaid", "1.3-23", "policy/sentences.py", "return f\"available from {available.strftime('%Y-%m-%d %H:%M')} UTC\"", 'return "available later"',
           _WHEELS + "test_a_cooldown_says_until_when"),
    mutant("law-is-house-policy", "1.3-24", "core/decision.py", "return 451 if self.effect is Effect.DENY and self.legal else 403", "return 403",
           _WHEELS + "test_a_refusal_is_no_status_that_clients_mistake"),
    mutant("release-split", "1.3-25", _INDEX + "pages.py", "releases.setdefault(canonicalize_version(made.version), one.sentence)", "pass",
           _PAGES + "test_a_refused_wheel_takes_its_release_along"),
    mutant("steering-unrecorded", "1.3-26", "proxy/gateway.py", "        if not left_out:\n            return\n        _, worst", "        if True:\n            return\n        _, worst",
           _WHEELS + "test_a_page_that_hides_nothing_is_no_event"),
    mutant("yanks-mixed", "1.3-27", _INDEX + "facts.py", 'yanked=Fact(file.yanked, "simple page")', 'yanked=Fact(True, "simple page")',
           _WHEELS + "test_our_mark_is_not_upstreams_yank"),
    mutant("second-index-left", "1.4-01", "cli/client_settings.py", 'Setting("pip", "PIP_EXTRA_INDEX_URL", None,', 'Setting("pip", "PIP_EXTRA_INDEX_URL", index,',
           "cli/test_env.py::test_a_shell_reads_it"),
    mutant("path-changed", "1.4-04", _INDEX + "paths.py", "if own is not None and unquote(own.group(2)) == name:", "if False:",
           "hubs/pypi/test_paths.py::test_pypis_own_paths_are_kept"),
    mutant("private-asked-outside", "1.4-05", _INDEX + "hub.py", "return any(fnmatchcase(project,", "return False and any(fnmatchcase(project,",
           _SERVED + "test_private_names_never_reach_the_public_index"),
    mutant("lock-urls-unknown", "1.4-06", _INDEX + "routes.py", "[wanted.project] if wanted.project else _projects(wanted.name)", "[wanted.project] if wanted.project else []",
           _SERVED + "test_a_lock_files_url_is_decided_without_any_page"),
    mutant("hints-only", "1.4-07", "policy/catalogue.py", "return self._projects.get(name) or self._hinted(name)", "return self._hinted(name)",
           _WHEELS + "test_a_name_is_no_evidence_of_its_publisher"),
    mutant("base-of-a-stranger", "1.4-08", _INDEX + "anchors.py", "return base if (here.scheme, here.netloc) == (there.scheme, there.netloc) else url", "return base",
           "hubs/pypi/test_documents.py::test_a_base_of_another_origin_is_ignored"),
)  # fmt: skip

MUTANTS: Final = (*HUGGING_FACE, *PYPI)
