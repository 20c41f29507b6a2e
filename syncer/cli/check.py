"""`syncer check`: the rules file, told back in words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from syncer.cli import console, text
from syncer.cli.command import Command, as_json
from syncer.cli.session import Session, now

if TYPE_CHECKING:
    from datetime import datetime

    from syncer.rules import Rules
    from syncer.rules.schedule import Schedule


@click.command(
    "check",
    cls=Command,
    exits=(78,),
    words={0: "the file is right (and every registry allows what it asks for)", 1: "a registry does not"},
)
@click.option("--online", is_flag=True, help="Also reach every registry and prove the permissions.")
@as_json
@click.pass_obj
def command(session: Session, *, online: bool, as_json: bool) -> int:
    """Validate the rules file and say what it means.

    With --online also ask each registry who we are there and whether we may do what the rules
    need: pull from sources, push to targets, delete where a policy applies. Nothing is changed.
    """
    rules = session.rules(quiet=True)
    found = _as_dict(rules, str(session.path))
    if not as_json:
        _show(found)
    if online:
        from syncer.cli import online as reach

        places = reach.look(session, rules)
        found["registries"] = ...
    if as_json:
        console.emit(found)
    return 0
