"""How this dialect says no: the headers without which huggingface_hub shows "check your connection" instead of the reason.

`X-Error-Code: GatedRepo` makes every client generation print `X-Error-Message`; `RevisionNotFound` alone stops the
silent fall-back to an old local copy; `X-HF-Warning` is printed to stderr by 1.4+ also where the error's text is hidden.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import re
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web

from mirror.core.accept import coding
from mirror.core.errors import (
    HostNotAllowed,
    HubSaysNo,
    IntegrityError,
    Limited,
    Malformed,
    MirrorError,
    NotHere,
    Pending,
    StoreFull,
    UpstreamError,
    UpstreamGarbage,
)
from mirror.core.http import matches
from mirror.reply.refusal import COME_BACK, come_back, one_line, problem, refuse

if TYPE_CHECKING:
    from mirror.core.decision import Verdict
    from mirror.core.errors import Refused
    from mirror.core.nouns import Project
    from mirror.reply.routing import Call

#: No header that a client shows is longer: front proxies cut or refuse larger ones.
_MAX_MESSAGE: Final = 2000
#: A page shorter than this gains nothing from compression; a longer one than that would hold up everybody meanwhile.
_SHORT: Final = 1024
_LONG: Final = 4 * 1024 * 1024
_PRIVATE: Final = {"Cache-Control": "private, no-cache", "Vary": "Authorization, Accept-Encoding"}
XET_OFF: Final = "This mirror serves files over plain HTTP only; there is no content store to go to."
BUCKETS_OFF: Final = (
    "Storage buckets are not mirrored: they have no revisions to judge and cannot be read without Xet. "
    "Use a model or dataset repository."
)
ROWS_OFF: Final = (
    "Rows of datasets are not shown by this mirror: a row does not say which file it came from, so no rule could judge it. "
    "Load the dataset's files instead."
)
_GIT: Final = ("/info/refs", "/git-upload-pack")
LFS_TYPE: Final = "application/vnd.git-lfs+json"
WRITES_OFF: Final = "This mirror takes nothing in: uploads, commits and changes must go to the hub by an approved way."
GIT_OFF: Final = "git access is not served by this mirror, because a rule could not reach into a pack."


def message_headers(message: str, topic: str, code: str = "") -> list[tuple[str, str]]:
    """The headers that carry one sentence to a person. A client prints each `topic` once."""
    text = one_line(message)[:_MAX_MESSAGE]
    headers = [("X-Error-Message", text), ("X-HF-Warning", f"{topic}; {text}")]
    return [("X-Error-Code", code), *headers] if code else headers


def topic(rule: str, project: Project) -> str:
    """A warning's topic: one per rule and repository, without the separators that the client splits at."""
    return "policy-" + re.sub(r"[^A-Za-z0-9._-]+", "-", f"{rule}-{project.name}")


def policy_refusal(call: Call, refused: Refused) -> web.Response:
    """A refusal by policy as DESIGN 6 has it."""
    decision = refused.decision
    determining = decision.verdict.determining
    rule = determining.id if determining else "default"
    code = "RevisionNotFound" if decision.verdict.recall else "GatedRepo"
    return refuse(call, decision, message_headers(decision.sentence, topic(rule, decision.artifact.project), code))


def failure(call: Call, error: MirrorError) -> web.Response:
    """Any other failure: the hub's own no is replayed; what is our trouble names upstream and fault."""
    match error:
        case HubSaysNo():
            return _hubs_no(call, error)
        case Malformed():
            return say(error.status, "Malformed request", error.message, "mirror-malformed")
        case NotHere(offline=True):
            # Not 404 EntryNotFound: a client remembers that for ever. The code makes every client show the sentence.
            text = f"{error.what} was never fetched by this mirror, and it is offline."
            return say(404, "Not here", text, "mirror-offline", "GatedRepo")
        case NotHere():
            return say(404, "Not found", f"Repository not found: {error.what}", "mirror-not-found", "RepoNotFound")
        case Limited():
            return say(429, "Too many requests", str(error), "mirror-limit", wait=error.retry_after)
        case Pending():
            return say(503, "Still being found out", str(error), "mirror-pending", wait=error.retry_after)
        case UpstreamGarbage() | HostNotAllowed():
            return say(502, "The hub's answer cannot be used", str(error), "mirror-upstream")
        case UpstreamError():
            return say(503, "The hub cannot be reached", str(error), "mirror-upstream", wait=error.retry_after or COME_BACK)
        case IntegrityError():
            return say(502, "The bytes are not what was declared", str(error), "mirror-integrity")
        case StoreFull():
            return say(503, "No room", str(error), "mirror-store", wait=30.0)
        case _:
            return say(503, "The mirror could not answer", str(error), "mirror-fault")


def say(
    status: int, title: str, message: str, about: str, code: str = "", *, wait: float | None = None, members: dict[str, Any] | None = None
) -> web.Response:
    """One sentence in every place where a client of this ecosystem looks for one."""
    headers = message_headers(message, about, code)
    if wait is not None:
        headers.append(come_back(wait))
    return problem(status, title, message, headers=headers, members=members)


def _hubs_no(call: Call, no: HubSaysNo) -> web.Response:
    """Status, code and message as the hub said them."""
    code = no.code
    plain_http = call.public_url.startswith("http://")
    if no.status == 401 and not code and no.cause != "credentials" and plain_http and call.actor.credential is None:
        # huggingface_hub recognises a codeless 401 as "repository not found" on https URLs only.
        code = "RepoNotFound"
    message = no.message or f"The hub answered {no.status}."
    headers = [("X-Error-Message", one_line(message)[:_MAX_MESSAGE])]
    if code:
        headers.append(("X-Error-Code", code))
    if no.commit:
        headers.append(("X-Repo-Commit", no.commit))
    if no.status == 401:
        headers.append(("WWW-Authenticate", 'Bearer realm="Authentication required", charset="UTF-8"'))
    headers.append(("Vary", "Authorization"))
    answer = problem(no.status, "The hub refuses", message, headers=headers)
    if call.raw_path.startswith("/api/"):
        answer.headers["Content-Type"] = "application/json; charset=utf-8"  # as the hub's own: huggingface.js reads nothing else
    return answer


def dressed(call: Call, response: web.Response) -> web.Response:
    """An error with what else the clients of its route look for.

    git prints text/plain (http.c); git-lfs prints `message`, and only from its own or plain JSON (docs/api/batch.md, "Response Errors"); registry
    clients print `errors[].message` (OCI distribution 1.1, "Error Codes"), and llama.cpp `error`, which is there.
    """
    lfs, registry, git = "/info/lfs/" in call.raw_path, call.raw_path.startswith("/v2/"), call.raw_path.endswith(_GIT)
    if not (lfs or registry or git) or not isinstance(response.body, bytes):
        return response
    if response.status == 401 and (git or lfs):
        response.headers["WWW-Authenticate"] = 'Basic realm="Authentication required"'  # libcurl offers git's credential for nothing else
    said = json.loads(response.body)
    if git:
        response.headers["Content-Type"] = "text/plain; charset=utf-8"
        response.body = f"{said['detail']}\n".encode()
        return response
    if lfs:
        said["message"] = said["detail"]
        response.headers["Content-Type"] = LFS_TYPE
    else:
        code = "UNAUTHORIZED" if response.status == 401 else "DENIED" if response.status in (403, 451) else "UNKNOWN"
        said["errors"] = [{"code": code, "message": said["detail"]}]
    response.body = json.dumps(said, ensure_ascii=False).encode()
    return response


def git_text(message: str) -> web.Response:
    """A refusal that git prints line by line as `remote: …` (http.c shows text/plain bodies only)."""
    return web.Response(status=403, text=message + "\n", content_type="text/plain", headers={"Cache-Control": "no-store"})


def json_page(call: Call, value: Any, headers: dict[str, str] | None = None, warning: tuple[str, str] | None = None) -> web.Response:
    """A page as rendered for this caller, gzip where that is taken, with an entity tag of its own; 304 where the client has it."""
    body = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
    digest = hashlib.sha256(body).hexdigest()[:40]
    coded = coding(call.request.headers.get("Accept-Encoding", ""), ("gzip",)) if _SHORT <= len(body) <= _LONG else "identity"
    # Each coding is a representation of its own, with its own entity tag (RFC 9110 section 8.8.3.3).
    etag = f'"{digest}"' if coded == "identity" else f'"{digest}-{coded}"'
    kept = {**_PRIVATE, **(headers or {}), "ETag": etag}
    kept |= told(warning)
    asked = call.request.headers.get("If-None-Match")
    if asked is not None and matches(asked, etag, weak=True):
        return web.Response(status=304, headers=kept)
    if coded == "gzip":
        body = gzip.compress(body, compresslevel=1, mtime=0)
        kept["Content-Encoding"] = "gzip"
    return web.Response(body=body, headers={**kept, "Content-Type": "application/json; charset=utf-8"})


def told(warning: tuple[str, str] | None) -> dict[str, str]:
    """The header by which a client learns of a warning's (topic, text), if there is one."""
    return {} if warning is None else {"X-HF-Warning": f"{warning[0]}; {one_line(warning[1])[:_MAX_MESSAGE]}"}


def warning_of(verdict: Verdict, project: Project) -> tuple[str, str] | None:
    """What a `warn` verdict adds to a page or file that is served."""
    determining = verdict.determining
    if determining is None or verdict.effect.word != "warn":
        return None
    return topic(determining.id, project), verdict.sentence
