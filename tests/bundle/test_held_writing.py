"""What is made durable, and in which order: no name before its bytes, the first volume last, rows before the statement that counts them."""

from __future__ import annotations

from datetime import UTC, datetime
from hashlib import sha256

import pytest

from mirror.bundle.contents import HubRow
from mirror.bundle.layout import Form
from mirror.bundle.receipt import ReceivedBook
from mirror.bundle.sent import SentBook
from mirror.bundle.signed_time import newest_signed
from mirror.bundle.statement import payload
from mirror.core.nouns import Blob, Digest
from mirror.store.disk import blob_path
from mirror.store.intake import Intake
from tests.bundle.carried import CREATED, Goods
from tests.bundle.test_held_carrier import GOOD
from tests.support.diskwatch import durable_before_named, watched

ROW = HubRow("hf", "huggingface", "")


@pytest.mark.parametrize(("form", "volume"), [(Form.DIRECTORY, None), (Form.TAR, None), (Form.TAR, 4096)])
def test_a_bundle_is_durable_before_it_has_its_name(tmp_path, form, volume):
    """Whatever its form, every byte of a bundle is on the disk before the name is, and its folder after; of volumes the first is named last."""
    with watched() as steps:
        place = Goods().write(tmp_path / "lab", form, volume=volume)
    named = [about.partition(" -> ")[2] for step, about in steps if step == "named"]
    if form is Form.DIRECTORY:
        [at] = [at for at, (step, _) in enumerate(steps) if step == "named"]
        files = [path for path in place.rglob("*") if path.is_file()]
        before = {about for step, about in steps[:at] if step == "synced"}
        assert {str(tmp_path / ".lab.partial" / path.relative_to(place)) for path in [*files, *(one.parent for one in files)]} <= before
    else:
        assert durable_before_named(steps) == []
        assert named == sorted((str(path) for path in tmp_path.iterdir()), reverse=True)
        assert len(named) > (3 if volume else 0)
    assert steps[-1] == ("synced", str(tmp_path))


def taken(intake: Intake, data: bytes, told: int | None = None) -> Blob:
    blob = Blob(Digest("sha256", sha256(data).hexdigest()), len(data) if told is None else told)
    intake.take(blob, lambda write: write(memoryview(data)))
    return blob


def test_what_is_taken_into_the_store_is_durable_before_it_is_named(tmp_path):
    """A file that is brought whole is on the disk before it has its name, the name after; one that came short or long has none."""
    intake = Intake(tmp_path)
    with watched() as steps:
        blobs = [taken(intake, b"one" * 1000), taken(intake, b"two")]
        intake.settle()
    assert durable_before_named([one for one in steps if "/blobs/" in one[1] or "/incoming" in one[1]]) == []
    assert all(intake.has(blob) and blob_path(tmp_path, blob.digest).stat().st_mode & 0o777 == 0o440 for blob in blobs)
    for told in (2, 4):
        with pytest.raises(ValueError, match="3 bytes came of"):
            taken(intake, b"odd", told)
    intake.settle()
    assert not blob_path(tmp_path, Digest("sha256", sha256(b"odd").hexdigest())).exists()
    intake.clear()
    assert list((tmp_path / "incoming").iterdir()) == []


def test_a_statement_is_remembered_after_its_rows(tmp_path):
    """A bundle counts as sent once its statement is there, and then its rows are: without them nobody could tell what its receiver has."""
    with watched() as steps:
        SentBook(tmp_path, "lab").put(GOOD, payload(GOOD), [ROW])
    assert [about.rpartition(".")[2] for step, about in steps if step == "named"] == ["rows", "statement"]
    assert durable_before_named(steps) == []


def test_an_import_moves_the_time_on(tmp_path):
    """With the receipt of an import the time at which its bundle was signed is kept: ages of lists are reckoned from it."""
    later = datetime(2027, 1, 1, tzinfo=UTC)
    for number, at in ((1, later), (2, CREATED)):
        ReceivedBook(tmp_path, GOOD).put(number, b"{}", at)
    assert newest_signed(tmp_path) == later
    assert ReceivedBook(tmp_path, GOOD).last == 2
