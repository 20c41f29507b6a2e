"""`syncer sync` and `syncer copy` as an operator runs them, between real registries."""

from __future__ import annotations

import signal
import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from syncer import state
from tests import content
from tests.program import end, start, syncer
from tests.registries import Factory, RegistryProcess, wait_for

Write = Callable[..., Path]
ANONYMOUS = 'auth = "anonymous"'


@pytest.fixture
def eu(make_registry: Factory) -> RegistryProcess:
    return make_registry("docker", name="eu")


@pytest.fixture
def us(make_registry: Factory) -> RegistryProcess:
    return make_registry("docker", name="us")


@pytest.fixture
def rules(tmp_path: Path, eu: RegistryProcess, us: RegistryProcess, repository: str) -> Write:
    """Writes a rules file with one rule that copies everything below `repository`."""

    def write(
        *, target: str = us.url, auth: str = ANONYMOUS, repos: str = f"{repository}/**"
    ) -> Path:
        path = tmp_path / "rules.toml"
        path.write_text(
            f'schema = 1\nstate.url = "sqlite:///state.db"\n'
            f'[registry.eu]\nurl = "{eu.url}"\n{ANONYMOUS}\n'
            f'[registry.us]\nurl = "{target}"\n{auth}\n'
            f'[[replicate]]\nname = "mirror"\nsource = "eu"\ntarget = "us"\n'
            f'repos = ["{repository}", "{repos}"]\n'
        )
        return path

    return write


def digests(registry: RegistryProcess, repository: str) -> dict[str, str]:
    return {
        tag: content.fetch(registry, repository, tag)[2]
        for tag in content.tags(registry, repository)
    }


def test_a_first_sync_copies_all_and_a_second_says_so_in_one_line(
    rules: Write, eu: RegistryProcess, us: RegistryProcess, repository: str
) -> None:
    content.series(eu, repository, 12)
    content.push(eu, f"{repository}/web", "latest", content.platforms("web"))
    config = rules()

    first = syncer("sync", config=config)
    assert (first.code, first.out.splitlines()[0]) == (0, "ok: 13 tags in step, 13 copied")
    assert "mirror  ok           2    13        0      13\n" in first.out
    assert first.err.startswith(f"rules: {config}\ncopying: 0 of ")
    assert digests(us, repository) == digests(eu, repository)

    us.forget_requests()
    second = syncer("sync", config=config)
    assert second.code == 0
    assert second.out.startswith("ok: 13 tags in step, nothing to do (")
    assert len(second.out.splitlines()) == 1
    assert us.methods().keys() <= {"GET", "HEAD"}


def test_the_json_object_has_the_keys_of_the_design(
    rules: Write, eu: RegistryProcess, repository: str
) -> None:
    content.series(eu, repository, 3)
    ended = syncer("sync", "--json", config=rules())
    found = ended.json
    assert ended.code == 0
    assert {"run", "command", "outcome", "rules", "steps", "blobs", "bytes"} <= found.keys()
    assert {"requests", "seconds", "errors"} <= found.keys()
    assert found["rules"][0].items() >= {"name": "mirror", "outcome": "ok", "matched": 3}.items()
    assert found["steps"].items() >= {"planned": 3, "done": 3, "failed": 0}.items()
    assert found["bytes"]["read"] == found["bytes"]["written"] > 0
    assert found["requests"]["us"]["PUT"] >= 3


def test_a_tag_of_somebody_else_is_a_conflict_and_its_neighbours_are_copied(
    rules: Write, eu: RegistryProcess, us: RegistryProcess, repository: str
) -> None:
    content.series(eu, repository, 3)
    theirs = content.push(us, repository, "v1.0.1", content.manifest("theirs"))
    ended = syncer("sync", config=rules())
    assert ended.code == 3
    assert ended.out.startswith("partial: 2 tags in step, 2 copied, 1 conflict\n")
    assert f"1 conflict: points to {theirs[:19]}, which syncer did not put there\n" in ended.out
    assert f"  us/{repository}:v1.0.1\n" in ended.out
    assert digests(us, repository)["v1.0.1"] == theirs


def test_repo_narrows_a_run(
    rules: Write, eu: RegistryProcess, us: RegistryProcess, repository: str
) -> None:
    for name in ("a", "b"):
        content.push(eu, f"{repository}/{name}", "v1", content.manifest(name))
    config = rules()
    ended = syncer("sync", "mirror", "--repo", "**/a", config=config)
    assert ended.code == 0
    assert (content.tags(us, f"{repository}/a"), content.tags(us, f"{repository}/b")) == (
        ["v1"],
        [],
    )
    ended = syncer("sync", "--repo", "nowhere/**", config=config)
    assert ended.code == 1
    assert "no source repository of the rules matches --repo nowhere/**\n" in ended.err


@pytest.mark.parametrize("as_json", [False, True])
def test_a_wrong_password_is_one_sentence_that_names_the_user_and_not_the_password(
    rules: Write, make_registry: Factory, eu: RegistryProcess, repository: str, *, as_json: bool
) -> None:
    locked = make_registry("docker", name="locked", users={"ci": "right"})
    content.push(eu, repository, "v1", content.manifest("a"))
    path = rules(target=locked.url, auth='auth = { username = "ci", password_file = "word" }')
    path.with_name("word").write_text("wrong-secret-word")
    ended = syncer("sync", *(["--json"] if as_json else []), config=path)
    assert ended.code == 1
    assert "wrong-secret-word" not in ended.out + ended.err
    if as_json:
        (error,) = ended.json["errors"]
        assert error["code"] == "UNAUTHORIZED"
        assert "'ci'" in error["message"]
    else:
        assert ended.out.startswith("failed: 0 tags in step, 1 failed\n")
        assert "1 failed, UNAUTHORIZED: " in ended.out
        assert "Traceback" not in ended.err


def test_an_unreachable_target_is_one_sentence_and_costs_seconds(
    rules: Write, eu: RegistryProcess, repository: str
) -> None:
    content.push(eu, repository, "v1", content.manifest("a"))
    ended = syncer("sync", config=rules(target="http://127.0.0.1:1"))
    assert ended.code == 1
    assert "127.0.0.1:1" in ended.out
    assert "refused" in ended.out
    assert "Traceback" not in ended.out + ended.err


def test_a_repository_that_is_named_and_not_there_is_an_error(rules: Write) -> None:
    ended = syncer("sync", config=rules(repos="t/also-not-there"))
    assert ended.code == 1
    assert "NAME_UNKNOWN" in ended.out


def test_a_target_that_takes_no_pushes_fails_and_says_so(
    rules: Write, make_registry: Factory, eu: RegistryProcess, repository: str
) -> None:
    content.push(eu, repository, "v1", content.manifest("a"))
    target = make_registry("docker", name="readonly", readonly=True)
    ended = syncer("sync", config=rules(target=target.url))
    assert ended.code == 1
    assert "1 failed, UNSUPPORTED" in ended.out


def test_too_many_replaced_tags_are_refused_with_5(
    rules: Write, eu: RegistryProcess, us: RegistryProcess, repository: str
) -> None:
    content.series(eu, repository, 12)
    config = rules()
    assert syncer("sync", config=config).code == 0
    before = digests(us, repository)
    for tag in before:
        content.push(eu, repository, tag, content.manifest(f"other {tag}"))
    ended = syncer("sync", config=config)
    assert ended.code == 5
    assert "12 of 12 tags would be replaced, more than max_overwrite_pct = 30" in ended.out
    assert digests(us, repository) == before


def test_a_repository_that_another_run_holds_is_held_with_75(
    rules: Write, eu: RegistryProcess, us: RegistryProcess, repository: str, tmp_path: Path
) -> None:
    content.push(eu, repository, "v1", content.manifest("a"))
    config = rules()
    url = f"sqlite:///{tmp_path / 'state.db'}"
    with state.open_state(url, now=lambda: datetime.now(UTC)) as other:
        assert other.leases.acquire(us.url, repository, "somebody")
        ended = syncer("sync", config=config)
    assert ended.code == 75
    assert "somebody" in ended.out


def _interrupted(
    config: Path, target: RegistryProcess, repository: str, *, signals: int
) -> tuple[int, str]:
    """Interrupts a sync that has copied something and whose target then stands still."""
    process = start("sync", config=config)
    assert process.stderr is not None
    try:
        wait_for(lambda: len(content.tags(target, repository)) >= 2, "the first tags")
        target.pause()
        process.send_signal(signal.SIGINT)
        assert any(line.startswith("stopping: ") for line in process.stderr)
        if signals == 2:
            process.send_signal(signal.SIGTERM)
            process.wait(20)
        target.resume()
        ended = end(process)
    finally:
        process.kill()
    return ended.code, ended.out


def test_a_stopped_run_ends_with_130_and_the_next_one_completes_it(
    rules: Write, registry: Factory, eu: RegistryProcess, repository: str
) -> None:
    content.series(eu, repository, 80)
    target = registry("docker")
    config = rules(target=target.url)
    code, out = _interrupted(config, target, repository, signals=1)
    assert code == 130
    assert out.startswith("interrupted: ")
    assert "syncer sync  goes on from here\n" in out
    assert syncer("sync", config=config).code == 0
    assert digests(target, repository) == digests(eu, repository)


def test_a_second_signal_ends_at_once_and_the_run_is_on_record(
    rules: Write, registry: Factory, eu: RegistryProcess, repository: str, tmp_path: Path
) -> None:
    content.series(eu, repository, 80)
    target = registry("docker")
    code, out = _interrupted(rules(target=target.url), target, repository, signals=2)
    assert (code, out) == (130, "")
    with sqlite3.connect(tmp_path / "state.db") as database:
        assert database.execute("SELECT outcome FROM run").fetchall() == [("interrupted",)]


def test_copy_needs_no_rules_file(
    eu: RegistryProcess, us: RegistryProcess, repository: str, tmp_path: Path
) -> None:
    first = content.push(eu, repository, "v1", content.platforms("a"))
    content.push(eu, repository, "v2", content.manifest("b"))
    ended = syncer("copy", f"{eu.host}/{repository}:v1", f"{us.host}/{repository}/one")
    assert (ended.code, ended.err) == (0, "copying: 0 of 1 tag\n")
    assert digests(us, f"{repository}/one") == {"v1": first}
    ended = syncer("copy", "--all-tags", "--json", f"{eu.url}/{repository}", us.host)
    assert ended.json["outcome"] == "ok"
    assert digests(us, repository) == digests(eu, repository)


def test_copy_knows_the_registries_of_a_rules_file_by_name(
    rules: Write, eu: RegistryProcess, us: RegistryProcess, repository: str
) -> None:
    digest = content.push(eu, repository, "v1", content.manifest("a"))
    ended = syncer("copy", f"eu/{repository}:v1", f"us/{repository}:stable", config=rules())
    assert ended.code == 0
    assert digests(us, repository) == {"stable": digest}
    ended = syncer("copy", f"nowhere/{repository}:v1", "us", config=rules())
    assert ended.code == 2
    assert "'nowhere' is neither a host nor a registry of " in ended.err
