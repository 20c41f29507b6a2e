"""What a right rules file says, as values."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from pydantic import ValidationError

from syncer import errors, layout, patterns, retention, rules

MINIMAL = """
schema = 1
[registry.eu]
url = "https://eu.example.com"
[registry.us]
url = "https://us.example.com"
[[replicate]]
name = "eu-to-us"
source = "eu"
target = "us"
repos = ["prod/**"]
"""

POLICY = r"""
schema = 1
timezone = "Europe/Berlin"
[registry.us]
url = "https://us.example.com"
[registry.dr]
url = "https://dr.example.com"
[retention.guard]
min_age = "2d"
max_delete_run = 7
[[retention.policy]]
name = "releases"
registry = "us"
repos = ["prod/**"]
protect = ["latest"]
pins = ["pins.d/*.txt", "/etc/pins"]
untagged = { grace = "14d" }
require_mirrored = ["dr"]
guard = { min_keep = 3 }
  [[retention.policy.rule]]
  name = "versions"
  tags = 're:v(?P<major>\d+)\.(?P<minor>\d+)\.\d+'
  group = ["major", "minor"]
  sort = "semver"
  keep = { last = 2, daily = 7, weekly = "28d", pulled_within = "90d", oldest = true }
  [[retention.policy.rule]]
  tags = "semver:>=1"
  group = ["major"]
  keep = { within = "30d" }
[[retention.policy]]
name = "rest"
registry = "us"
repos = ["**"]
"""


def registry(keys: str) -> rules.Registry:
    """A registry with those further keys."""
    text = f'schema = 1\n[registry.r]\nurl = "https://r.example.com"\n{keys}'
    return rules.loads(text, base=Path("/etc/syncer")).registry["r"]


def test_what_a_rule_does_not_say_has_a_default() -> None:
    loaded = rules.loads(MINIMAL)
    rule = loaded.rule("eu-to-us")
    assert (rule.source, rule.target) == ("eu", ("us",))
    assert rule.schedule is None
    assert (rule.overwrite, rule.max_overwrite_pct, rule.unsupported) == ("ours", 30, "skip")
    assert not rule.allow_empty
    assert rule.renamed("prod/app") == "prod/app"
    assert rule.tag_selection.matches("anything")
    assert rule.mutable_selection.matches("latest")
    assert loaded.timezone == ZoneInfo("UTC")
    assert loaded.state.path == Path("/var/lib/syncer/state.db")
    assert str(loaded.daemon.listen) == "127.0.0.1:9564"
    assert loaded.daemon.drain == timedelta(seconds=60)


def test_a_registry_knows_its_name_and_its_defaults() -> None:
    eu = rules.loads(MINIMAL).registry["eu"]
    assert (eu.name, eu.url, eu.concurrency) == ("eu", "https://eu.example.com", 32)
    assert eu.auth == rules.DockerConfig(docker_config=None)
    assert eu.timeout == timedelta(seconds=60)
    assert eu.proxy is None
    assert eu.repos == ()


@pytest.mark.parametrize(
    ("auth", "expected"),
    [
        ('"anonymous"', rules.Anonymous()),
        ('{ docker_config = "default" }', rules.DockerConfig()),
        (
            '{ docker_config = "login.json" }',
            rules.DockerConfig.model_construct(docker_config=Path("/etc/syncer/login.json")),
        ),
        (
            '{ username = "ci", password_file = "/run/pw" }',
            rules.PasswordFile(username="ci", password_file="/run/pw"),  # type: ignore[arg-type]
        ),
        (
            '{ username = "ci", password_env = "CI_PASSWORD" }',
            rules.PasswordEnv(username="ci", password_env="CI_PASSWORD"),
        ),
        ('{ credential = "dr" }', rules.SystemdCredential(credential="dr")),
        (
            '{ credential = "dr", username = "ci" }',
            rules.SystemdCredential(credential="dr", username="ci"),
        ),
    ],
)
def test_each_way_to_say_who_to_be_has_its_class(auth: str, expected: rules.Auth) -> None:
    assert registry(f"auth = {auth}").auth == expected


@pytest.mark.parametrize(
    ("url", "canonical"),
    [
        ("https://Registry.Example.com:443/", "https://registry.example.com"),
        ("http://registry.example.com:80", "http://registry.example.com"),
        ("http://127.0.0.1:5000", "http://127.0.0.1:5000"),
        ("https://[2001:DB8::1]:8443/", "https://[2001:db8::1]:8443"),
        ("https://docker.io", "https://registry-1.docker.io"),
    ],
)
def test_a_url_has_one_spelling(url: str, canonical: str) -> None:
    text = f'schema = 1\n[registry.r]\nurl = "{url}"'
    assert rules.loads(text).registry["r"].url == canonical


def test_relative_paths_begin_at_the_directory_of_the_file(tmp_path: Path) -> None:
    file = tmp_path / "rules.toml"
    file.write_text(
        'schema = 1\n[state]\nurl = "sqlite:///state.db"\n[registry.r]\nurl = "http://r"\n'
        'ca_file = "ca.pem"\nclient_cert = "/abs/cert.pem"\nclient_key = "../key.pem"\n'
    )
    loaded = rules.load(file)
    found = loaded.registry["r"]
    assert loaded.state.path == tmp_path / "state.db"
    assert loaded.state.url == f"sqlite:///{tmp_path}/state.db"
    assert found.ca_file == tmp_path / "ca.pem"
    assert found.client_cert == Path("/abs/cert.pem")
    assert found.client_key == tmp_path / "../key.pem"


def test_a_registry_without_a_catalog_names_its_repositories() -> None:
    assert registry('repos = ["prod/app", "db"]\nproxy = ""').repos == ("prod/app", "db")


def test_a_schedule_carries_its_jitter() -> None:
    rule = rules.loads(MINIMAL + 'jitter = "1m"\nschedule = "every 10m"').rule("eu-to-us")
    assert rule.schedule is not None
    assert rule.schedule.every == timedelta(minutes=10)
    assert rule.schedule.jitter == timedelta(minutes=1)


def test_several_patterns_make_one_selection() -> None:
    text = MINIMAL.replace('["prod/**"]', '["prod/**", "base"]\nexclude_repos = ["prod/tmp/*"]')
    rule = rules.loads(text + 'rename = "mirror/{repo}"').rule("eu-to-us")
    assert [n for n in ("base", "prod/a", "prod/tmp/a", "x") if rule.repo_selection.matches(n)] == [
        "base",
        "prod/a",
    ]
    assert rule.renamed("base") == "mirror/base"
    assert rule.names("base")
    assert not rule.names("prod/a")
    assert rule.literal_repos is None


def test_literal_repositories_need_no_catalog_and_one_may_have_any_name() -> None:
    rule = rules.loads(MINIMAL.replace("prod/**", "app") + 'rename = "team/app"').rule("eu-to-us")
    assert rule.literal_repos == ("app",)
    assert rule.renamed("app") == "team/app"


def test_a_policy_becomes_a_value_of_the_retention_engine() -> None:
    pin = retention.Pin(repository="prod/app", tag="v1")
    policy = rules.loads(POLICY).policy("releases").policy([pin])
    assert policy == retention.RetentionPolicy(
        name="releases",
        rules=(
            retention.Rule(
                name="versions",
                tags=patterns.parse(r"re:v(?P<major>\d+)\.(?P<minor>\d+)\.\d+"),
                group=("major", "minor"),
                sort="semver",
                keep=retention.Keep(
                    last=2,
                    daily=7,
                    weekly=timedelta(days=28),
                    pulled_within=timedelta(days=90),
                    oldest=True,
                ),
            ),
            retention.Rule(
                name="rule 2",
                tags=patterns.parse("semver:>=1"),
                group=("major",),
                keep=retention.Keep(within=timedelta(days=30)),
            ),
        ),
        protect=(patterns.parse("latest"),),
        pins=(pin,),
        untagged_grace=timedelta(days=14),
        guard=retention.Guard(min_age=timedelta(days=2), min_keep=3, max_delete_run=7),
        timezone=ZoneInfo("Europe/Berlin"),
        require_mirrored=("dr",),
    )


def test_a_policy_without_a_guard_of_its_own_has_that_of_all() -> None:
    policy = rules.loads(POLICY).policy("rest").policy()
    assert policy.guard == retention.Guard(min_age=timedelta(days=2), max_delete_run=7)
    assert policy.untagged_grace is None
    assert policy.rules == ()


def test_the_guards_defaults_are_those_of_the_engine() -> None:
    assert retention.Guard(**dict(rules.GuardRules())) == retention.Guard()


def test_pins_are_whole_paths_or_globs_of_them() -> None:
    loaded = rules.loads(POLICY, base=Path("/etc/syncer"))
    assert loaded.policy("releases").pins == ("/etc/syncer/pins.d/*.txt", "/etc/pins")


def test_the_first_policy_that_matches_a_repository_decides() -> None:
    loaded = rules.loads(POLICY)

    def name(registry: str, repository: str) -> str | None:
        policy = loaded.policy_for(registry, repository)
        return policy.name if policy else None

    assert name("us", "prod/app") == "releases"
    assert name("us", "dev/app") == "rest"
    assert name("dr", "prod/app") is None


def test_an_unknown_name_is_a_usage_error_that_suggests_one() -> None:
    loaded = rules.loads(MINIMAL)
    with pytest.raises(errors.UsageError, match="'eu-to-su'; did you mean 'eu-to-us'"):
        loaded.rule("eu-to-su")
    with pytest.raises(errors.UsageError, match=r"no retention policy 'eu-to-us'$"):
        loaded.policy("eu-to-us")


def test_the_digest_is_that_of_the_text(tmp_path: Path) -> None:
    file = tmp_path / "rules.toml"
    file.write_text(MINIMAL)
    assert rules.load(file).digest == hashlib.sha256(MINIMAL.encode()).hexdigest()
    assert rules.loads(MINIMAL + "\n").digest != rules.loads(MINIMAL).digest


def test_rules_do_not_change() -> None:
    loaded = rules.loads(MINIMAL)
    with pytest.raises(ValidationError, match="frozen"):
        loaded.replicate[0].name = "other"  # type: ignore[misc]


@pytest.mark.parametrize("text", ["127.0.0.1:9564", "[::1]:0", "syncer.example.com:80"])
def test_an_address_prints_as_it_was_written(text: str) -> None:
    loaded = rules.loads(f'schema = 1\n[daemon]\nlisten = "{text}"')
    assert str(loaded.daemon.listen) == text
    assert "[" not in loaded.daemon.listen.host


def many(count: int) -> str:
    """A file of `count` rules, half in each direction, that lead nowhere in circles."""
    parts = ['schema = 1\n[registry.a]\nurl = "https://a"\n[registry.b]\nurl = "https://b"\n']
    for number in range(count):
        one, other = ("a", "b") if number % 2 else ("b", "a")
        parts.append(
            f'[[replicate]]\nname = "rule-{number}"\nsource = "{one}"\ntarget = ["{other}"]\n'
            f'repos = ["team-{number}/**"]\ntags = ["v*", "re:r[0-9]+"]\n'
            f'schedule = "{number % 60} 3 * * *"\n'
        )
    return "".join(parts)


def test_a_thousand_rules_load_in_about_a_second() -> None:
    """The bound is of processor time, thrice what it takes, so that busy neighbours do not matter."""
    text = many(1000)
    began = time.process_time()
    assert len(rules.loads(text).replicate) == 1000
    assert time.process_time() - began < 3


def test_positions_are_not_looked_for_in_a_file_that_is_right() -> None:
    code = f"import sys; from syncer import rules; rules.loads({MINIMAL!r}); print(*sys.modules)"
    modules = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    ).stdout.split()
    assert "syncer.rules.model" in modules
    assert not {"tree_sitter", "tree_sitter_toml", "sqlmodel", "httpx"} & set(modules)


def test_an_image_layout_has_one_spelling_whatever_leads_to_it(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "link").symlink_to("disk")
    for path in ("disk/usb", "link/usb/", "disk/../link/./usb"):
        text = f'schema = 1\n[registry.usb]\nurl = "oci:{tmp_path}/{path}"\n'
        usb = rules.loads(text).registry["usb"]
        assert usb.url == layout.Layout(tmp_path / path).key == f"oci:{tmp_path}/disk/usb"
        assert usb.layout == tmp_path / "disk" / "usb"
    assert registry("").layout is None


def test_a_name_at_the_targets_is_put_together_from_captures() -> None:
    text = MINIMAL.replace(
        '["prod/**"]', "['re:a/(?P<x>.+)/(?P<y>.+)', 're:b/(?P<y>.+)/(?P<x>.+)']"
    )
    (rule,) = rules.loads(f"{text}rename = '{{y}}/{{x}}/{{repo}}'").replicate
    assert rule.renamed("a/1/2") == "2/1/a/1/2"
    assert rule.renamed("b/1/2") == "1/2/b/1/2"
