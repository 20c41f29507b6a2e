"""What a request costs this program in CPU, beside httpx's own client, at a real registry."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from statistics import median

import httpx

from syncer.manifest import Descriptor, digest_of
from syncer.registry.client import Client, connect
from tests import content
from tests.registries import DockerRegistry

TITLE = "CPU of a request: HEAD of a tag, GET of a blob, a blob of 100 bytes stored"
_COUNT, _ROUNDS = 200, 7
_NAME = "bench/app"


def report(directory: Path) -> str:
    """Microseconds of CPU in this process, medians over rounds in turn."""
    made = content.manifest("one")
    small = Descriptor("application/octet-stream", made.blobs[0].digest, len(made.blobs[0].data))
    with DockerRegistry(directory / "registry") as registry, httpx.Client() as plain:
        content.push(registry, _NAME, "v1", made)
        ours = Client(connect("bench", registry.url))
        url = f"{registry.url}/v2/{_NAME}"
        ways: dict[str, Callable[[int], object]] = {
            "HEAD": lambda _: ours.resolve(_NAME, "v1"),
            "HEAD, httpx.Client": lambda _: plain.head(f"{url}/manifests/v1"),
            "GET": lambda _: _read(ours, small),
            "GET, httpx.Client": lambda _: plain.get(f"{url}/blobs/{small.digest}"),
            "POST and PUT": lambda number: _store(ours, number),
        }
        taken: dict[str, list[float]] = {name: [] for name in ways}
        for turn in range(_ROUNDS + 1):  # the first warms up
            for name, way in ways.items():
                began = time.process_time()
                for number in range(_COUNT):
                    way(turn * _COUNT + number)
                taken[name].append((time.process_time() - began) / _COUNT * 1e6)
    lines = [f"- {name}: {median(times[1:]):.0f} us" for name, times in taken.items()]
    return "\n".join((f"\n### {TITLE}\n", *lines))


def _read(client: Client, blob: Descriptor) -> int:
    with client.open_blob(_NAME, blob) as chunks:
        return sum(map(len, chunks))


def _store(client: Client, number: int) -> str:
    data = f"{number}".ljust(100).encode()
    blob = Descriptor("application/octet-stream", digest_of(data), len(data))
    return client.put_blob(_NAME, blob, lambda: nullcontext(iter((data,))))
