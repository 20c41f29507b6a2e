"""Fills a registry for scripts/demo: `demo_content.py URL ROOT ARCHITECTURE`.

ROOT holds Debian's busybox, unpacked. demo/busybox gets a multi-platform index of it, demo/app a
series of versions on top of it: three layers in common, one of its own each.
"""

from __future__ import annotations

import gzip
import io
import subprocess
import sys
import tarfile
from collections.abc import Iterable
from pathlib import Path

from tests import content

VERSIONS = [f"v1.{minor}.{patch}" for minor in range(5) for patch in range(5)][:-1]


def entry(name: str, *, size: int = 0, mode: int = 0o644, link: str = "") -> tarfile.TarInfo:
    """A file, or a symbolic link to `link`; the same on every machine and day."""
    info = tarfile.TarInfo(name)
    info.size, info.mode, info.linkname = size, mode, link
    info.type = tarfile.SYMTYPE if link else tarfile.REGTYPE
    return info


def layer(entries: Iterable[tuple[tarfile.TarInfo, bytes]]) -> content.Blob:
    """A gzipped tar of these entries."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for info, data in entries:
            tar.addfile(info, io.BytesIO(data))
    return content.Blob(gzip.compress(packed.getvalue(), mtime=0))


def text(name: str, value: str) -> tuple[tarfile.TarInfo, bytes]:
    """A small text file."""
    return entry(name, size=len(value.encode())), value.encode()


def base(root: Path) -> tuple[content.Blob, ...]:
    """The package's files, a link for each of busybox' commands, and the accounts."""
    files = [path for path in sorted(root.rglob("*")) if path.is_file() and not path.is_symlink()]
    packed = (
        (entry(str(path.relative_to(root)), size=len(data), mode=path.stat().st_mode & 0o777), data)
        for path in files
        for data in [path.read_bytes()]
    )
    listed = subprocess.run(
        [root / "bin/busybox", "--list"], check=True, capture_output=True, text=True
    )
    commands = [name for name in listed.stdout.split() if name != "busybox"]
    links = ((entry(f"bin/{name}", mode=0o777, link="busybox"), b"") for name in commands)
    accounts = [
        text("etc/passwd", "root:x:0:0:root:/root:/bin/sh\n"),
        text("etc/group", "root:x:0:\n"),
    ]
    return layer(packed), layer(links), layer(accounts)


def main(url: str, root: Path, architecture: str) -> None:
    """Builds and pushes both repositories and says what they hold."""
    layers = base(root)
    other = "arm64" if architecture != "arm64" else "amd64"
    index = content.index(
        *(
            content.manifest("busybox", layers=layers, platform=f"linux/{name}")
            for name in (architecture, other)
        )
    )
    for tag in ("1.35", "latest"):
        content.push(url, "demo/busybox", tag, index)
    print(f"demo/busybox: 2 tags on one index: linux/{architecture}, and linux/{other} which")
    print(f"  carries the files of {architecture} under another config: to be copied, not run")

    for number, version in enumerate(VERSIONS):
        own = layer([text("etc/app-version", f"{version}\n")])
        made = content.manifest(
            version,
            layers=(*layers, own),
            platform=f"linux/{architecture}",
            created=f"2026-01-{number + 1:02}T00:00:00Z",
        )
        content.push(url, "demo/app", version, made)
    content.push(url, "demo/app", "latest", made)
    print(f"demo/app: {VERSIONS[0]} to {VERSIONS[-1]} and latest: {len(VERSIONS) + 1} tags")
    print(f"  {len(layers)} layers in common, {sum(len(item.data) for item in layers)} bytes")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3])
