"""From the file to `Rules`, or to every problem in it at once."""

from __future__ import annotations

import hashlib
import itertools
import re
import tomllib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from syncer import errors
from syncer.errors import Problem
from syncer.rules import checks, positions, problems
from syncer.rules.model import Rules
from syncer.rules.positions import Location

_TOML_PLACE = re.compile(r" \(at (?:line (?P<line>\d+), column \d+|end of document)\)$")
# How deep those parts of the file lie that are looked at without the others when one is wrong.
_PART_DEPTH: dict[Location, int] = {
    ("registry",): 2,
    ("replicate",): 2,
    ("retention",): 2,
    ("retention", "policy"): 3,
}


def load(path: Path) -> Rules:
    """The rules in the file at `path`; relative paths in it begin at its directory.

    Raises:
        RulesError: It cannot be read or is wrong; carries every problem.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        problem = Problem(0, "", f"cannot be read: {error.strerror}; name a file with -c")
        raise errors.RulesError(str(path), [problem]) from None
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise errors.RulesError(str(path), [Problem(line, "", "is not UTF-8 text")]) from None
    return loads(text, str(path), path.parent)


def loads(text: str, name: str = "rules.toml", base: Path | None = None) -> Rules:
    """The rules that `text` spells.

    Args:
        text: TOML.
        name: What to call it in messages.
        base: Where relative paths in it begin; without one, the working directory.

    Raises:
        RulesError: It is wrong; carries every problem.
    """
    data = _parse(text, name)
    context = {
        "base": (base or Path()).absolute(),
        "digest": hashlib.sha256(text.encode()).hexdigest(),
    }
    try:
        rules = Rules.model_validate(data, context=context)
    except ValidationError as error:
        raise errors.RulesError(name, _problems(text, _all_found(data, error, context))) from None
    if found := list(checks.found(rules, rules.registry)):
        raise errors.RulesError(name, _problems(text, found))
    return rules


def _parse(text: str, name: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        message = f"is not TOML: {_TOML_PLACE.sub('', str(error))}"
        place = _TOML_PLACE.search(str(error))
        line = int((place and place["line"]) or text.count("\n") + 1)
    except (RecursionError, ValueError):
        message, line = "is nested too deeply, or holds a number that is too long", 0
    raise errors.RulesError(name, [Problem(line, "", message)])


def _problems(text: str, found: list[tuple[Location, str]]) -> list[Problem]:
    known = positions.lines(text)
    return [
        Problem(positions.line_of(location, known), problems.path(location), message)
        for location, message in found
    ]


def _all_found(
    data: Mapping[str, Any], error: ValidationError, context: dict[str, Any]
) -> list[tuple[Location, str]]:
    """The mistakes of shape, and what the checks find in the parts that have none."""
    found = list(problems.found(error))
    wrong = {_part(location) for location, _ in found}
    sound = Rules.model_validate({**_without(data, wrong), "schema": 1}, context=context)
    names = data.get("registry")
    for location, message in checks.found(sound, names if isinstance(names, dict) else ()):
        found.append((_original(location, wrong), message))
    return found


def _part(location: Location) -> Location:
    depth = _PART_DEPTH.get(location[:2]) or _PART_DEPTH.get(location[:1], 1)
    return location[:depth]


def _without(value: Any, wrong: Collection[Location], at: Location = ()) -> Any:
    """`value` without the parts that are wrong."""
    if isinstance(value, dict):
        items = ((key, (*at, key)) for key in value)
        return {key: _without(value[key], wrong, to) for key, to in items if to not in wrong}
    if isinstance(value, list):
        places = ((each, (*at, index)) for index, each in enumerate(value))
        return [_without(each, wrong, to) for each, to in places if to not in wrong]
    return value


def _original(location: Location, wrong: Collection[Location]) -> Location:
    """Where in the file that stands which is at `location` of what `_without` left of it."""
    place: Location = ()
    for part in location:
        indexes = (index for index in itertools.count() if (*place, index) not in wrong)
        found = next(itertools.islice(indexes, part, None)) if isinstance(part, int) else part
        place = (*place, found)
    return place
