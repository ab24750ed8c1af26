"""What a person reads who opens the folder of `mirror bundle bootstrap`. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime


def readme(requirements: Sequence[str], made: datetime) -> str:
    """README.md of the folder; `requirements` are the names of its requirements files."""
    choice = requirements[0] if len(requirements) == 1 else "REQUIREMENTS"
    which = (
        "" if len(requirements) == 1 else f"   (REQUIREMENTS is the one for your machine: {', '.join(requirements)})\n"
    )
    return _TEXT.format(made=f"{made:%Y-%m-%d}", choice=choice, which=which)


_TEXT = """# Entrepôt, for a place without a network

Made {made}. Everything here is a plain file. You need Python 3.11 or newer with `venv`, and a telephone.

1. **Whose key is this?** Print the fingerprint of `sender.pem`, and let the sender read theirs to you (`mirror key show`)
   over a line on which you know the voice. Nothing in this folder can vouch for itself.

       python3 -I verify_bundle.py --key sender.pem --fingerprint

   If you do not want to run a program from this medium before anything is checked, compare the key's id instead:

       openssl pkey -pubin -in sender.pem -outform DER | sha256sum

2. **Is this what was sent?** `SHA256SUMS` names every file, and the key has signed it:

       python3 -I verify_bundle.py . --key sender.pem

   The same with tools that you have:

       openssl pkeyutl -verify -pubin -inkey sender.pem -rawin -in SHA256SUMS -sigfile SHA256SUMS.sig
       sha256sum --check --quiet SHA256SUMS

3. **Install.** No index is asked; each wheel must have the digest that stands in the file.

{which}       python3 -m venv /opt/mirror
       /opt/mirror/bin/python -m pip install --no-index --find-links wheels --require-hashes -r {choice}
       /opt/mirror/bin/mirror --version

   A Python without pip takes the one that lies in `wheels/`: `python3 wheels/pip-*.whl/pip install …`, with `--target` or in
   an environment that was made with `--without-pip`.

4. **Set up.** A configuration with `network: offline`, a policy of your own to start from, and the folder `senders`, which
   `trust.verify` names. Enrol the sender, whose fingerprint you compared in step 1, by putting the card there:

       /opt/mirror/bin/mirror init --profile lab --dir /opt/mirror/etc
       cp sender.yaml /opt/mirror/etc/senders/sender.yaml

5. **Take a bundle.**

       /opt/mirror/bin/mirror bundle verify /media/BUNDLE --key sender.yaml
       /opt/mirror/bin/mirror -c /opt/mirror/etc/mirror.yaml bundle import /media/BUNDLE
       /opt/mirror/bin/mirror -c /opt/mirror/etc/mirror.yaml serve

`docs/airgap.md` tells the rest: formats, media and data diodes, recalls, receipts, and what is refused.
"""
