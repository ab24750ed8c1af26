"""What makes an answer inert in a browser: no script, no base, no handler, no link but to the mirror itself."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from html.parser import HTMLParser
from urllib.parse import urlsplit

#: Elements that run, load, submit or re-anchor something.
ACTIVE = frozenset(
    "script base iframe frame frameset object embed applet form input button link img svg math video audio source track portal template".split()
)
#: Attributes whose value is an address.
ADDRESSES = frozenset("href src action formaction data poster background srcset ping cite longdesc codebase xlink:href".split())
#: What a simple page and our own pages may consist of.
KNOWN = frozenset("html head meta title body h1 h2 a br main footer p pre code span table tbody tr th td style strong div".split())


class _Seen(HTMLParser):
    def __init__(self, own: str) -> None:
        super().__init__(convert_charrefs=True)
        self.own, self.wrong = own, list[str]()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in ACTIVE or tag not in KNOWN:
            self.wrong.append(f"element <{tag}>")
        for name, value in attrs:
            if name.startswith("on") or name in ("style", "srcdoc"):
                self.wrong.append(f"attribute {name} of <{tag}>")
            if name in ADDRESSES and not leads_home(value or "", self.own):
                self.wrong.append(f"{name}={value!r} of <{tag}>")
            if tag == "meta" and name == "http-equiv":
                self.wrong.append("a meta element with http-equiv")

    def handle_comment(self, data: str) -> None:
        self.wrong.append(f"a comment {data[:40]!r}")

    def handle_pi(self, data: str) -> None:
        self.wrong.append(f"an instruction {data[:40]!r}")


def leads_home(address: str, own: str) -> bool:
    """Whether a browser that follows `address` from a page of origin `own` stays there, over http(s)."""
    if any(character <= " " or character in "\\\x7f" for character in address):
        return False
    parts = urlsplit(address)
    if parts.scheme or parts.netloc:
        return f"{parts.scheme}://{parts.netloc}" == own
    return address.startswith("/") and not address.startswith("//")


def html_faults(body: bytes, own: str) -> list[str]:
    """What in an HTML page is not inert; empty where all is."""
    seen = _Seen(own)
    seen.feed(body.decode("utf-8"))
    seen.close()
    return seen.wrong


def header_faults(headers: Iterable[tuple[str, str]]) -> list[str]:
    """Header values that would be read as more than one header, or as none (RFC 9110 section 5.5)."""
    return [f"{name}: {value!r}" for name, value in headers if any(character in "\r\n\0" or ord(character) < 32 for character in value)]


def sealed(headers: Mapping[str, str]) -> list[str]:
    """What of the two headers is missing that keep a browser from running a page whatever is in it."""
    policy = headers.get("Content-Security-Policy", "")
    wrong = [] if "default-src 'none'" in policy and "script-src" not in policy else [f"Content-Security-Policy: {policy!r}"]
    return wrong if headers.get("X-Content-Type-Options") == "nosniff" else [*wrong, "no nosniff"]
