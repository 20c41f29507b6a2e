"""rules.example.toml is the reference of the rules file: complete, loadable, true."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from syncer import rules

PATH = Path(__file__).parents[2] / "rules.example.toml"
# Tables whose defaults are those of their keys.
INNER = (rules.State, rules.Daemon, rules.Notify, rules.Limits, rules.Retention, rules.PolicyGuard)
COMMENTED_OUT = re.compile(r"(?m)^(\s*)# (?=\[|[a-z_]+ = )")


@pytest.fixture(scope="module")
def everything() -> str:
    """The example with every commented-out key and table in force."""
    return COMMENTED_OUT.sub(r"\1", PATH.read_text())


def tables(value: Any) -> Iterator[BaseModel]:
    """Every table of the loaded rules, outermost first."""
    if isinstance(value, BaseModel):
        yield value
        for name in type(value).model_fields:
            yield from tables(getattr(value, name))
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from tables(each)
    elif isinstance(value, tuple):
        for each in value:
            yield from tables(each)


def kinds(model: type[BaseModel]) -> set[type[BaseModel]]:
    """`model` and every table that may stand in it."""
    found = {model}
    waiting: list[Any] = [field.annotation for field in model.model_fields.values()]
    while waiting:
        kind = waiting.pop()
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            found |= kinds(kind)
        waiting += getattr(kind, "__args__", ())
    return found


def test_the_example_loads() -> None:
    loaded = rules.load(PATH)
    assert loaded.rule("eu-to-us").target == ("us", "dr")
    assert [policy.name for policy in loaded.policies] == ["releases"]


def test_the_example_loads_with_every_commented_out_key_in_force(everything: str) -> None:
    loaded = rules.loads(everything)
    assert set(loaded.registry) == {"eu", "us", "dr", "ci", "public", "usb"}
    assert loaded.policies[0].policy().require_mirrored == ("eu",)


def test_the_example_names_every_key(everything: str) -> None:
    seen: dict[type[BaseModel], set[str]] = {}
    for table in tables(rules.loads(everything)):
        seen.setdefault(type(table), set()).update(table.model_fields_set)
    missing = {
        (kind.__name__, name)
        for kind in kinds(rules.Rules)
        for name in kind.model_fields
        if name not in seen.get(kind, set())
    }
    assert missing == set()


def test_the_example_shows_every_default(everything: str) -> None:
    """Where nothing is the default TOML cannot say so, and the example shows something else.

    What a policy's own guard does not set it takes from `[retention.guard]`, so it has no defaults.
    """
    found = [
        each for each in tables(rules.loads(everything)) if type(each) is not rules.PolicyGuard
    ]
    shown = {
        (type(table).__name__, name)
        for table in found
        for name, field in type(table).model_fields.items()
        if name in table.model_fields_set and getattr(table, name) == field.default
    }
    defaults = {
        (type(table).__name__, name)
        for table in found
        for name, field in type(table).model_fields.items()
        if field.default not in (PydanticUndefined, None, (), "")
        and not isinstance(field.default, INNER)
    }
    assert defaults - shown == set()
    assert len(defaults) > 20
