"""Shows that the property tests of retention notice each way of breaking it; see scripts/mutants."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
TESTS = (
    "tests/unit/test_retention_closure_properties.py",
    "tests/unit/test_retention_properties.py",
)
# A failure is enough; its smallest example is not needed.
PROFILE = """
hypothesis.settings.register_profile(
    "mutants",
    hypothesis.settings.get_profile("syncer"),
    phases=(hypothesis.Phase.explicit, hypothesis.Phase.generate),
)
hypothesis.settings.load_profile("mutants")
"""


@dataclass(frozen=True)
class Mutant:
    """One way to break the engine: in `file` of syncer/retention, `right` becomes `wrong`."""

    name: str
    file: str
    right: str
    wrong: str


MUTANTS = (
    # The seven of reference/retention.md 5.1.
    Mutant("no-children", "closure.py", "open_ += node.children", "pass"),
    Mutant(
        "created-used",
        "snapshot.py",
        "possible((self.pushed, self.first_seen))",
        "possible((self.created or self.pushed, self.first_seen))",
    ),
    Mutant("reverse-order", "keeps.py", "(0), reverse=True)\n    above", "(0))\n    above"),
    Mutant(
        "no-tiebreak",
        "keeps.py",
        "above[1].place if above and above[0] == rank else place",
        "place",
    ),
    Mutant("host-tz", "keeps.py", "astimezone(terms.zone)", "astimezone()"),
    Mutant("incomplete-ignored", "case.py", "if not snapshot.complete:", "if not facts:"),
    Mutant("no-referrers", "closure.py", "open_ += self._referrers.get(digest, ())", "pass"),
    # Further accidents of its section 3.
    Mutant(
        "referrers-with-a-human-tag-follow",
        "case.py",
        "if followed(fact.tag):",
        "if followed(fact.tag) or getattr(self._snapshot.manifests.get(fact.digest), 'subject', ''):",
    ),
    Mutant("tags-are-counted", "case.py", "setdefault(fact.digest,", "setdefault(fact.tag,"),
    Mutant("protect-ignored", "case.py", "in self._policy.protect", "in ()"),
    Mutant("pins-ignored", "case.py", "if pin else None", "if pin is self else None"),
    Mutant(
        "unclaimed-is-dropped",
        "case.py",
        'keep(fact, "unclaimed", "claimed by no rule")',
        'drop(fact, "unclaimed", "claimed by no rule", self._now)',
    ),
    Mutant("signatures-are-judged", "closure.py", 'return match[1] if match else ""', 'return ""'),
    Mutant("unread-is-empty", "followers.py", "elif not is_read:", "elif not reached:"),
    Mutant("unread-is-free", "collect.py", " or not graph.is_read(reached):", ":"),
    Mutant("orphans-are-dropped", "followers.py", "not in subjects:", "== subjects:"),
    Mutant("min-age-ignored", "decision.py", "elif now - since < min_age:", "elif since < since:"),
    Mutant(
        "unknown-age-is-old", "decision.py", 'found.append(Hold("its age is not known"))', "pass"
    ),
    Mutant("mirrors-ignored", "decision.py", "if missing:", "if not missing:"),
    Mutant("1970-is-believed", "snapshot.py", " and each >= _FIRST_POSSIBLE", ""),
    Mutant("the-future-orders", "snapshot.py", "moment if moment <= now else None", "moment"),
    Mutant("unknown-order-is-oldest", "keeps.py", "elif count:", "elif not units:"),
    Mutant(
        "only-one-keep",
        "keeps.py",
        "for period, value in keep.calendar:",
        "for period, value in keep.calendar[:1]:",
    ),
    Mutant("parents-last", "closure.py", "return order[::-1]", "return order"),
    Mutant("brake-off", "guard.py", "if drops > guard.max_delete:", "if drops < 0:"),
    Mutant(
        "any-number-lifts-the-brake", "guard.py", "if allow_delete == drops:", "if allow_delete:"
    ),
)


def main(names: list[str]) -> int:
    """Runs the mutants called `names`, or all; returns how many survived, at most 1."""
    if unknown := set(names) - {mutant.name for mutant in MUTANTS}:
        sys.exit(f"no mutant is called {', '.join(sorted(unknown))}")
    chosen = [mutant for mutant in MUTANTS if not names or mutant.name in names]
    survivors = 0
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        for part in ("syncer", "tests", "pyproject.toml"):
            source = ROOT / part
            (shutil.copytree if source.is_dir() else shutil.copy)(source, copy / part)
        with (copy / "tests" / "conftest.py").open("a") as conftest:
            conftest.write(PROFILE)
        if killer := _killer(copy):
            print(f"the tests fail without a mutant: {killer}")
            return 1
        width = max(len(mutant.name) for mutant in chosen)
        for mutant in chosen:
            killer = _try(copy, mutant)
            survivors += not killer
            print(f"{mutant.name:{width}}  {killer or 'SURVIVED'}", flush=True)
    print(f"{len(chosen) - survivors} of {len(chosen)} mutants noticed")
    return min(survivors, 1)


def _try(copy: Path, mutant: Mutant) -> str:
    path = copy / "syncer" / "retention" / mutant.file
    text = path.read_text()
    if text.count(mutant.right) != 1:
        sys.exit(f"{mutant.name}: {mutant.right!r} is not once in {mutant.file}; adapt the mutant")
    path.write_text(text.replace(mutant.right, mutant.wrong))
    try:
        return _killer(copy)
    finally:
        path.write_text(text)


def _killer(copy: Path) -> str:
    """The first property test that fails in `copy`; empty when all pass."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-k", "not strategies_produce"]
    quiet = ["-p", "no:randomly", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*command, *quiet, *TESTS], cwd=copy, capture_output=True, text=True, check=False
    )
    if done.returncode == 0:
        return ""
    failed = re.search(r"^FAILED \S+::(.*?)(?: - .*)?$", done.stdout, re.MULTILINE)
    if done.returncode != 1 or failed is None:
        sys.exit(f"the tests did not run:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return failed[1]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
