"""The single-file verifier as it is carried: `verify_bundle.py` with what it shares written out in it."""

from __future__ import annotations

import inspect
import re
from typing import Final

from mirror.audit import verify_decision
from mirror.bundle import verify_bundle, verify_files

#: What the file is called.
NAME: Final = "verify_bundle.py"
_SHARED: Final = re.compile(r"^# \[what is shared.*?^# \[end of what is shared\]\n", re.MULTILINE | re.DOTALL)
#: What of another module goes into it: from its first heading to the next, or to the end.
_ED25519: Final = re.compile(r"^# --- Ed25519 .*?(?=^# --- )", re.MULTILINE | re.DOTALL)
_FILES: Final = re.compile(r"^# --- where the files are .*", re.MULTILINE | re.DOTALL)


def program() -> str:
    """Its text: one file of Python's standard library, 3.8 or newer."""
    found = [_ED25519.search(inspect.getsource(verify_decision)), _FILES.search(inspect.getsource(verify_files))]
    shared = [match[0].rstrip() for match in found if match is not None]
    text, count = _SHARED.subn(lambda _: "\n\n\n".join(shared) + "\n", inspect.getsource(verify_bundle))
    if len(shared) != len(found) or count != 1:
        raise RuntimeError("the verifier does not say what it shares")
    return text
