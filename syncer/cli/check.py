"""`syncer check`: the rules file, told back in words."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import click

from syncer.cli import console, text
from syncer.cli.command import Command, as_json
from syncer.cli.session import Session, now

if TYPE_CHECKING:
    from syncer.rules import PolicyRules, Registry, ReplicateRule, Rules

_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


@click.command(
    "check",
    cls=Command,
    exits=(78,),
    words={
        0: "the file is right and, with --online, every registry allows what the rules need",
        1: "with --online: a registry is not reached or does not allow what the rules need",
    },
)
@click.option("--online", is_flag=True, help="Also ask every registry who we are and what we may.")
@as_json
@click.pass_obj
def command(session: Session, *, online: bool, as_json: bool) -> int:
    """Validate the rules file and say what it means.

    With --online each registry is asked who we are there and whether we may do what the rules
    need: pull from sources, push to targets, delete where a policy applies. Nothing is changed.
    """
    rules = session.rules(quiet=True)
    moment = now()
    found = _told(rules, moment) | {"command": "check", "file": str(session.path)}
    if not as_json:
        _show(found, moment, rules)
    missing = False
    if online:
        from syncer.cli import online as reach

        reached = reach.look(session, rules)
        missing = any(each["error"] for each in reached["registries"])
        missing |= any(each["denied"] for each in reached["permissions"])
        found["online"] = reached
        if not as_json:
            reach.show(reached)
    if as_json:
        console.emit(found | {"outcome": "failed" if missing else "ok"})
    return int(missing)


def _told(rules: Rules, moment: datetime) -> dict[str, Any]:
    from syncer import retention

    return {
        "timezone": rules.timezone.key,
        "state": rules.state.url,
        "registries": [_registry(name, each) for name, each in rules.registry.items()],
        "rules": [
            {
                "name": rule.name,
                "source": rule.source,
                "target": list(rule.target),
                "repos": _patterns(rule.repos, rule.exclude_repos),
                "tags": _patterns(rule.tags, rule.exclude_tags),
                "latest": _latest(rule),
                "rename": rule.rename,
                "platforms": list(rule.platforms),
                "foreign": rule.foreign,
                "overwrite": rule.overwrite,
                **_schedule(rule, rules, moment),
            }
            for rule in rules.replicate
        ],
        "policies": [
            {
                "name": policy.name,
                "registry": policy.registry,
                "repos": _patterns(policy.repos),
                "apply": policy.apply,
                "sentences": retention.sentences(policy.policy()),
                **_schedule(policy, rules, moment),
            }
            for policy in rules.policies
        ],
        "warnings": list(_warnings(rules)),
    }


def _registry(name: str, settings: Registry) -> dict[str, Any]:
    return {
        "name": name,
        "url": settings.url,
        "auth": "" if settings.layout else _auth(settings),
        "concurrency": None if settings.layout else settings.concurrency,
    }


def _auth(settings: Registry) -> str:
    """Who we mean to be at a registry and where the secret is; never the secret."""
    from syncer import rules

    match settings.auth:
        case rules.PasswordFile(username=user, password_file=path):
            return f"user {user}, password in {path}"
        case rules.PasswordEnv(username=user, password_env=variable):
            return f"user {user}, password in ${variable}"
        case rules.SystemdCredential(credential=name, username=user):
            return f"{f'user {user}, ' if user else ''}systemd credential {name}"
        case rules.DockerConfig(docker_config=path):
            return str(path) if path else "docker config"
        case rules.Anonymous():
            return "anonymous"


def _patterns(include: tuple[Any, ...], exclude: tuple[Any, ...] = ()) -> str:
    words = ", ".join(map(str, include))
    return f"{words} except {', '.join(map(str, exclude))}" if exclude else words


def _latest(rule: ReplicateRule) -> str:
    if rule.latest is None:
        return ""
    order = "versions" if rule.latest.sort == "semver" else "by name"
    return f"the latest {rule.latest.count} {order}"


def _schedule(rule: ReplicateRule | PolicyRules, rules: Rules, moment: datetime) -> dict[str, Any]:
    from syncer.cli import schedules

    schedule = rule.schedule
    follows_clock = schedule is not None and schedule.every is None
    return {
        "schedule": schedules.words(schedule),
        "next": schedule.next_after(moment, rules.timezone) if schedule and follows_clock else None,
    }


def _warnings(rules: Rules) -> Iterator[str]:
    used = {name for rule in rules.replicate for name in (rule.source, *rule.target)}
    used |= {
        name for policy in rules.policies for name in (policy.registry, *policy.require_mirrored)
    }
    for name, settings in rules.registry.items():
        if name not in used:
            yield f"registry {name} is named by no rule and no policy"
        url = urlsplit(settings.url)
        if url.scheme == "http" and url.hostname not in _LOOPBACK:
            yield f"registry {name} is spoken to in the clear: {settings.url}"
    if not rules.replicate and not rules.policies:
        yield "there is no rule and no policy: nothing to do"


def _show(found: dict[str, Any], moment: datetime, rules: Rules) -> None:
    counts = ", ".join(
        (
            text.number(len(found["registries"]), "registry", "registries"),
            text.number(len(found["rules"]), "replication rule"),
            text.number(len(found["policies"]), "retention policy", "retention policies"),
        )
    )
    console.outcome("ok", f"{found['file']}: {counts}")
    console.say()
    console.table(
        ("registry", "url", "as", ">concurrency"),
        (
            (each["name"], each["url"], each["auth"], str(each["concurrency"] or ""))
            for each in found["registries"]
        ),
    )
    for rule in found["rules"]:
        console.say(f"\n{rule['name']}: {rule['source']} -> {', '.join(rule['target'])}", "bold")
        console.say(f"  repositories {rule['repos']}")
        console.say(f"  tags {', '.join(filter(None, (rule['tags'], rule['latest'])))}")
        if rule["rename"] != "{repo}":
            console.say(f"  as {rule['rename']}")
        if rule["platforms"]:
            console.say(f"  indexes trimmed to {', '.join(rule['platforms'])}")
        if rule["foreign"]:
            console.say("  with non-distributable layers")
        console.say(f"  {_when(rule, moment, rules)}")
    for policy in found["policies"]:
        console.say(f"\n{policy['name']}: at {policy['registry']}", "bold")
        console.say(f"  repositories {policy['repos']}")
        for sentence in policy["sentences"]:
            console.say(f"  {sentence}")
        does = "drops" if policy["apply"] else "stores a plan (apply = false)"
        console.say(f"  {_when(policy, moment, rules)}: {does}")
    for warning in found["warnings"]:
        console.say(f"\nwarning: {warning}", "yellow")


def _when(rule: dict[str, Any], moment: datetime, rules: Rules) -> str:
    at = rule["next"]
    following = f", next {text.moment(at, moment, rules.timezone)}" if at else ""
    return f"{rule['schedule']}{following}"
