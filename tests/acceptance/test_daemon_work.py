"""What syncerd does beside copying: plans, credentials, notices, neighbours, and what it never says."""

from __future__ import annotations

import base64
import json
import os
import re
import signal
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest

from syncer import state
from tests import content
from tests.client import Client
from tests.daemon import PROGRAM, SyncerDaemon, registries, rule
from tests.registries import Factory, RegistryProcess, wait_for
from tests.webhook import Webhook

POLICY = """
[retention.guard]
min_age = "0h"
[[retention.policy]]
name = "releases"
registry = "a"
repos = ["{repository}"]
schedule = "every 1h"
apply = {apply}
  [[retention.policy.rule]]
  tags = "*"
  sort = "semver"
  keep = {{ last = 2 }}
"""


@pytest.mark.parametrize(
    ("apply", "confirmed", "left"), [("true", True, 2), ("true", False, 5), ("false", True, 5)]
)
def test_a_schedule_drops_only_where_the_policy_and_an_operator_have_said_so(
    tmp_path: Path, registry: Factory, repository: str, apply: str, left: int, *, confirmed: bool
) -> None:
    source = registry()
    content.series(source, repository, 5)
    policy = POLICY.format(repository=repository, apply=apply)
    daemon = SyncerDaemon(tmp_path, registries(a=source) + policy)
    with _open(daemon) as opened:
        if confirmed:
            opened.confirm_operator()
    with daemon:
        daemon.logged("run.finished", outcome="ok")
        (stored,) = daemon.log("plan.stored", drops=3)
        assert bool(stored["waits_for"]) == (left == 5)
        drops = daemon.log("step.done", action="drop", rule="releases")
        assert len(drops) == 5 - left
        assert all(drop["digest"] and drop["run"] == stored["run"] for drop in drops)
    with _open(daemon) as opened:
        plan = opened.plans.get(stored["plan"])
        assert plan
        assert plan.status == ("pending" if left == 5 else "applied")
    with Client(source) as client:
        assert sum(client.has(repository, f"v1.0.{number}") for number in range(5)) == left


def test_credentials_are_read_anew_on_reload(
    tmp_path: Path, registry: Factory, make_registry: Factory, repository: str
) -> None:
    """What a credential program said is remembered until it is refused, or a reload comes."""
    source, target = registry(users={"alice": "wonderland"}), make_registry(name="b")
    content.series(source, repository, 1)
    asked = tmp_path / "asked"
    program = tmp_path / "bin" / "docker-credential-mark"
    program.parent.mkdir()
    answer = json.dumps({"Username": "alice", "Secret": "wonderland"})
    program.write_text(f"#!/bin/sh\necho asked >> {asked}\necho '{answer}'\n")
    program.chmod(0o755)
    login = tmp_path / "config.json"
    login.write_text(json.dumps({"credHelpers": {source.host: "mark"}}))
    auth = f'{{ docker_config = "{login}" }}'
    known = registries(a=source, b=target).replace('"anonymous"', auth, 1)
    path = {"PATH": f"{program.parent}:{os.environ['PATH']}"}
    with SyncerDaemon(
        tmp_path / "daemon", known + rule("one", [repository]), environment=path
    ) as daemon:
        daemon.logged("run.finished", rule="one", outcome="ok")
        assert asked.read_text().count("asked") == 1
        daemon.write(known + rule("two", [repository], rename='"two/{repo}"'))
        daemon.send(signal.SIGHUP)
        daemon.logged("run.finished", rule="two", outcome="ok")
        assert asked.read_text().count("asked") == 2


def _log_in(path: Path, registry: RegistryProcess, user: str, password: str) -> None:
    auth = base64.b64encode(f"{user}:{password}".encode()).decode()
    path.write_text(json.dumps({"auths": {registry.host: {"auth": auth}}}))


def test_work_that_another_process_holds_is_left_to_it_by_name(
    tmp_path: Path, make_registry: Factory, repository: str
) -> None:
    source, target = make_registry(name="a"), make_registry(name="b")
    held, free = f"{repository}/held", f"{repository}/free"
    for name in (held, free):
        content.series(source, name, 2)
    daemon = SyncerDaemon(tmp_path, registries(a=source, b=target) + rule("mirror", [held, free]))
    with _open(daemon) as opened:
        lease = opened.leases.acquire(target.url, held, "a sync by hand")
        assert lease
        with daemon:
            daemon.logged("run.finished", outcome="partial")
            for line in daemon.log("step.held"):
                assert f"held by process {os.getpid()}" in line["reason"]
                assert "a sync by hand" in line["reason"]
            assert content.tags(target, free) == content.tags(source, free)
            assert content.tags(target, held) == []


def test_failure_and_recovery_reach_the_webhook(
    tmp_path: Path, registry: Factory, repository: str
) -> None:
    source, target = registry(), registry()
    broken = content.series(source, repository, 1)["v1.0.0"].blobs[-1]
    whole = source.blob_file(broken.digest).read_bytes()
    source.blob_file(broken.digest).write_bytes(b"damaged")
    known = registries(a=source, b=target)
    with Webhook() as hook:
        notify = f'[notify]\nwebhook = "{hook.url}"\n'
        with SyncerDaemon(tmp_path, notify + known + rule("mirror", [repository])) as daemon:
            (told,) = hook.wait(1)
            assert (told["event"], told["rule"]) == ("failure", "mirror")
            assert told["run"] == daemon.log("run.finished")[0]["run"]
            assert f"{repository}:v1.0.0" in told["message"]
            source.blob_file(broken.digest).write_bytes(whole)
            daemon.send(signal.SIGTERM)
            assert daemon.wait() == 0
        with _open(daemon) as opened:  # as if its next time had come
            opened.rules.finished("mirror", target.url, started=_now(), outcome="interrupted")
        with daemon:
            daemon.logged("run.finished", outcome="ok")
            hook.wait(2)
        assert [each["event"] for each in hook.taken] == ["failure", "recovery"]


SECRETS = {
    "password": "hunter2-docker-config",
    "file": "hunter2-password-file",
    "variable": "hunter2-environment",
    "webhook": "hunter2-webhook",
    "identity": "hunter2-identity-token",
}


def test_no_secret_is_ever_told(tmp_path: Path, registry: Factory, repository: str) -> None:
    """Each goes down its path, most of them refused, and none comes out anywhere."""
    users = {"alice": SECRETS["password"]}
    source, target = registry(users=users), registry(users={"bob": "another"})
    content.series(source, repository, 2, login=("alice", SECRETS["password"]))
    login, file, hook = (tmp_path / name for name in ("auth.json", "password", "hook"))
    _log_in(login, source, "alice", SECRETS["password"])
    entries = json.loads(login.read_text())
    entries["auths"]["other.example.com"] = {"identitytoken": SECRETS["identity"]}
    login.write_text(json.dumps(entries))
    file.write_text(SECRETS["file"])
    tables = {
        "a": (source.url, f'{{ docker_config = "{login}" }}'),
        "b": (target.url, f'{{ username = "bob", password_file = "{file}" }}'),
        "c": (target.url.replace("127.0.0.1", "localhost"), _VARIABLE),
        "d": ("http://127.0.0.1:1", f'{{ docker_config = "{login}" }}'),
    }
    known = "".join(
        f'[registry.{name}]\nurl = "{url}"\nauth = {auth}\n' for name, (url, auth) in tables.items()
    )
    with Webhook(f"/{SECRETS['webhook']}") as webhook:
        webhook.status = 403
        hook.write_text(webhook.url)
        rules = f'[notify]\nwebhook = "{hook}"\n{known}'
        for name in ("b", "c", "d"):
            rules += rule(f"to-{name}", [repository], target=f'["{name}"]')
        environment = {"SYNCER_TEST_PASSWORD": SECRETS["variable"]}
        command = [str(PROGRAM), "-v"]
        daemon = SyncerDaemon(tmp_path / "daemon", rules, environment=environment, command=command)
        with daemon:
            daemon.logged("run.finished", 3)
            wait_for(lambda: webhook.attempts > 1, "the webhook")
            daemon.write(rules + 'password = "x"\n')
            daemon.send(signal.SIGHUP)
            daemon.until("READY=1", 2)
            pages = {path: daemon.get(path)[2] for path in _paths(daemon)}
            daemon.send(signal.SIGTERM)
            assert daemon.wait() == 0
    told = {
        **pages,
        "log": daemon.log_file.read_text(),
        "notifications": "\n".join(daemon.messages),
        **{
            path.name: path.read_bytes().decode("latin-1") for path in daemon.state.parent.iterdir()
        },
        **{line: _syncer(daemon, *line.split()) for line in ("status --json", "history --json")},
    }
    assert "UNAUTHORIZED" in told["log"]
    assert "403 from 127.0.0.1" in told["log"]
    for where, text in told.items():
        for name, secret in SECRETS.items():
            assert secret not in text, f"{name} in {where}"
            for user in ("alice", "bob"):
                encoded = base64.b64encode(f"{user}:{secret}".encode()).decode()
                assert encoded not in text, f"{name}, encoded, in {where}"


_VARIABLE = '{ username = "bob", password_env = "SYNCER_TEST_PASSWORD" }'


def _paths(daemon: SyncerDaemon) -> list[str]:
    return ["/metrics", *sorted(set(re.findall(r'href="(/[^"]*)"', daemon.get("/")[2])))]


def _syncer(daemon: SyncerDaemon, *arguments: str) -> str:
    done = subprocess.run(
        [PROGRAM.with_name("syncer"), "-c", daemon.config, *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "SYNCER_TEST_PASSWORD": SECRETS["variable"]},
        timeout=60,
    )
    return done.stdout + done.stderr


def _open(daemon: SyncerDaemon) -> state.State:
    return state.open_state(f"sqlite:///{daemon.state}", now=_now)


def _now() -> datetime:
    return datetime.now(UTC)
