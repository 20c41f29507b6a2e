"""A layout as a Store: what is put is there, byte for byte, and nothing else is."""

from __future__ import annotations

import hashlib
import json
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncer import errors, events, manifest, reference
from syncer.layout import Layout
from syncer.manifest import Descriptor
from syncer.store import OpenBlob, Store, TagDelete, permits
from tests import content
from tests.content import Blob, Content

REPOSITORIES = ("prod/app", "prod/web", "")
CONTENTS = (
    content.manifest("a", layers=1),
    content.manifest("b", layers=0),
    content.manifest("c", docker=True),
    content.index(),
)


@pytest.fixture
def store(tmp_path: Path) -> Layout:
    return Layout(tmp_path / "usb")


def descriptor(blob: Blob) -> Descriptor:
    return Descriptor(blob.media_type, blob.digest, len(blob.data))


def source(*chunks: bytes) -> OpenBlob:
    return lambda: nullcontext(iter(chunks))


def put(store: Store, repository: str, target: str, what: Content) -> str:
    """Puts content with all that it needs, as a copy does: children by digest; its digest."""
    for part in what.everything():
        for blob in part.blobs:
            store.put_blob(repository, descriptor(blob), source(blob.data))
        name = target if part is what else part.digest
        store.put_manifest(repository, name, manifest.parse(part.data, part.media_type))
    return what.digest


def read(store: Store, blob: Descriptor) -> bytes:
    with store.open_blob("any", blob) as chunks:
        return b"".join(bytes(chunk) for chunk in chunks)


def rows(path: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((path / "index.json").read_bytes())["manifests"]
    return found


def file_of(path: Path, digest: str) -> Path:
    return path / "blobs" / Path(*digest.split(":"))


def check_layout(path: Path) -> None:
    """Asserts what image-spec "image-layout" demands, and that no row points at nothing."""
    assert json.loads((path / "oci-layout").read_bytes()) == {"imageLayoutVersion": "1.0.0"}
    for blob in (path / "blobs").glob("*/*"):
        assert hashlib.new(blob.parent.name, blob.read_bytes()).hexdigest() == blob.name
    for row in rows(path):
        assert file_of(path, row["digest"]).stat().st_size == row["size"]


places = st.tuples(st.sampled_from(REPOSITORIES), st.sampled_from(["v1", "v2"]))
actions = st.one_of(
    st.tuples(st.just("put"), places, st.sampled_from(CONTENTS)),
    st.tuples(st.just("delete tag"), places, st.none()),
    st.tuples(st.just("delete manifest"), places, st.sampled_from(CONTENTS)),
    st.tuples(st.just("open again"), places, st.none()),
)


@given(steps=st.lists(actions, max_size=8))
def test_any_order_of_puts_and_deletes_leaves_what_was_put_and_not_deleted(
    steps: list[tuple[str, tuple[str, str], Content | None]],
) -> None:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "usb"
        store = Layout(path)
        tagged: dict[tuple[str, str], Content] = {}
        stored: set[str] = set()
        for action, (repository, tag), what in steps:
            if action == "open again":
                store = Layout(path)
            elif action == "put" and what:
                put(store, repository, tag, what)
                tagged[repository, tag] = what
                stored.add(what.digest)
            elif action == "delete tag":
                with found(there=(repository, tag) in tagged):
                    store.delete_tag(repository, tag)
                tagged.pop((repository, tag), None)
            elif what:
                ours = {key for key in tagged if key[0] == repository and tagged[key] == what}
                elsewhere = any(tagged[key] == what for key in tagged.keys() - ours)
                with found(there=bool(ours) or (what.digest in stored and not elsewhere)):
                    store.delete_manifest(repository, what.digest)
                for key in ours:
                    del tagged[key]
                if not elsewhere:
                    stored.discard(what.digest)
            check(store, tagged, stored)
        if stored:
            check_layout(path)


@contextmanager
def found(*, there: bool) -> Iterator[None]:
    """The block works if it asks for something that is there, else it raises `NotFoundError`."""
    with nullcontext() if there else pytest.raises(errors.NotFoundError):
        yield


def check(store: Store, tagged: dict[tuple[str, str], Content], stored: set[str]) -> None:
    for repository in REPOSITORIES:
        expected = sorted(tag for owner, tag in tagged if owner == repository)
        with found(there=bool(expected)):
            assert store.tags(repository) == expected
        for what in CONTENTS:
            assert (store.resolve(repository, what.digest) is not None) == (what.digest in stored)
    for (repository, tag), what in tagged.items():
        got = store.manifest(repository, tag)
        assert (got.raw, got.media_type) == (what.data, what.media_type)
        resolved = store.resolve(repository, tag)
        assert resolved is not None
        assert resolved.digest == what.digest
    if tagged:
        names = {repository or "usb" for repository, _ in tagged}
        assert sorted(store.repositories()) == sorted(names)


def test_what_a_layout_says_of_itself(store: Layout, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "usb")
    assert store.name == f"oci:{tmp_path}/usb/"
    assert store.key == f"oci:{tmp_path}/usb" == Layout(link, "other").key
    assert Layout(link, "other").name == "other"
    assert store.capabilities().tag_delete is TagDelete.TAG
    assert store.referrers_api("prod/app")
    assert store.times("prod/app") == {}
    assert store.skew() is None
    with store.permit(100), permits(store, store):
        pass


def test_a_blob_of_several_repositories_is_stored_once_and_then_mounted(
    store: Layout, tmp_path: Path
) -> None:
    blob = content.blob("shared", 1000)

    def never() -> Any:
        raise AssertionError("the source was opened")

    assert not store.has_blob("prod/app", blob.digest)
    assert store.put_blob("prod/app", descriptor(blob), source(blob.data)) == "copied"
    assert store.put_blob("prod/web", descriptor(blob), never, ["prod/app"]) == "mounted"
    assert Layout(tmp_path / "usb").put_blob("new", descriptor(blob), never) == "mounted"
    assert store.has_blob("prod/web", blob.digest)
    assert read(store, descriptor(blob)) == blob.data


@pytest.mark.parametrize("size", [0, 1, 256 * 1024, 256 * 1024 + 1, 600_000])
@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
def test_a_blob_of_any_size_and_digest_comes_back(store: Layout, size: int, algorithm: str) -> None:
    data = content.blob("x", size).data
    blob = Descriptor("a/b", manifest.digest_of(data, algorithm), size)
    seen: list[events.Event] = []
    told = Layout(store.key.removeprefix("oci:"), "us", observer=seen.append)
    told.put_blob("app", blob, source(data[:1000], b"", data[1000:]))
    assert read(told, blob) == data
    for direction in ("written", "read"):
        counts = [e.count for e in seen if isinstance(e, events.BytesMoved) and e.registry == "us"
                  and e.direction == direction]  # fmt: skip
        assert sum(counts) == size


def test_a_manifest_that_does_not_say_its_type_is_known_by_its_shape(store: Layout) -> None:
    raw = content.manifest("a", layers=1).body
    del raw["mediaType"]
    found = manifest.parse(json.dumps(raw).encode(), manifest.OCI_MANIFEST)
    parent = json.dumps({"schemaVersion": 2, "manifests": []}).encode()
    index = manifest.parse(parent, manifest.OCI_INDEX)
    for one in (found, index):
        store.put_manifest("app", one.digest, one)
        assert store.manifest("app", one.digest) == one
        resolved = store.resolve("app", one.digest)
        assert resolved is not None
        assert resolved.media_type == one.media_type


def test_a_blob_is_no_manifest_even_where_it_is_json(store: Layout) -> None:
    what = content.manifest("a")
    put(store, "app", "v1", what)
    for blob in what.blobs:
        assert store.resolve("app", blob.digest) is None


def test_a_manifest_under_another_digest_than_its_own_is_refused(
    store: Layout, tmp_path: Path
) -> None:
    one, other = (manifest.parse(c.data, c.media_type) for c in CONTENTS[:2])
    with pytest.raises(errors.ContentError):
        store.put_manifest("app", other.digest, one)
    assert rows(tmp_path / "usb") == []
    assert store.resolve("app", other.digest) is None


def test_a_manifest_can_stand_under_a_sha512_digest(store: Layout) -> None:
    what = CONTENTS[0]
    digest = manifest.digest_of(what.data, "sha512")
    store.put_manifest("app", digest, manifest.parse(what.data, what.media_type))
    assert store.manifest("app", digest).raw == what.data


def test_children_have_a_row_only_until_their_index_names_them(
    store: Layout, tmp_path: Path
) -> None:
    what = content.attested("a")
    child = what.children[0]
    put(store, "prod/app", child.digest, child)
    assert [row["digest"] for row in rows(tmp_path / "usb")] == [child.digest]
    put(store, "prod/app", "v1", what)
    assert [row["digest"] for row in rows(tmp_path / "usb")] == [what.digest]
    for part in what.everything():
        assert store.manifest("prod/app", part.digest).raw == part.data


def test_a_manifest_with_a_tag_needs_no_second_row(store: Layout, tmp_path: Path) -> None:
    for repository in ("prod/app", ""):
        put(store, repository, CONTENTS[0].digest, CONTENTS[0])
        put(store, repository, "v1", CONTENTS[0])
        put(store, repository, CONTENTS[0].digest, CONTENTS[0])
    names = [row["annotations"] for row in rows(tmp_path / "usb")]
    assert names == [
        {"org.opencontainers.image.ref.name": "prod/app:v1"},
        {"org.opencontainers.image.ref.name": "v1"},
    ]


def test_the_same_tag_put_again_writes_nothing(store: Layout, tmp_path: Path) -> None:
    put(store, "app", "v1", CONTENTS[0])
    before = (tmp_path / "usb/index.json").stat()
    put(store, "app", "v1", CONTENTS[0])
    assert (tmp_path / "usb/index.json").stat() == before


def test_files_are_replaced_and_never_written_where_they_stand(
    store: Layout, tmp_path: Path
) -> None:
    """Whoever has one open reads on in the old one; a reader never sees half of the new one."""
    put(store, "app", "v1", CONTENTS[0])
    index, blob = tmp_path / "usb/index.json", CONTENTS[0].blobs[0]
    damaged = file_of(tmp_path / "usb", blob.digest)
    damaged.write_bytes(b"x")
    with index.open("rb") as old_index, damaged.open("rb") as old_blob:
        before = index.read_bytes()
        put(Layout(tmp_path / "usb"), "app", "v2", CONTENTS[0])
        assert (old_index.read(), old_blob.read()) == (before, b"x")
    assert index.read_bytes() != before
    assert damaged.read_bytes() == blob.data


def test_referrers_are_found_with_and_without_a_tag_and_through_the_fallback_index(
    store: Layout,
) -> None:
    subject = content.manifest("a")
    untagged, tagged, listed = (content.artifact(subject, seed=seed) for seed in "uvw")
    twice = content.artifact(untagged, seed="x")
    put(store, "app", "v1", subject)
    assert store.referrers("app", subject.digest) == []
    put(store, "app", untagged.digest, untagged)
    put(store, "app", twice.digest, twice)
    put(store, "app", "sbom", tagged)
    put(store, "app", reference.fallback_tag(subject.digest), content.index(untagged, listed))
    found = store.referrers("app", subject.digest)
    assert {each.digest for each in found} == {untagged.digest, tagged.digest, listed.digest}
    assert {each.artifact_type for each in found} == {"application/vnd.example.sbom"}
    assert [each.digest for each in store.referrers("app", untagged.digest)] == [twice.digest]
    assert store.referrers("web", subject.digest) == []
    assert store.tags("app") == sorted(["v1", "sbom", reference.fallback_tag(subject.digest)])


def test_referrers_without_a_name_belong_to_whatever_repository_has_their_subject(
    store: Layout, tmp_path: Path
) -> None:
    """This is how oras writes referrers as rows without any annotation, beside full names."""
    subject = content.manifest("a")
    referrer = content.artifact(subject)
    put(store, "prod/app", "v1", subject)
    put(store, "", referrer.digest, referrer)
    assert "annotations" not in rows(tmp_path / "usb")[1]
    again = Layout(tmp_path / "usb")
    assert [each.digest for each in again.referrers("prod/app", subject.digest)] == [
        referrer.digest
    ]
    assert list(again.repositories()) == ["prod/app"]


def test_a_damaged_referrer_is_an_error_and_a_damaged_neighbour_is_not(
    store: Layout, tmp_path: Path
) -> None:
    subject, neighbour = content.manifest("a"), content.manifest("b")
    referrer = content.artifact(subject)
    put(store, "app", "v1", subject)
    put(store, "app", "v2", neighbour)
    put(store, "app", referrer.digest, referrer)
    file_of(tmp_path / "usb", neighbour.digest).write_bytes(b"{}")
    assert [r.digest for r in Layout(tmp_path / "usb").referrers("app", subject.digest)] == [
        referrer.digest
    ]
    file_of(tmp_path / "usb", referrer.digest).write_bytes(b"{}")
    with pytest.raises(errors.DigestMismatchError):
        Layout(tmp_path / "usb").referrers("app", subject.digest)


def test_a_manifest_that_an_index_names_stays_until_the_index_is_gone(store: Layout) -> None:
    what = content.platforms("a")
    child = what.children[0]
    put(store, "app", "multi", what)
    put(store, "app", "single", child)
    store.delete_manifest("app", child.digest)
    assert store.tags("app") == ["multi"]
    assert store.resolve("app", child.digest) is not None
    with pytest.raises(errors.NotFoundError, match="another index names it"):
        store.delete_manifest("app", child.digest)
    store.delete_manifest("app", what.digest)
    store.delete_manifest("app", child.digest)
    assert store.resolve("app", child.digest) is None


def test_nothing_is_removed_while_an_index_cannot_be_read(store: Layout, tmp_path: Path) -> None:
    what, other = content.platforms("a"), content.manifest("b")
    put(store, "app", "multi", what)
    put(store, "app", "single", other)
    file_of(tmp_path / "usb", what.digest).write_bytes(b"{")
    fresh = Layout(tmp_path / "usb")
    fresh.delete_manifest("app", other.digest)
    assert fresh.tags("app") == ["multi"]
    assert file_of(tmp_path / "usb", other.digest).read_bytes() == other.data


def test_what_other_tools_wrote_into_rows_survives_our_changes(
    store: Layout, tmp_path: Path
) -> None:
    put(store, "app", "v1", CONTENTS[0])
    path = tmp_path / "usb/index.json"
    body = json.loads(path.read_bytes())
    one = {"mediaType": CONTENTS[0].media_type, "digest": CONTENTS[0].digest, "size": 1}
    foreign = [
        {**one, "annotations": {"org.opencontainers.image.ref.name": "Odd Name"}},
        {**one, "annotations": {"org.opencontainers.image.ref.name": "Odd Name", "é": "\ud800"}},
        {**one, "annotations": {"org.opencontainers.image.ref.name": "app:v1"}, "platform": {"os": "x"}},
        {**one, "data": "e30=", "platform": {"os": "linux", "os.features": ["x"]}},
    ]  # fmt: skip
    body["manifests"] += foreign
    body["annotations"] = {"made.by": "another"}
    path.write_text(json.dumps(body, indent=4))
    assert store.tags("app") == ["v1"]
    put(store, "app", "v2", CONTENTS[1])
    store.delete_tag("app", "v1")
    after = json.loads(path.read_bytes())
    assert after["annotations"] == {"made.by": "another"}
    assert [row for row in after["manifests"] if row in foreign] == foreign


def test_threads_lose_no_row(store: Layout, tmp_path: Path) -> None:
    together = threading.Barrier(8)

    def work(thread: int) -> None:
        together.wait()
        for number in range(5):
            put(store, f"app{thread}", f"v{number}", CONTENTS[number % 4])

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    assert len(rows(tmp_path / "usb")) == 40
    check_layout(tmp_path / "usb")
    assert list((tmp_path / "usb").glob(".syncer-*")) == []
