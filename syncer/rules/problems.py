"""From what pydantic found to sentences for the person who wrote the file. Shows no values."""

from __future__ import annotations

import re
import typing
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from syncer.rules.model import Rules
from syncer.rules.positions import Location
from syncer.rules.values import closest, suggestion

_BARE = re.compile(r"[A-Za-z0-9_-]+")
_SENTENCES = {
    "missing": "is missing",
    "string_type": "must be a string in quotes",
    "int_type": "must be a whole number without quotes",
    "float_type": "must be a number without quotes",
    "bool_type": "must be true or false",
    "tuple_type": "must be an array, such as ['...']",
    "dict_type": "must be a table",
    "model_type": "must be a table",
    "greater_than_equal": "must be at least {ge:g}",
    "less_than_equal": "must be at most {le:g}",
    "literal_error": "must be {expected}",
    "value_error": "{error}",
    "union_tag_not_found": "must be 'anonymous' or a table with docker_config, password_file,"
    " password_env or credential in it; a password itself never stands here",
}
# What people write who know another program, or look for what is not there on purpose.
_HINTS = {
    "password": "; a password itself never stands here: name a password_file, password_env or"
    " credential",
    "insecure_skip_verify": "; certificates are always checked: name the CA in ca_file, or use"
    " http:// for a registry without TLS",
    "max_delete_run": "; it is for all policies together and stands in [retention.guard]",
    "plan_ttl": "; it is for all policies together and stands in [retention.guard]",
}


def found(error: ValidationError) -> Iterator[tuple[Location, str]]:
    """Every mistake, with its place in the file and one sentence."""
    mistakes = error.errors(include_input=False, include_url=False)
    guesses: set[Location] = set()  # what unknown keys were meant to be is not missing as well
    for each in (each for each in mistakes if each["type"] == "extra_forbidden"):
        message, guess = _unknown(each["loc"])
        guesses.add((*each["loc"][:-1], guess))
        yield _place(each["loc"]), message
    for each in mistakes:
        if each["type"] != "extra_forbidden" and each["loc"] not in guesses:
            sentence = _SENTENCES.get(each["type"], "is not what belongs here")
            yield _place(each["loc"]), sentence.format_map(each.get("ctx", {}))


def path(location: Location) -> str:
    """`location` as people write it: `replicate[0].schedule`."""
    text = ""
    for part in location:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += ("." if text else "") + (part if _BARE.fullmatch(part) else repr(part))
    return text


def _is_internal(part: str | int) -> bool:
    """Whether pydantic speaks of a union's member (`<...>`) or of a key itself."""
    return isinstance(part, str) and (part == "[key]" or part.startswith("<"))


def _place(location: Location) -> Location:
    return tuple(part for part in location if not _is_internal(part))


def _unknown(location: Location) -> tuple[str, str]:
    """The sentence for an unknown key, and what was meant, if that is clear."""
    key = str(location[-1])
    known = {key for table in _tables_at(location[:-1]) for key in _fields(table)}
    guess = closest(key, known)
    return f"unknown key{_HINTS.get(key) or suggestion(key, known)}", guess


def _tables_at(location: Location) -> list[type[BaseModel]]:
    """The model of the table that stands at `location`."""
    tables: list[type[BaseModel]] = [Rules]
    named = False  # whether the next part is a name of the file's author
    for part in location:
        if isinstance(part, int) or named:
            named = False
        elif _is_internal(part):
            tables = [table for table in tables if f"<{table.__name__}>" == part]
        else:
            kind = _fields(tables[0])[part]
            tables, named = list(_tables_in(kind)), typing.get_origin(kind) is Mapping
    return tables


def _fields(table: type[BaseModel]) -> dict[str, Any]:
    """The keys of a table and the types of their values."""
    return {field.alias or name: field.annotation for name, field in table.model_fields.items()}


def _tables_in(kind: Any) -> Iterator[type[BaseModel]]:
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        yield kind
    for each in typing.get_args(kind):
        yield from _tables_in(each)
