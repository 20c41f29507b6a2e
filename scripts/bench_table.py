"""Results as a table, and syncer's figures against the bars."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median

from scripts.bench_cases import Bar, Case
from scripts.bench_stage import Taken

Results = Mapping[str, Sequence[Taken]]
_HEAD = (
    "tool",
    "runs",
    "wall s",
    "CPU s",
    "peak MB",
    "source requests",
    "target requests",
    "read MB",
    "written MB",
    "wall, of syncer's",
)
_DIGITS = {"wall": 2, "cpu": 2, "rss": 0, "requests": 0, "written": 0, "start": 2}


def figure(runs: Sequence[Taken], name: str) -> float:
    """The median of a figure over all runs of a tool."""
    return float(median(getattr(run, name) for run in runs))


def table(case: Case, results: Results) -> str:
    """One row a tool, in Markdown."""
    ours = figure(results["syncer"], "wall")
    rows = [_row(name, runs, ours) for name, runs in results.items()]
    lines = [f"### {case.title}", "", _line(_HEAD), _line(["---"] * len(_HEAD))]
    return "\n".join((*lines, *map(_line, rows)))


def verdicts(case: Case, results: Results) -> list[str]:
    """A line for each bar: met or missed, and by how much."""
    return [_verdict(bar, results) for bar in case.bars if _peer(bar, results) is not None]


def _row(name: str, runs: Sequence[Taken], ours: float) -> list[str]:
    wall = figure(runs, "wall")
    cells = [name, str(len(runs)), f"{wall:.2f} ({_spread(runs)})", f"{figure(runs, 'cpu'):.2f}"]
    cells.append(f"{figure(runs, 'rss'):.0f}")
    cells += [_asked(runs[-1], side) for side in ("source", "target")]
    cells += [f"{figure(runs, way) / 1e6:.1f}" for way in ("read", "written")]
    return [*cells, f"{wall / ours:.2f}"]


def _spread(runs: Sequence[Taken]) -> str:
    walls = [run.wall for run in runs]
    return f"{min(walls):.2f}-{max(walls):.2f}"


def _asked(run: Taken, side: str) -> str:
    methods = run.sides.get(side)
    if not methods:
        return ""
    counts = ", ".join(f"{count} {method}" for method, count in sorted(methods.items()))
    return f"{sum(methods.values())}: {counts}"


def _peer(bar: Bar, results: Results) -> str | None:
    """Whom a bar is measured by; empty for nobody, None when that one did not run."""
    peers = [name for name in results if name != "syncer"]
    if bar.peer == "best":
        return min(peers, key=lambda name: figure(results[name], bar.figure), default=None)
    return bar.peer if not bar.peer or bar.peer in peers else None


def _verdict(bar: Bar, results: Results) -> str:
    ours = _own(bar, results)
    peer = _peer(bar, results)
    digits = _DIGITS[bar.figure]
    if not peer:
        word = "met" if ours <= bar.limit else "missed"
        return f"- {bar.figure} {ours:.{digits}f}, bar {bar.limit:g}: {word}"
    theirs = figure(results[peer], bar.figure)
    ratio = ours / theirs
    word = "met" if ratio <= bar.limit else "missed"
    return (
        f"- {bar.figure} {ours:.{digits}f} / {theirs:.{digits}f} = {ratio:.2f} of {peer},"
        f" bar {bar.limit:g}: {word}"
    )


def _own(bar: Bar, results: Results) -> float:
    return figure(results["syncer"], bar.figure)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
