"""Files that cannot be read, where things stand in those that can, and what is never told of them."""

from __future__ import annotations

import copy
import functools
import operator
import tomllib
import traceback
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from syncer import errors, rules
from syncer.rules import positions, problems

EXAMPLE = Path(__file__).parents[2] / "rules.example.toml"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("schema = 1\nx =", "rules.toml:2: is not TOML: Invalid value"),
        ("schema = 1\n\n[a\nb = 1", "rules.toml:3: is not TOML: Expected ']'"),
        ("schema = 1\nschema = 1\n", "rules.toml:2: is not TOML: Cannot overwrite a value"),
        ("[a]\n[a]\n", "rules.toml:2: is not TOML: Cannot declare ('a',) twice"),
        ('x = """\n\n', "rules.toml:3: is not TOML: Unterminated string"),
        ("x = " + "[" * 9999, "rules.toml: is nested too deeply"),
        ("x = " + "1" * 9999, "rules.toml: is nested too deeply, or holds a number"),
    ],
)
def test_what_is_not_toml_is_one_problem_with_its_line(text: str, says: str) -> None:
    with pytest.raises(errors.RulesError) as refused:
        rules.loads(text)
    assert str(refused.value).startswith(says)
    assert len(refused.value.problems) == 1


def test_a_file_that_is_not_text_is_placed_at_its_first_wrong_byte(tmp_path: Path) -> None:
    file = tmp_path / "rules.toml"
    file.write_bytes(b"schema = 1\n# gr\xfc\xdf\n")
    with pytest.raises(errors.RulesError) as refused:
        rules.load(file)
    assert str(refused.value) == f"{file}:2: is not UTF-8 text"


def test_a_file_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    file = tmp_path / "rules.toml"
    with pytest.raises(errors.RulesError) as refused:
        rules.load(file)
    assert str(refused.value) == (
        f"{file}: cannot be read: No such file or directory; name a file with -c"
    )
    with pytest.raises(errors.RulesError, match="cannot be read: Is a directory"):
        rules.load(tmp_path)


def test_a_line_is_found_for_every_key_whatever_the_style() -> None:
    text = """
a.b = 1
"quoted key" = { x = 1, y.z = [
  1, # one
  { deep = 2 },
] }
[t.u]
v = '''
multi
line'''
w = 1
[[l]]
k = 1
  [l.sub]
  k = 2
  [[l.many]]
  k = 3
[[l]]
  [[l.many]]
  k = 4
  [[l.many]]
  k = 5
"""
    expected = {
        ("a",): 2,
        ("a", "b"): 2,
        ("quoted key",): 3,
        ("quoted key", "x"): 3,
        ("quoted key", "y"): 3,
        ("quoted key", "y", "z"): 3,
        ("quoted key", "y", "z", 0): 4,
        ("quoted key", "y", "z", 1): 5,
        ("quoted key", "y", "z", 1, "deep"): 5,
        ("t",): 7,
        ("t", "u"): 7,
        ("t", "u", "v"): 8,
        ("t", "u", "w"): 11,
        ("l",): 12,
        ("l", 0): 12,
        ("l", 0, "k"): 13,
        ("l", 0, "sub"): 14,
        ("l", 0, "sub", "k"): 15,
        ("l", 0, "many"): 16,
        ("l", 0, "many", 0): 16,
        ("l", 0, "many", 0, "k"): 17,
        ("l", 1): 18,
        ("l", 1, "many"): 19,
        ("l", 1, "many", 0): 19,
        ("l", 1, "many", 0, "k"): 20,
        ("l", 1, "many", 1): 21,
        ("l", 1, "many", 1, "k"): 22,
    }
    assert positions.lines(text) == expected
    assert set(places(tomllib.loads(text))) == set(expected)
    assert positions.line_of(("l", 1, "missing", "key"), expected) == 18
    assert positions.line_of(("missing",), expected) == 1


def places(value: Any, at: positions.Location = ()) -> list[positions.Location]:
    """Where everything in a loaded TOML document stands."""
    items: list[tuple[str | int, Any]] = []
    if isinstance(value, dict):
        items = list(value.items())
    elif isinstance(value, list):
        items = list(enumerate(value))
    found = [(*at, key) for key, _ in items]
    return found + [place for key, each in items for place in places(each, (*at, key))]


def test_every_place_of_the_example_has_a_line() -> None:
    text = EXAMPLE.read_text()
    assert set(places(tomllib.loads(text))) == set(positions.lines(text))


SECRET = "hunter2-s3cret"


@pytest.mark.parametrize(
    "text",
    [
        f"url = 'https://ci:{SECRET}@us.example.com'",
        f"url = 'https://us.example.com/?token={SECRET}'",
        f"url = '{SECRET}'",
        f"url = 'https://us.example.com:{SECRET}'",
        f"proxy = 'http://ci:{SECRET}@proxy'",
        f"proxy = 'http://proxy:{SECRET}'",
        f"auth = '{SECRET}'",
        f"auth = ['{SECRET}']",
        f"auth = {{ username = 'ci', password = '{SECRET}' }}",
        f"auth = {{ username = 'ci:{SECRET}', password_env = '{SECRET}' }}",
        f"auth = {{ username = 'ci', password_file = ['{SECRET}'] }}",
        f"auth = {{ username = ['{SECRET}'], password_env = 'X' }}",
        f"auth = {{ credential = '/{SECRET}' }}",
        f"auth = {{ credential = {{ password = '{SECRET}' }} }}",
        f"auth = {{ docker_config = '~/{SECRET}' }}",
        f"password = '{SECRET}'",
        f"url = '{SECRET}",
        f"url = {SECRET}",
    ],
)
def test_no_sentence_repeats_what_may_be_a_secret(text: str) -> None:
    extra = "" if text.startswith("url") else "url = 'https://us.example.com'\n"
    with pytest.raises(errors.RulesError) as refused:
        rules.loads(f"schema = 1\n[registry.us]\n{extra}{text}\n")
    assert SECRET not in str(refused.value)
    assert SECRET not in repr(refused.value.problems)
    assert SECRET not in "".join(traceback.format_exception(refused.value))


ODD_VALUES = [True, -1, 0, 1.5, date(2024, 1, 1), "", "~", [], [[]], [1, ""], {}, {"x": {"y": 1}}]


def replaced(document: Any, place: positions.Location, value: Any) -> Any:
    """A copy of `document` in which `value` stands at `place`."""
    changed = copy.deepcopy(document)
    inner = functools.reduce(operator.getitem, place[:-1], changed)
    inner[place[-1]] = value
    return changed


@pytest.mark.parametrize("value", ODD_VALUES, ids=repr)
def test_whatever_stands_anywhere_is_right_or_has_sentences(value: Any) -> None:
    """Every place of the example in turn: nothing falls through the table of sentences."""
    document = tomllib.loads(EXAMPLE.read_text())
    refused = 0
    for place in places(document):
        try:
            rules.Rules.model_validate(replaced(document, place, value))
        except ValidationError as error:
            refused += 1
            for location, message in problems.found(error):
                assert location[: len(place)] == place[: len(location)]
                assert message != "is not what belongs here"
    assert refused > 20
