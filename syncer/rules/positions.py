"""Where in a TOML file each key stands. Only asked when there is an error to place."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from typing import Any

Location = tuple[str | int, ...]


def lines(text: str) -> dict[Location, int]:
    """The line of every key, table and array element of `text`, which must be valid TOML.

    Nothing, when this parser does not know what tomllib took: no line is better than a wrong one.
    """
    import tree_sitter  # noqa: PLC0415 - a file without errors needs no positions
    import tree_sitter_toml  # noqa: PLC0415

    parser = tree_sitter.Parser(tree_sitter.Language(tree_sitter_toml.language()))
    root = parser.parse(text.encode()).root_node
    walk = _Walk()
    for node in () if root.has_error else root.children:
        walk.statement(node)
    return walk.lines


def line_of(location: Location, known: dict[Location, int]) -> int:
    """The line of `location`, or of the innermost of its parents that stands in the file."""
    while location and location not in known:
        location = location[:-1]
    return known.get(location, 1)


class _Walk:
    def __init__(self) -> None:
        self.lines: dict[Location, int] = {}
        self._sizes: dict[Location, int] = {}  # of the arrays of tables, so far

    def statement(self, node: Any) -> None:
        """A pair, or a table with its pairs."""
        if node.type == "pair":
            self._pair(node, ())
        elif node.type in ("table", "table_array_element"):
            *parents, last = _keys(node)
            place = (*self._place(parents), last)
            if node.type == "table_array_element":
                place = (*place, self._sizes.get(place, 0))
                self._sizes[place[:-1]] = self._sizes.get(place[:-1], 0) + 1
            self._note(place, node)
            for pair in _parts(node)[1:]:
                self._pair(pair, place)

    def _place(self, keys: Iterable[str]) -> Location:
        """Where a header's keys lead: in an array of tables to its last table."""
        location: Location = ()
        for key in keys:
            location += (key,)
            if location in self._sizes:
                location += (self._sizes[location] - 1,)
        return location

    def _note(self, location: Location, node: Any) -> None:
        for length in range(1, len(location) + 1):
            self.lines.setdefault(location[:length], node.start_point.row + 1)

    def _pair(self, node: Any, place: Location) -> None:
        location = place + _keys(node)
        self._note(location, node)
        self._value(_parts(node)[-1], location)

    def _value(self, node: Any, location: Location) -> None:
        if node.type == "inline_table":
            for pair in _parts(node):
                self._pair(pair, location)
        elif node.type == "array":
            for index, child in enumerate(_parts(node)):
                self._note((*location, index), child)
                self._value(child, (*location, index))


def _parts(node: Any) -> list[Any]:
    """What a node consists of, without brackets and the comments that stand between."""
    return [child for child in node.named_children if child.type != "comment"]


def _keys(node: Any) -> tuple[str, ...]:
    """The key of a pair or a header, split at its dots; tomllib undoes the quoting."""
    key = next(child for child in node.children if child.type.endswith("_key"))
    value: Any = tomllib.loads(f"{key.text.decode()} = 0")
    keys: list[str] = []
    while value:
        ((name, value),) = value.items()
        keys.append(name)
    return tuple(keys)
