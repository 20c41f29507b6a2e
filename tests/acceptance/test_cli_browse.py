"""What operators look at: check --online, plan, prune, ls, status and history, on real registries."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from syncer import cli
from syncer.cli import text
from tests import content
from tests.program import Ended, start
from tests.registries import Factory, RegistryProcess

DIGEST = re.compile(r"\b(sha256:)?[0-9a-f]{12}\b")
TIME = re.compile(r"\d+(\.\d+)? (s|min)( ago)?\b|(\d{4}-\d\d-\d\d )?\d\d:\d\d")


def plain(said: str, *names: str) -> str:
    """`said` with digests, times and `names` replaced by a letter, and runs of spaces by one."""
    for name, letter in zip(names, "RXYZ", strict=False):
        said = said.replace(name, letter)
    for pattern, word in ((DIGEST, "D"), (TIME, "T")):
        said = pattern.sub(word, said)
    return re.sub(r"(?<=\S) {2,}", " ", said)


Call = Callable[..., Ended]


@pytest.fixture
def syncer(capsys: pytest.CaptureFixture[str]) -> Call:
    """Runs a command line in this process: thirty starts of the program would take their time."""

    def call(*arguments: str, config: Path) -> Ended:
        code = cli.run(["-c", str(config), *arguments])
        return Ended(code, *capsys.readouterr())

    return call


@pytest.fixture
def eu(make_registry: Factory) -> RegistryProcess:
    return make_registry("docker", name="eu")


@pytest.fixture
def us(make_registry: Factory) -> RegistryProcess:
    return make_registry("docker", name="us")


@pytest.fixture
def config(tmp_path: Path, eu: RegistryProcess, us: RegistryProcess, repository: str) -> Path:
    path = tmp_path / "rules.toml"
    path.write_text(f"""
schema = 1
state.url = "sqlite:///state.db"
[registry.eu]
url = "{eu.url}"
auth = "anonymous"
[registry.us]
url = "{us.url}"
auth = "anonymous"
[[replicate]]
name = "mirror"
source = "eu"
target = "us"
repos = ["{repository}/**"]
exclude_repos = ["old/**"]
tags = ["v*"]
schedule = "every 10m"
[[retention.policy]]
name = "newest"
registry = "us"
repos = ["{repository}/**"]
guard = {{ min_age = "0s", max_delete_pct = 100 }}
  [[retention.policy.rule]]
  tags = "v*"
  sort = "semver"
  keep = {{ last = 2 }}
""")
    return path


@pytest.fixture
def mirrored(syncer: Call, config: Path, eu: RegistryProcess, repository: str) -> Path:
    """The rules, after a sync of two repositories."""
    content.series(eu, f"{repository}/app", 3)
    content.push(eu, f"{repository}/web", "v1.0.0", content.platforms("web"))
    assert syncer("sync", config=config).code == 0
    return config


def told(ended: Ended, *names: str) -> str:
    assert ended.code == 0, ended.err
    return plain(ended.out, *names)


def test_a_plan_tells_matches_changes_and_bytes_and_writes_nothing(
    syncer: Call, config: Path, eu: RegistryProcess, us: RegistryProcess, repository: str
) -> None:
    tags = content.series(eu, f"{repository}/app", 2)
    blobs = {blob.digest: len(blob.data) for each in tags.values() for blob in each.blobs}
    size = text.size(sum(blobs.values()))
    content.push(eu, f"{repository}/app", "latest", content.manifest("not matched"))
    us.forget_requests()
    assert (
        told(syncer("plan", "mirror", config=config), repository)
        == f"""\
ok: 2 tags to copy, 0 in step; at most {size} to move, referrers aside

mirror: 1 repository, 2 tags
  repos R/** matches 1
  repos old/** matches nothing
  tags v* matches 2

target copy in step at most
us/R/app (new) 2 0 {size}
"""
    )
    assert us.methods().keys() <= {"GET", "HEAD"}


def test_pending_changes_are_4_when_asked_for_and_json_holds_every_step(
    syncer: Call, config: Path, eu: RegistryProcess, repository: str
) -> None:
    digests = content.series(eu, f"{repository}/app", 2)
    options = ("plan", "mirror", "--detailed-exitcode", "--json")
    ended = syncer(*options, config=config)
    found = ended.json
    assert ended.code == 4
    assert (found["outcome"], found["changes"], found["manifests_unread"]) == ("ok", 2, 0)
    assert found["rules"][0]["patterns"]["tags"] == {"v*": 2}
    (plan,) = found["replication"]
    assert [(step["action"], step["tag"], step["digest"]) for step in plan["steps"]] == [
        ("copy", tag, each.digest) for tag, each in digests.items()
    ]
    assert syncer("sync", config=config).code == 0
    assert syncer(*options, config=config).code == 0


def test_check_online_tells_who_we_are_and_what_is_missing(
    syncer: Call,
    config: Path,
    make_registry: Factory,
    eu: RegistryProcess,
    us: RegistryProcess,
    repository: str,
) -> None:
    content.series(eu, f"{repository}/app", 1)
    content.series(us, f"{repository}/app", 1)
    ended = syncer("check", "--online", config=config)
    assert plain(ended.out, repository).endswith("""\
registry reached as clock
eu yes anonymous agrees
us yes anonymous agrees

rule registry may in
mirror eu pull 1 repository
mirror us push 1 repository
newest us pull 1 repository
newest us delete 1 repository

ok: every registry allows what the rules need
""")
    readonly = make_registry("docker", name="readonly", readonly=True)
    config.write_text(config.read_text().replace(us.url, readonly.url))
    ended = syncer("check", "--online", config=config)
    assert ended.code == 1
    assert f"mirror: cannot push us/{repository}/app: " in ended.out
    assert ended.out.endswith("\nfailed: 1 problem\n")
    online = syncer("check", "--online", "--json", config=config).json["online"]
    assert [each["registry"] for each in online["registries"]] == ["eu", "us"]
    (denied,) = (need for need in online["permissions"] if need["denied"])
    assert (denied["rule"], denied["action"]) == ("mirror", "push")


def test_ls_goes_from_registries_to_blobs(syncer: Call, mirrored: Path, repository: str) -> None:
    assert told(syncer("ls", config=mirrored)).splitlines()[0] == (
        "registry url source of target of policies"
    )
    assert told(syncer("ls", f"eu/{repository}/**", config=mirrored), repository) == (
        "repository copied to\neu/R/app us/R/app\neu/R/web us/R/web\n"
    )
    assert told(syncer("ls", f"us/{repository}/", config=mirrored), repository) == (
        "repository copied from policy\nus/R/app eu/R/app newest\nus/R/web eu/R/web newest\n"
    )
    assert told(syncer("ls", f"eu/{repository}/app", config=mirrored), repository) == (
        "tag digest type first seen us/R/app\n"
        "v1.0.0 D manifest T in step\n"
        "v1.0.1 D manifest T in step\n"
        "v1.0.2 D manifest T in step\n"
    )
    tree = told(syncer("ls", f"us/{repository}/web:v1.0.0", config=mirrored))
    one, other = (
        text.size(len(each.data) + sum(len(blob.data) for blob in each.blobs))
        for each in content.platforms("web").children
    )
    assert [line for line in tree.splitlines() if "linux/" in line] == [
        f"  linux/amd64 manifest {one} D",
        f"  linux/arm64 manifest {other} D",
    ]
    assert len(tree.splitlines()) == 1 + 2 * (1 + 3)


def test_ls_shows_what_is_behind_and_what_was_not_copied(
    syncer: Call, mirrored: Path, eu: RegistryProcess, repository: str
) -> None:
    content.push(eu, f"{repository}/app", "v1.0.1", content.manifest("moved"))
    content.push(eu, f"{repository}/app", "v1.0.9", content.manifest("new"))
    content.push(eu, f"{repository}/app", "latest", content.manifest("not of the rule"))
    found = syncer("ls", f"eu/{repository}/app", "--json", config=mirrored).json
    assert {tag["tag"]: list(tag["targets"].values()) for tag in found["tags"]} == {
        "latest": [],
        "v1.0.0": ["in step"],
        "v1.0.1": ["behind"],
        "v1.0.2": ["in step"],
        "v1.0.9": ["not copied"],
    }
    narrowed = syncer("ls", f"eu/{repository}/app:v1.0.[12]", "--json", config=mirrored).json
    assert [tag["tag"] for tag in narrowed["tags"]] == ["v1.0.1", "v1.0.2"]


def test_ls_lists_tags_by_heads_alone(
    syncer: Call, mirrored: Path, eu: RegistryProcess, us: RegistryProcess, repository: str
) -> None:
    for registry in (eu, us):
        registry.forget_requests()
    assert syncer("ls", f"eu/{repository}/app", config=mirrored).code == 0
    for registry in (eu, us):
        assert registry.methods() == {"GET": 1, "HEAD": 3}


def test_ls_of_what_is_not_there_says_how_to_see_more(
    syncer: Call, config: Path, repository: str
) -> None:
    ended = syncer("ls", f"eu/{repository}", config=config)
    assert (ended.code, ended.out) == (1, "")
    assert f"for everything below it write 'eu/{repository}/**'\n" in ended.err


def test_ctrl_c_ends_a_look_at_a_registry_that_does_not_answer(
    config: Path, registry: Factory, us: RegistryProcess
) -> None:
    silent = registry("docker")
    config.write_text(config.read_text().replace(us.url, silent.url))
    silent.pause()
    process = start("ls", "us", config=config)
    try:
        assert process.stderr is not None
        assert process.stderr.readline().startswith("rules: ")
        process.send_signal(signal.SIGINT)
        assert (process.wait(20), process.stderr.read().strip()) == (130, "interrupted")
    finally:
        process.kill()
        process.communicate()


def test_status_and_history_tell_what_was_done_and_ask_no_registry(
    syncer: Call, mirrored: Path, eu: RegistryProcess, us: RegistryProcess, repository: str
) -> None:
    for registry in (eu, us):
        registry.forget_requests()
    assert told(syncer("status", config=mirrored)) == (
        "rule at outcome ended lag next\nmirror us ok T T in T\nnewest us never run by hand\n"
    )
    runs = syncer("history", "--json", config=mirrored).json["runs"]
    (run,) = [each["run"] for each in runs]
    assert told(syncer("history", config=mirrored), run) == (
        "run command rules outcome started took done\nR sync mirror ok T (T) T 4\n"
    )
    steps = told(syncer("history", run, config=mirrored), repository).splitlines()
    assert steps[0] == "ok: sync mirror, started T (T), took T"
    assert sorted(steps[3:]) == [
        *(f"done copy us/R/app:v1.0.{n} D" for n in range(3)),
        "done copy us/R/web:v1.0.0 D",
    ]
    assert (eu.requests(), us.requests()) == ([], [])


def test_prune_shows_and_stores_first_and_drops_when_told(
    syncer: Call, mirrored: Path, us: RegistryProcess, repository: str
) -> None:
    shown = syncer("prune", config=mirrored)
    (plan,) = syncer("status", "--json", config=mirrored).json["plans"]
    assert (
        told(shown, repository, plan["plan"])
        == """\
us/R/app (newest): 1 tag would go, 2 stay
  drop digest arrived why
  v1.0.0 D T rule 1: 3rd, held by none of: last 2
  keep 2: rule 1: last 2

ok: 1 tag in 1 repository would go, 3 stay
its space comes back with the registry's own garbage collection after that
nothing was dropped; to drop it: syncer apply X
"""
    )
    assert len(content.tags(us, f"{repository}/app")) == 3
    applied = syncer("prune", "newest", "--apply", config=mirrored)
    assert applied.code == 0
    assert "\nok: 3 tags stay, 1 dropped\n" in applied.out
    assert f"dropped us/{repository}/app:v1.0.0: " in applied.err
    assert content.tags(us, f"{repository}/app") == ["v1.0.1", "v1.0.2"]
