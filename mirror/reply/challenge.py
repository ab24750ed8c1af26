"""How somebody is asked for a mirror credential: 401, and never for anything else that the mirror itself decides.

Both schemes are offered, for git and browsers ask for a password only where `Basic` is among them; pip and uv go by the
status. huggingface_hub prints the sentence only beside an error code that it knows: without one it says that the repository
is not there, or that there is no connection (huggingface.md section 7).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mirror.reply.refusal import one_line, problem

if TYPE_CHECKING:
    from aiohttp import web

    from mirror.core.errors import Unidentified

_CHALLENGE: Final = 'Basic realm="mirror", charset="UTF-8", Bearer realm="mirror"'


def challenge(error: Unidentified) -> web.Response:
    """The answer to a request without a mirror credential that counts."""
    said = one_line(error.message)
    fields = (
        ("WWW-Authenticate", _CHALLENGE if error.cause == "missing" else f'{_CHALLENGE}, error="invalid_token"'),
        ("Vary", "Authorization"),
        ("X-Error-Code", "GatedRepo"),
        ("X-Error-Message", said),
    )
    title = "A mirror token is needed" if error.cause == "missing" else "This mirror token does not count"
    return problem(401, title, error.message, headers=fields, reason=said, members={"cause": error.cause})
