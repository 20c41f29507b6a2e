"""Layouts shared with other processes, other programs and disks that are full or read-only."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import pytest

from syncer import manifest
from syncer.layout import Layout
from syncer.manifest import Descriptor
from tests import content
from tests.content import Content
from tests.process import TOOLS
from tests.registries import Factory, RegistryProcess

PROGRAM = """
import json, os, subprocess, sys
from contextlib import nullcontext
from syncer import errors, manifest
from syncer.layout import Layout
from syncer.manifest import Descriptor

path, name = sys.argv[1:]
store = Layout(path)

def put(tag, size=2):
    raw = json.dumps({
        "schemaVersion": 2, "mediaType": manifest.OCI_MANIFEST, "layers": [],
        "config": {"mediaType": "a/b", "digest": "sha256:" + "0" * 64, "size": size},
    }).encode()
    store.put_manifest(name, tag, manifest.parse(raw, manifest.OCI_MANIFEST))

def put_blob(size, chunks):
    data = bytes(size)
    return store.put_blob(name, Descriptor("a/b", manifest.digest_of(data), size), lambda: chunks)

def wait():
    print("ready", flush=True)
    sys.stdin.readline()
"""


def start(path: Path, name: str, program: str, *wrapper: str) -> subprocess.Popen[str]:
    """A process of its own that runs `program` after PROGRAM and says when it waits."""
    command = [*wrapper, sys.executable, "-c", PROGRAM + program, str(path), name]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def put(store: Layout, repository: str, tag: str, what: Content) -> None:
    for part in what.everything():
        for blob in part.blobs:
            found = Descriptor(blob.media_type, blob.digest, len(blob.data))
            store.put_blob(repository, found, lambda data=blob.data: nullcontext(iter((data,))))  # type: ignore[misc]
        name = tag if part is what else part.digest
        store.put_manifest(repository, name, manifest.parse(part.data, part.media_type))


def check_layout(path: Path) -> None:
    """Asserts what image-spec "image-layout" demands, and that no row points at nothing."""
    assert json.loads((path / "oci-layout").read_bytes()) == {"imageLayoutVersion": "1.0.0"}
    for blob in (path / "blobs").glob("*/*"):
        assert hashlib.new(blob.parent.name, blob.read_bytes()).hexdigest() == blob.name
    for row in json.loads((path / "index.json").read_bytes())["manifests"]:
        file = path / "blobs" / Path(*row["digest"].split(":"))
        assert file.stat().st_size == row["size"]


def has(store: Layout, repository: str, tag: str, what: Content) -> None:
    """Asserts that the tag and all that it needs can be read, byte for byte."""
    assert store.manifest(repository, tag).raw == what.data
    for part in what.everything():
        assert store.manifest(repository, part.digest).raw == part.data
        for blob in part.blobs:
            found = Descriptor(blob.media_type, blob.digest, len(blob.data))
            with store.open_blob(repository, found) as chunks:
                assert b"".join(map(bytes, chunks)) == blob.data


def run(program: str, *arguments: str) -> str:
    """Runs a program of others and returns what it prints; skips where it is not installed."""
    ours = TOOLS / program
    found = str(ours) if os.access(ours, os.X_OK) else shutil.which(program)
    if found is None:
        pytest.skip(f"{program} is not installed; scripts/tools installs it where it can")
    done = subprocess.run(
        [found, *arguments], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def skopeo(*arguments: str) -> str:
    return run("skopeo", "--insecure-policy", *arguments)


def test_two_processes_that_add_tags_at_once_lose_none(tmp_path: Path) -> None:
    path = tmp_path / "usb"
    program = "wait()\nfor number in range(50): put(f'v{number}', number)"
    writers = [start(path, name, program) for name in ("prod/app", "prod/web")]
    for writer in writers:
        assert line(writer) == "ready"
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write("\n")
        writer.stdin.flush()
    for writer in writers:
        writer.communicate(timeout=60)
        assert writer.returncode == 0
    store = Layout(path)
    expected = sorted(f"v{number}" for number in range(50))
    assert store.tags("prod/app") == store.tags("prod/web") == expected
    check_layout(path)


def test_a_writer_killed_in_the_middle_of_a_blob_leaves_a_valid_layout(tmp_path: Path) -> None:
    path, what = tmp_path / "usb", content.manifest("a")
    store = Layout(path)
    put(store, "", "v1", what)
    writer = start(
        path,
        "app",
        """
def half():
    yield bytes(1 << 20)
    wait()
    yield bytes(1 << 20)
put_blob(2 << 20, nullcontext(half()))
""",
    )
    assert line(writer) == "ready"
    leftover = list(path.glob(".syncer-*"))
    assert [file.stat().st_size for file in leftover] == [1 << 20]
    writer.kill()
    writer.communicate()
    check_layout(path)
    assert not store.has_blob("app", manifest.digest_of(bytes(2 << 20)))
    has(store, "", "v1", what)
    assert skopeo("inspect", "--raw", f"oci:{path}:v1") == what.data.decode()
    put(Layout(path), "", "v2", what)
    assert list(path.glob(".syncer-*")) == []


def test_a_tag_is_there_once_it_was_put_whatever_happens_next(tmp_path: Path) -> None:
    path = tmp_path / "usb"
    program = "for number in range(100_000):\n  put(f'v{number}', number)\n  print(number, flush=1)"
    writer = start(path, "app", program)
    seen = [line(writer) for _ in range(25)]
    writer.kill()
    writer.communicate()
    assert {f"v{number}" for number in seen} <= set(Layout(path).tags("app"))
    check_layout(path)


def test_a_full_and_a_read_only_disk_are_said_with_reason_and_path(tmp_path: Path) -> None:
    if subprocess.run(["unshare", "-rm", "true"], capture_output=True, check=False).returncode:
        pytest.skip("this host does not let us mount a disk of our own")
    path = tmp_path / "usb"
    path.mkdir()
    mounted = f'mount -t tmpfs -o size=1m tmpfs {path} && exec "$@"'
    program = """
def show(act):
    try: act()
    except errors.UnavailableError as error: print(error, error.temporary, error.registry, sep="|")
put("v1")
show(lambda: put_blob(2 << 20, nullcontext(iter([bytes(1 << 16)] * 32))))
put("v2")
print(sorted(os.listdir(path)))
subprocess.run(["mount", "-o", "remount,ro", path], check=True)
show(lambda: put("v3"))
show(lambda: put_blob(9, nullcontext(iter([bytes(9)]))))
show(lambda: store.delete_tag(name, "v1"))
print(store.tags(name), store.probe(name).tag_delete.value)
"""
    process = start(path, "app", program, "unshare", "-rm", "sh", "-c", mounted, "sh")
    output = process.communicate(timeout=60)[0].splitlines()
    assert process.returncode == 0
    name, blob = f"oci:{path}/", manifest.digest_of(bytes(2 << 20)).partition(":")[2]
    assert output[0] == f"{name}: {path}/blobs/sha256/{blob}: No space left on device|False|{name}"
    files = [".syncer.lock", "blobs", "index.json", "oci-layout"]
    assert output[1] == str(files)
    for text in output[2:5]:
        assert text.startswith(f"{name}: {path}/")
        assert text.endswith(f": Read-only file system|False|{name}")
    assert output[5:] == ["['v1', 'v2'] none"]


def digests(directory: Path) -> set[str]:
    return {
        f"sha256:{hashlib.sha256(file.read_bytes()).hexdigest()}" for file in directory.iterdir()
    }


@pytest.mark.parametrize(("repository", "ref_name"), [("prod/app", "prod/app:v1"), ("", "v1")])
@pytest.mark.parametrize("what", [content.manifest("a"), content.attested("b")])
def test_skopeo_copies_what_we_wrote(
    tmp_path: Path, repository: str, ref_name: str, what: Content
) -> None:
    put(Layout(tmp_path / "usb"), repository, "v1", what)
    put(Layout(tmp_path / "usb"), "prod/web", "v1", content.manifest("other"))
    out = tmp_path / "out"
    source = f"oci:{tmp_path}/usb:{ref_name}"
    skopeo("copy", "--all", "--preserve-digests", source, f"dir:{out}")
    expected = {part.digest for part in what.everything()}
    expected |= {blob.digest for part in what.everything() for blob in part.blobs}
    assert expected <= digests(out)


def pushed(registry: RegistryProcess, repository: str) -> dict[str, Content]:
    what = {"v1": content.manifest("a"), "multi": content.attested("b")}
    for tag, each in what.items():
        content.push(registry, repository, tag, each)
    return what


def test_what_skopeo_wrote_is_read_and_both_can_go_on_writing(
    tmp_path: Path, make_registry: Factory, repository: str
) -> None:
    registry, path = make_registry("docker"), tmp_path / "usb"
    what = pushed(registry, repository)
    ours = content.manifest("ours")

    def copy(tag: str, ref_name: str) -> None:
        source = f"docker://{registry.host}/{repository}:{tag}"
        target = f"oci:{path}:{ref_name}"
        skopeo("copy", "--all", "--preserve-digests", "--src-tls-verify=false", source, target)

    copy("v1", "v1")
    store = Layout(path)
    put(store, "prod/web", "v1", ours)
    copy("multi", "prod/app:multi")
    assert list(store.repositories()) == ["prod/app", "prod/web", "usb"]
    has(store, "usb", "v1", what["v1"])
    has(store, "", "v1", what["v1"])
    has(store, "prod/app", "multi", what["multi"])
    has(store, "prod/web", "v1", ours)
    store.delete_tag("usb", "v1")
    assert skopeo("inspect", "--raw", f"oci:{path}:prod/app:multi") == what["multi"].data.decode()
    check_layout(path)


def test_regctl_reads_what_we_wrote_and_we_read_what_it_wrote_referrers_too(
    tmp_path: Path, make_registry: Factory, repository: str
) -> None:
    registry, path = make_registry("docker"), tmp_path / "usb"
    what = pushed(registry, repository)
    signature = content.artifact(what["v1"])
    content.push(registry, repository, None, signature)
    fallback = f"sha256-{what['v1'].digest.partition(':')[2]}"
    content.push(registry, repository, fallback, content.index(signature))
    host = f"reg={registry.host},tls=disabled"
    for tag in what:
        source = f"{registry.host}/{repository}:{tag}"
        run(
            "regctl",
            "--host",
            host,
            "image",
            "copy",
            "--referrers",
            source,
            f"ocidir://{path}:{tag}",
        )
    store = Layout(path)
    for tag, each in what.items():
        has(store, "", tag, each)
    assert [r.digest for r in store.referrers("", what["v1"].digest)] == [signature.digest]
    docker = content.platforms("d", docker=True)
    put(store, "prod/app", "docker", docker)
    assert (
        run("regctl", "manifest", "get", "--format", "raw-body", f"ocidir://{path}:docker")
        == docker.data.decode()
    )
    assert "docker" in run("regctl", "tag", "ls", f"ocidir://{path}").splitlines()


def test_crane_pushes_what_we_wrote_and_we_read_what_it_pulled(
    tmp_path: Path, make_registry: Factory, repository: str
) -> None:
    registry = make_registry("docker")
    what = content.attested("a")
    put(Layout(tmp_path / "ours"), "prod/app", "v1", what)
    name = f"{registry.host}/{repository}:v1"
    run("crane", "--insecure", "push", str(tmp_path / "ours"), name)
    assert content.fetch(registry, repository, "v1")[0] == what.data
    theirs = tmp_path / "theirs"
    run("crane", "--insecure", "pull", "--format=oci", "--annotate-ref", name, str(theirs))
    store = Layout(theirs)
    assert list(store.repositories()) == [repository]
    has(store, repository, "v1", what)
