"""`syncer check`, and how every command ends when the file or the command line is wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from syncer import cli

RULES = """\
schema = 1
timezone = "Europe/Berlin"
[state]
url = "sqlite:////var/lib/syncer/state.db"
[registry.eu]
url = "https://registry.eu.example.com"
[registry.us]
url = "http://registry.us.example.com"
auth = { username = "ci", password_file = "/etc/syncer/us" }
concurrency = 4
[registry.spare]
url = "http://127.0.0.1:5000"
auth = "anonymous"
[[replicate]]
name = "eu-to-us"
source = "eu"
target = ["us"]
repos = ["prod/**"]
exclude_repos = ["prod/old/*"]
tags = ["semver:>=1.4"]
rename = "mirror/{repo}"
schedule = "every 10m"
jitter = "1m"
[[retention.policy]]
name = "releases"
registry = "us"
repos = ["mirror/**"]
protect = ["latest"]
  [[retention.policy.rule]]
  tags = "v*"
  sort = "semver"
  keep = { last = 2, within = "90d" }
"""

TOLD = """\
ok: {file}: 3 registries, 1 replication rule, 1 retention policy

registry  url                              as                                   concurrency
eu        https://registry.eu.example.com  docker config                                 32
us        http://registry.us.example.com   user ci, password in /etc/syncer/us            4
spare     http://127.0.0.1:5000            anonymous                                     32

eu-to-us: eu -> us
  repositories prod/** except prod/old/*
  tags semver:>=1.4
  as mirror/{{repo}}
  every 10 minutes, up to 1 minute later

releases: at us
  repositories mirror/**
  keep latest whatever the rules say
  of tags matching v*, by version: keep the highest 2 and those of the last 90 days; drop the rest
  keep every tag that no rule claims
  drop nothing younger than 24 hours; leave at least 1 tagged digest; refuse more than 200 drops \
or 30 % of a repository, or 2000 in a run
  by hand: stores a plan (apply = false)

warning: registry us is spoken to in the clear: http://registry.us.example.com

warning: registry spare is named by no rule and no policy
"""


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    path = tmp_path / "rules.toml"
    path.write_text(RULES)
    return path


def test_check_tells_the_file_back_in_words(
    rules: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(["-c", str(rules), "check"]) == 0
    assert capsys.readouterr() == (TOLD.format(file=rules), "")


def test_the_options_of_all_commands_may_stand_after_the_command(
    rules: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(["check", "-c", str(rules)]) == 0
    assert capsys.readouterr().out.startswith("ok: ")


def test_the_file_is_that_of_the_environment_where_no_option_names_one(
    rules: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SYNCER_CONFIG", str(rules))
    assert cli.run(["check"]) == 0
    assert str(rules) in capsys.readouterr().out


def test_check_has_everything_as_json(rules: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["-c", str(rules), "check", "--json"]) == 0
    out, err = capsys.readouterr()
    found = json.loads(out)
    assert err == ""
    assert found.keys() == {
        *("command", "outcome", "file", "timezone", "state"),
        *("registries", "rules", "policies", "warnings"),
    }
    assert [rule["name"] for rule in found["rules"]] == ["eu-to-us"]
    assert found["policies"][0]["sentences"][0] == "keep latest whatever the rules say"


def test_a_cron_line_tells_its_next_run_on_the_clocks_of_the_file(
    rules: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rules.write_text(RULES.replace("every 10m", "30 3 * * *"))
    cli.run(["-c", str(rules), "check"])
    out = capsys.readouterr().out
    assert "  at 03:30 every day, up to 1 minute later, next 20" in out
    assert " 03:30 (in " in out


BROKEN = RULES.replace('schedule = "every 10m"', 'schedule = "sometimes"').replace(
    'registry = "us"', 'registry = "ut"'
)


def test_every_problem_has_a_line_then_their_number(
    rules: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rules.write_text(BROKEN)
    assert cli.run(["-c", str(rules), "check"]) == 78
    out, err = capsys.readouterr()
    lines = err.splitlines()
    assert out == ""
    assert [line.partition(": ")[0] for line in lines] == [
        f"{rules}:22 replicate[0].schedule",
        f"{rules}:26 retention.policy[0].registry",
        "syncer",
    ]
    assert lines[-1] == f"syncer: error: 2 problems in {rules}; nothing was started"


@pytest.mark.parametrize("command", ["check", "plan", "sync", "prune", "ls", "status", "history"])
def test_every_command_refuses_a_wrong_file_with_78_and_says_so_as_json(
    command: str, rules: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rules.write_text(BROKEN)
    assert cli.run(["-c", str(rules), command, "--json"]) == 78
    found = json.loads(capsys.readouterr().out)
    assert found.keys() == {"command", "outcome", "errors"}
    assert (found["command"], found["outcome"]) == (command, "failed")
    first, second = found["errors"]
    assert first["code"] == second["code"] == "RULES"
    assert first["reference"] == f"{rules}:22 replicate[0].schedule"


def test_a_missing_file_says_how_to_name_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    missing = tmp_path / "none.toml"
    monkeypatch.setenv("SYNCER_CONFIG", str(missing))
    assert cli.run(["sync"]) == 78
    hint = "there is no such file; name one with -c FILE or $SYNCER_CONFIG"
    assert capsys.readouterr().err.splitlines() == [
        f"{missing}: {hint}",
        f"syncer: error: 1 problem in {missing}; nothing was started",
    ]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["sync", "nope"], "nope"),
        (["plan", "nope"], "'nope'"),
        (["prune", "nope"], "nope"),
        (["ls", "nope"], "'nope'"),
        (["ls", "us/UPPER:v1"], "UPPER"),
        (["ls", "/x"], "names no registry"),
        (["sync", "--repo", "a//b"], "--repo: "),
        (["history", "nope"], "'nope'"),
    ],
)
def test_a_wrong_word_on_the_command_line_is_one_sentence_and_2(
    arguments: list[str], sentence: str, rules: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = f"sqlite:///{rules.with_name('state.db')}"
    rules.write_text(RULES.replace("sqlite:////var/lib/syncer/state.db", url))
    assert cli.run(["-c", str(rules), *arguments]) == 2
    out, err = capsys.readouterr()
    assert (out, err.splitlines()[0]) == ("", f"rules: {rules}")
    assert err.splitlines()[1].startswith("syncer: error: ")
    assert sentence in err.splitlines()[1]
    assert len(err.splitlines()) == 2


@pytest.mark.parametrize("arguments", [["nope"], ["sync", "--nope"], ["copy", "one"]])
def test_clicks_own_errors_are_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(arguments) == 2
    assert "Usage: syncer" in capsys.readouterr().err
