"""HTML, built so that nothing gets into it unescaped."""

from __future__ import annotations

import html
from collections.abc import Sequence

_EMPTY = frozenset({"meta", "br"})


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


def element(name: str, /, *children: str, **attributes: str) -> Markup:
    """`<name ...>children</name>`; text is escaped, markup is not.

    An underscore at the end of an attribute's name is dropped (`class_`), others become `-`.
    """
    opening = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{html.escape(value)}"'
        for key, value in attributes.items()
    )
    if name in _EMPTY:
        return Markup(f"<{name}{opening}>")
    return Markup(f"<{name}{opening}>{join(*children)}</{name}>")


def join(*children: str) -> Markup:
    """`children` one after the other."""
    return Markup(
        "".join(each if isinstance(each, Markup) else html.escape(each) for each in children)
    )


def link(path: str, text: str) -> Markup:
    """A link within the page."""
    return element("a", text, href=path)


def table(heads: Sequence[str], rows: Sequence[Sequence[str]], empty: str) -> Markup:
    """A table whose cells name their column, for narrow screens; `empty` when it has no rows."""
    if not rows:
        return element("p", empty, class_="calm")
    head = element("tr", *(element("th", text, scope="col") for text in heads))
    body = (
        element(
            "tr",
            *(element("td", cell, data_label=name) for name, cell in zip(heads, row, strict=True)),
        )
        for row in rows
    )
    return element("table", element("thead", head), element("tbody", *body))


def facts(**values: str) -> Markup:
    """A list of names and values; empty values are left out."""
    return element(
        "dl",
        *(
            element("div", element("dt", name.replace("_", " ")), element("dd", value))
            for name, value in values.items()
            if value
        ),
    )
