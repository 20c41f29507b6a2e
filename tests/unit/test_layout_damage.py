"""Layouts that are damaged, hostile or not there, and blobs that are not what they should be."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import pytest

from syncer import errors, manifest
from syncer.layout import Layout
from syncer.manifest import Descriptor, Manifest
from syncer.store import Chunks, TagDelete
from tests import content

DATA = content.blob("x", 600_000).data
BLOB = Descriptor("a/b", manifest.digest_of(DATA), len(DATA))
WHAT = content.manifest("a", layers=0)
MANIFEST: Manifest = manifest.parse(WHAT.data, WHAT.media_type)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A layout with one blob and one tag, `app:v1`."""
    path = tmp_path / "usb"
    store = Layout(path)
    store.put_blob("app", BLOB, lambda: nullcontext(iter((DATA,))))
    store.put_manifest("app", "v1", MANIFEST)
    return path


def file_of(path: Path, digest: str) -> Path:
    return path / "blobs" / Path(*digest.split(":"))


def flipped(data: bytes) -> bytes:
    return data[:-1] + bytes([data[-1] ^ 1])


@pytest.mark.parametrize(
    ("damage", "error"),
    [
        (flipped, errors.DigestMismatchError),
        (lambda data: data[:-1], errors.SizeMismatchError),
        (lambda data: data + b"x", errors.SizeMismatchError),
        (lambda _: b"", errors.SizeMismatchError),
    ],
)
def test_a_damaged_blob_is_never_handed_out_whole_and_healed_by_the_next_put(
    path: Path, damage: Callable[[bytes], bytes], error: type[errors.SyncerError]
) -> None:
    file_of(path, BLOB.digest).write_bytes(damage(DATA))
    store, got = Layout(path), list[int]()
    with store.open_blob("app", BLOB) as chunks, pytest.raises(error, match=BLOB.digest):
        got.extend(map(len, chunks))
    assert sum(got) < BLOB.size
    assert store.put_blob("app", BLOB, lambda: nullcontext(iter((DATA,)))) == "copied"
    assert file_of(path, BLOB.digest).read_bytes() == DATA


def test_a_blob_that_was_proven_is_looked_at_again_when_its_file_has_changed(path: Path) -> None:
    store = Layout(path)
    assert store.put_blob("app", BLOB, lambda: nullcontext(iter(()))) == "mounted"
    file_of(path, BLOB.digest).write_bytes(DATA[:5])
    assert store.put_blob("app", BLOB, lambda: nullcontext(iter((DATA,)))) == "copied"


@pytest.mark.parametrize("damage", [flipped, lambda data: data[:-1], lambda _: b"[]"])
def test_a_damaged_manifest_is_not_there_for_a_digest_and_healed_by_the_next_put(
    path: Path, damage: Callable[[bytes], bytes]
) -> None:
    file_of(path, WHAT.digest).write_bytes(damage(WHAT.data))
    store = Layout(path)
    assert store.resolve("app", WHAT.digest) is None
    with pytest.raises(errors.DigestMismatchError):
        store.manifest("app", "v1")
    store.put_manifest("app", WHAT.digest, MANIFEST)
    assert store.manifest("app", "v1").raw == WHAT.data


def test_a_tag_whose_manifest_is_missing_is_listed_and_not_there(path: Path) -> None:
    file_of(path, WHAT.digest).unlink()
    store = Layout(path)
    assert store.tags("app") == ["v1"]
    assert store.resolve("app", "v1") is None
    with pytest.raises(errors.NotFoundError, match=f"has no {WHAT.digest}"):
        store.manifest("app", "v1")


@pytest.mark.parametrize(
    ("data", "error", "reason"),
    [
        (flipped(DATA), errors.DigestMismatchError, "its bytes have the digest"),
        (DATA[:-1], errors.SizeMismatchError, "has 599999 bytes"),
        (DATA + b"x", errors.SizeMismatchError, "has more bytes"),
    ],
)
def test_a_source_with_other_bytes_than_it_says_leaves_nothing_behind(
    tmp_path: Path, data: bytes, error: type[errors.SyncerError], reason: str
) -> None:
    path = tmp_path / "new"
    store = Layout(path)
    with pytest.raises(error, match=reason):
        store.put_blob("app", BLOB, lambda: nullcontext(iter((data[:9], data[9:]))))
    assert not store.has_blob("app", BLOB.digest)
    files = {str(file.relative_to(path)) for file in path.rglob("*") if file.is_file()}
    assert files == {".syncer.lock", "index.json", "oci-layout"}


@pytest.mark.parametrize("digest", ["sha256:../../x", "sha256:..", "../x:y", "", "sha256:AA"])
def test_no_digest_names_a_file_outside(path: Path, digest: str) -> None:
    store, blob = Layout(path), Descriptor("a/b", digest, 1)
    before = sorted(path.parent.rglob("*"))
    for use in (
        lambda: store.has_blob("app", digest),
        lambda: store.put_blob("app", blob, lambda: nullcontext(iter((b"x",)))),
        lambda: store.open_blob("app", blob).__enter__(),
    ):
        with pytest.raises(errors.InvalidManifestError, match="is no digest"):
            use()
    with pytest.raises(errors.NotFoundError):
        store.manifest("app", digest)
    assert store.resolve("app", digest) is None
    assert sorted(path.parent.rglob("*")) == before


def test_an_unknown_algorithm_is_refused_for_writing(path: Path) -> None:
    blob = Descriptor("a/b", "crc32:abcd", 1)
    with pytest.raises(errors.UnsupportedContentError, match="crc32"):
        Layout(path).put_blob("app", blob, lambda: nullcontext(iter((b"x",))))
    assert not (path / "blobs/crc32").exists()


def test_a_link_out_of_the_directory_is_not_written_through(path: Path, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (path / "blobs/sha512").symlink_to(tmp_path / "outside")
    blob = Descriptor("a/b", manifest.digest_of(b"x", "sha512"), 1)
    with pytest.raises(errors.ProtocolError, match="a link out of the layout"):
        Layout(path).put_blob("app", blob, lambda: nullcontext(iter((b"x",))))
    assert list((tmp_path / "outside").iterdir()) == []


def test_a_pipe_or_directory_in_place_of_a_blob_is_an_error_and_blocks_nobody(path: Path) -> None:
    file = file_of(path, WHAT.digest)
    file.unlink()
    os.mkfifo(file)
    with pytest.raises(errors.UnavailableError, match="not a regular file"):
        Layout(path).manifest("app", "v1")
    file.unlink()
    file.mkdir()
    with pytest.raises(errors.UnavailableError, match="Is a directory") as raised:
        Layout(path).manifest("app", "v1")
    assert not raised.value.temporary


def test_a_manifest_of_gigabytes_is_not_read(path: Path) -> None:
    os.truncate(file_of(path, WHAT.digest), 5 * 1024**3)
    with pytest.raises(errors.InvalidManifestError, match="no manifest"):
        Layout(path).manifest("app", WHAT.digest)


@pytest.mark.parametrize(
    "index",
    [
        b"",
        b"{",
        b"[]",
        b'{"manifests": [{"digest": "sha256:../../etc"}]}',
        b'{"manifests": 5}',
        b'{"mediaType": "application/x", "manifests": []}',
        b"[" * 100_000,
    ],
)
def test_an_index_that_cannot_be_read_is_one_sentence_and_is_not_overwritten(
    path: Path, index: bytes
) -> None:
    (path / "index.json").write_bytes(index)
    store = Layout(path)
    for use in (
        lambda: list(store.repositories()),
        lambda: store.tags("app"),
        lambda: store.resolve("app", "v1"),
        lambda: store.manifest("app", "v1"),
        lambda: store.referrers("app", WHAT.digest),
        lambda: store.put_manifest("app", "v2", MANIFEST),
        lambda: store.delete_tag("app", "v1"),
        lambda: store.delete_manifest("app", WHAT.digest),
    ):
        with pytest.raises(errors.InvalidManifestError, match=r"^/.*/index\.json: \S.*\S$"):
            use()
    assert (path / "index.json").read_bytes() == index


@pytest.mark.parametrize(
    ("marker", "error"),
    [
        ("{", errors.InvalidManifestError),
        ("[]", errors.UnsupportedContentError),
        (json.dumps({"imageLayoutVersion": "2.0.0"}), errors.UnsupportedContentError),
    ],
)
def test_a_layout_of_another_version_is_refused(
    path: Path, marker: str, error: type[errors.SyncerError]
) -> None:
    (path / "oci-layout").write_text(marker)
    with pytest.raises(error, match="oci-layout"):
        Layout(path).tags("app")
    with pytest.raises(error, match="oci-layout"):
        Layout(path).put_manifest("app", "v2", MANIFEST)


def test_a_directory_that_is_not_there_is_said_so_and_reading_does_not_make_it(
    tmp_path: Path,
) -> None:
    path = tmp_path / "usb"
    store = Layout(path)
    for use in (
        lambda: list(store.repositories()),
        lambda: store.tags("app"),
        lambda: store.manifest("app", "v1"),
        lambda: store.delete_tag("app", "v1"),
        lambda: store.delete_manifest("app", WHAT.digest),
    ):
        with pytest.raises(errors.NotFoundError, match=f"^{path} is not there: it should be"):
            use()
    with pytest.raises(errors.NotFoundError), store.open_blob("app", BLOB):
        pass
    assert store.resolve("app", "v1") is None
    assert store.resolve("app", WHAT.digest) is None
    assert not store.has_blob("app", BLOB.digest)
    assert store.referrers("app", WHAT.digest) == []
    assert store.probe("app").tag_delete is TagDelete.NONE
    assert not path.exists()


def test_a_directory_that_is_no_layout_is_not_read_and_becomes_one_by_writing(
    tmp_path: Path,
) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    store = Layout(tmp_path)
    with pytest.raises(errors.NotFoundError, match="is no OCI image layout"):
        store.tags("app")
    store.put_manifest("app", "v1", MANIFEST)
    assert store.tags("app") == ["v1"]
    assert (tmp_path / "notes.txt").read_text() == "mine"
    assert store.probe("app").tag_delete is TagDelete.TAG


def test_the_directory_is_made_but_not_the_one_it_is_in(tmp_path: Path) -> None:
    """The parent may be the mount point of a disk that is not there."""
    store = Layout(tmp_path / "media/usb")
    with pytest.raises(errors.NotFoundError, match=f"^{tmp_path}/media is not there: mount"):
        store.put_manifest("app", "v1", MANIFEST)
    assert not (tmp_path / "media").exists()
    (tmp_path / "media").mkdir()
    store.put_manifest("app", "v1", MANIFEST)
    assert (tmp_path / "media/usb").stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize("name", ["~nobody-has-this-name/usb", "loop/usb", "nul\0"])
def test_a_path_that_leads_nowhere_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    (tmp_path / "loop").symlink_to("loop")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(errors.UsageError, match="is no directory"):
        Layout(name)


def test_a_file_in_place_of_the_directory_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "usb").write_text("")
    store = Layout(tmp_path / "usb")
    with pytest.raises(errors.UnavailableError, match="File exists") as raised:
        store.put_manifest("app", "v1", MANIFEST)
    assert not raised.value.temporary
    assert raised.value.registry == store.name


def test_an_index_without_its_marker_keeps_its_rows_when_it_is_made_a_layout(path: Path) -> None:
    (path / "oci-layout").unlink()
    with pytest.raises(errors.NotFoundError, match="is no OCI image layout"):
        Layout(path).tags("app")
    store = Layout(path)
    store.put_manifest("app", "v2", MANIFEST)
    assert store.tags("app") == ["v1", "v2"]


def test_what_a_killed_writer_left_is_swept_and_what_a_living_one_writes_is_not(
    path: Path,
) -> None:
    (path / ".syncer-dead").write_bytes(b"half a blob")
    with (path / ".syncer-alive").open("wb") as alive:
        fcntl.flock(alive, fcntl.LOCK_EX)
        Layout(path).put_manifest("app", "v2", MANIFEST)
        assert sorted(file.name for file in path.glob(".syncer-*")) == [".syncer-alive"]


class _Flaky:
    """A source that breaks off with `error` until it is opened for the `good`th time."""

    def __init__(self, data: bytes, error: errors.SyncerError, good: int) -> None:
        self.data, self.error, self.good, self.opened = data, error, good, 0

    @contextmanager
    def __call__(self) -> Iterator[Chunks]:
        self.opened += 1
        yield self._chunks()

    def _chunks(self) -> Chunks:
        yield self.data[:10]
        if self.opened < self.good:
            raise self.error
        yield self.data[10:]


@pytest.mark.parametrize("good", [2, 3])
def test_a_source_that_breaks_off_is_opened_again(tmp_path: Path, good: int) -> None:
    store = Layout(tmp_path / "new")
    flaky = _Flaky(DATA, errors.UnavailableError("broke off"), good)
    assert store.put_blob("app", BLOB, flaky) == "copied"
    assert flaky.opened == good
    assert file_of(tmp_path / "new", BLOB.digest).read_bytes() == DATA


@pytest.mark.parametrize(
    ("error", "opened"), [(errors.UnavailableError("broke off"), 3), (errors.DeniedError("no"), 1)]
)
def test_a_source_is_not_opened_for_ever_nor_after_a_no(
    tmp_path: Path, error: errors.SyncerError, opened: int
) -> None:
    store = Layout(tmp_path / "new")
    flaky = _Flaky(DATA, error, good=9)
    with pytest.raises(type(error)):
        store.put_blob("app", BLOB, flaky)
    assert flaky.opened == opened
    assert not store.has_blob("app", BLOB.digest)
