"""What is measured, and the bars of issue 6 that each case is held to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from scripts.bench_seed import Layout
from scripts.bench_tools import Crane, Regsync, Skopeo, Syncer, Tool
from tests import content

MB = 1024 * 1024
_LOCAL: tuple[Tool, ...] = (Syncer(), Regsync(), Crane(8), Skopeo())
_FAR: tuple[Tool, ...] = (Syncer(), Regsync(), Crane(16), Crane(32))


@dataclass(frozen=True)
class Bar:
    """A figure of syncer's that must not be above `limit` times a peer's, or `limit` as it is.

    Attributes:
        figure: `wall`, `cpu`, `rss`, `requests`, `written` or `start`.
        limit: The bar.
        peer: The peer's name; `best` for the best of them; empty for the figure itself.
    """

    figure: str
    limit: float
    peer: str = ""


@dataclass(frozen=True)
class Case:
    """A task for the tools.

    Attributes:
        title: What it is, for people.
        seed: Fills the source.
        filled: Whether the target already has it all.
        tools: Who does it.
        bars: What syncer is held to.
        delay: Milliseconds that each request takes longer than on loopback.
        tls: Whether both registries speak TLS.
        once: Tools that are too slow to be run in every round.
        rounds: How many rounds at most; 0 for as many as are asked for.
        tiny: Tags of two registries that only list and answer; 0 for real registries.
    """

    title: str
    seed: Callable[[Layout], None]
    filled: bool = False
    tools: tuple[Tool, ...] = _LOCAL
    bars: tuple[Bar, ...] = ()
    delay: float = 0
    tls: bool = False
    once: frozenset[str] = field(default_factory=frozenset)
    rounds: int = 0
    tiny: int = 0


def _series(count: int) -> Callable[[Layout], None]:
    """Small tags: three layers in common, a layer and a config of their own."""
    base = tuple(_small(f"base {number}") for number in range(3))

    def seed(layout: Layout) -> None:
        for number in range(count):
            made = content.manifest(str(number), layers=(*base, _small(f"own {number}")))
            layout.tag("bench/app", f"v1.{number}", made)

    return seed


def _small(text: str) -> content.Blob:
    return content.Blob(text.ljust(100).encode())


def _family(layout: Layout) -> None:
    """50 repositories, five tags each, on the same three base layers of 2 MB."""
    base = tuple(content.blob(f"family/{number}", 2 * MB) for number in range(3))
    for number in range(50):
        for tag in range(5):
            own = content.blob(f"family/{number}/{tag}", 20_000)
            made = content.manifest(f"family/{number}/{tag}", layers=(*base, own))
            layout.tag(f"bench/app{number:02}", f"v{tag}", made)


def _gigabyte(layout: Layout) -> None:
    layout.large("bench/app", "v1", [200 * MB] * 5)


def _zeros(size: int) -> Callable[[Layout], None]:
    return lambda layout: layout.large("bench/app", "v1", [size], zeros=True)


def _nothing(layout: Layout) -> None:
    layout.repositories["bench/app"] = 0


CASES: Mapping[str, Case] = {
    "cold-500": Case(
        "500 small tags, cold",
        _series(500),
        bars=(
            Bar("requests", 0.55, "regsync"),
            Bar("wall", 0.5, "regsync"),
            Bar("wall", 0.85, "crane -j8"),
        ),
        once=frozenset({"skopeo"}),
    ),
    "noop-5000": Case(
        "5,000 tags, no-op",
        _series(5000),
        filled=True,
        bars=(
            Bar("requests", 1.0, "regsync"),
            Bar("wall", 0.7, "regsync"),
            Bar("wall", 1.1, "crane -j8"),
        ),
        once=frozenset({"skopeo"}),
    ),
    "noop-200-20ms": Case(
        "200 tags, no-op, 20 ms a request",
        _series(200),
        filled=True,
        tools=_FAR,
        delay=20,
        bars=(
            Bar("wall", 0.09, "regsync"),
            Bar("wall", 1.1, "crane -j16"),
            Bar("wall", 1.1, "crane -j32"),
        ),
    ),
    "cold-200-20ms": Case(
        "200 tags, cold, 20 ms a request",
        _series(200),
        tools=_FAR,
        delay=20,
        bars=(
            Bar("wall", 0.07, "regsync"),
            Bar("wall", 0.9, "crane -j16"),
            Bar("wall", 0.9, "crane -j32"),
        ),
    ),
    "gigabyte": Case(
        "1 GB in five blobs",
        _gigabyte,
        bars=(Bar("wall", 1.05, "best"), Bar("cpu", 1.0, "best")),
    ),
    "gigabyte-tls": Case(
        "1 GB in five blobs, TLS on both sides",
        _gigabyte,
        tls=True,
        bars=(Bar("wall", 0.9, "best"), Bar("cpu", 1.0, "best")),
    ),
    "shared-50": Case(
        "50 repositories sharing base layers, cold",
        _family,
        bars=(Bar("written", 0.3, "regsync"),),
        rounds=3,
    ),
    "memory-100000": Case(
        "100,000 tags, no-op",
        _nothing,
        filled=True,
        tools=(Syncer(), Regsync(), Crane(8)),
        bars=(Bar("rss", 120),),
        rounds=1,
        tiny=100_000,
    ),
    "blob-100mb": Case("one blob of 100 MB", _zeros(100 * MB), bars=(Bar("rss", 120),), rounds=1),
    "blob-10gb": Case(
        "one blob of 10 GB", _zeros(10 * 1024 * MB), bars=(Bar("rss", 120),), rounds=1
    ),
    "one-tag": Case(
        "one tag, no-op",
        _series(1),
        filled=True,
        bars=(Bar("wall", 1.0), Bar("start", 0.6)),
    ),
}
QUICK = ("start", "one-tag", "cold-500", "noop-200-20ms", "cold-200-20ms", "shared-50")
