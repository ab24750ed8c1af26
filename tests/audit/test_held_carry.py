"""What a carry on a tape may look like that no small laboratory makes."""

from __future__ import annotations

import io
import tarfile

from tests.audit import test_carry
from tests.audit.test_carry import adopt, told

#: The laboratory that carried twice, and a sender.
made, sender = test_carry.made, test_carry.sender


def test_a_file_whose_size_needs_a_header_of_its_own_is_carried(made, sender, tmp_path):
    """A file of 8 GiB has its size in an extended header (POSIX pax): a carry with such headers is adopted like any other."""
    pack = tmp_path / "large.tar"
    with tarfile.open(made.first) as old, tarfile.open(pack, "w", format=tarfile.PAX_FORMAT) as new:
        for one in old.getmembers():
            data = old.extractfile(one).read()
            one.pax_headers = {"size": str(len(data))}
            new.addfile(one, io.BytesIO(data))
    assert b" size=" in pack.read_bytes()
    assert adopt(sender, pack, "--key", made.key, "--name", "lab", "-o", str(tmp_path / "a.json"))["stop"] == made.middle
    assert len(told(sender, "adopted")) == 1
