"""What an audit pack says of itself to whoever opens it."""

from __future__ import annotations

from typing import Final

README: Final = """\
AN AUDIT PACK

This is what a mirror of Hugging Face and PyPI recorded in a span of time: who was given what, who was refused what, by which
rule, and on which facts. It can be checked without the mirror, without its makers and without the network:

    python3 -I verify_pack.py --key KEY

KEY is the public key of the ledger as you know it from elsewhere: from the day on which it was noted down, or from the place to
which checkpoints are sent. Its first key is enough, also after rotations. Without --key you are told which key the pack names,
and have to compare it yourself. Do not trust the program that lies here more than the pack: take verify_pack.py from where
you got the product, or read it; it is one file of Python's standard library. The exit code is 0 if everything holds; every
fault is a line that names its file.

WHAT LIES HERE

manifest.json          the span, the ledger, and size and SHA-256 of every file; `lost` names evidence that the mirror no longer had
manifest.dsse.json     the signature over it (DSSE, Ed25519), by the key of the mirror, and when it was given
records.jsonl          every record of the span, one canonical JSON line each, as it was sealed
personal.jsonl         only if it was asked for: who asked, with the salts that bind these parts to their records
checkpoint             the signed checkpoint (C2SP tlog-checkpoint) of a tree in which all these records stand
tree.json              the hashes left and right of the records, with which they make the root of that checkpoint
checkpoints.jsonl      every checkpoint that was signed in the span, and when
context.jsonl          records from outside the span on which the pages below rest, each with its path to the root: the keys,
                       the policy and the lists that were in force when the span begins, and the records beside it
keys.json              the history of the keys: made, rotated (signed by the one before), replaced (not signed)
timeline.json, .csv    which policy judged from when until when, who asked for it and who approved it; waivers, emergency denies
                       and releases; policies and lists that were turned away
lists.json, .csv       which edition of each list judged, when it came and how old it was; day by day in the CSV, at midnight UTC
outages.json           when the mirror stood still, ended without a word, could not record, or was set back
evidence.jsonl         what the records cite: pages of the hubs, policies, catalogues, rulebooks, lists, signed statements
evidence/aa/SHA-256    each of these, unpacked, under its SHA-256

HOW TO READ IT

A record with `decision` is an answer: `effect`, `rules`, `sentence`, the facts with source and confidence, and the digests of
what it was judged by. `repeated` counts further answers to the decision that it names. Where a record is nothing but `leaf`,
`prev` and `seq`, its retention had ended; its place is proven, its content is gone. That it might go is said by records that were
sealed before (`classes`: which are short-lived) and after its time (`counts`: what goes, and its sums). Times are UTC. A span takes the records
from its first moment to before its last; where the clock was set back, records between them that bear other times are in it too.

An edition's age is counted from the day on which it came (`fetched_at`), and from the date that it bears itself (`stated`). A list
can be fresher than its age says: a source that was asked and had nothing newer leaves no record.

What the pack does not show: what went past the mirror, and that the mirror told the truth about what it saw. That the end of
the ledger was not cut and made anew before the checkpoint is shown by checkpoints that were kept elsewhere: compare them.
"""
