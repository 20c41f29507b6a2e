"""`syncer copy`: one reference, or all tags of a repository, from one registry to another."""

from __future__ import annotations

import os
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import click

from syncer import errors, events, reference
from syncer.cli import signals, working
from syncer.cli.command import Command, as_json
from syncer.cli.session import Session

if TYPE_CHECKING:
    from syncer.rules import Registry
    from syncer.store import Store

_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


@click.command("copy", cls=Command, exits=(3, 78), words={0: "the target has what the source has"})
@click.argument("source")
@click.argument("target")
@click.option("--all-tags", is_flag=True, help="Copy every tag of the repository SOURCE.")
@as_json
@click.pass_obj
def command(session: Session, source: str, target: str, *, all_tags: bool, as_json: bool) -> int:
    """Copy a tag, a digest or a whole repository, once.

    What stands at TARGET is replaced.

    \b
    syncer copy a.example/app:1 b.example/app:1
    syncer copy a.example/app:1 b.example           the same name there
    syncer copy --all-tags a.example/app b.example/mirror/app
    syncer copy a.example/app:1 oci:/mnt/usb        to an OCI image layout
    syncer copy oci:/mnt/usb//app:1 b.example       and from it

    A rules file is not needed. Where there is one, its registries can be used by name, and a host
    that it knows is spoken to as it says. Other hosts: the login of docker or podman, https; plain
    http on loopback, or where it is written out: http://b.example/app:1

    An image layout is written oci:PATH//REPOSITORY:TAG, or as skopeo writes it: oci:PATH:TAG.
    """  # noqa: D301 - click reads the backspace
    from syncer import run

    places = _Places(session)
    sides = places.reference(source), places.reference(target)
    with (
        closing(places),
        working.shown(session) as (tally, observers),
        signals.stopping(session.stop, lambda: None),
    ):
        report = run.copy(
            places.open, *sides, all_tags=all_tags, observers=observers, stop=session.stop
        )
    again = " ".join(("syncer copy", *(["--all-tags"] if all_tags else []), source, target))
    return working.finish(report, tally.done, again, as_json=as_json)


class _Places:
    """The registries of the rules file, if there is one, and the hosts named on the command line."""

    def __init__(self, session: Session) -> None:
        from syncer import stores

        self._registries = stores.Registries()
        self._stop = session.stop
        self._file = session.path if os.access(session.path, os.R_OK) or session.config else None
        self._known: dict[str, Registry] = {}
        if self._file:
            known = session.rules()
            self._known.update(known.registry)
            self._registries.limit(known.limits)

    def reference(self, text: str) -> reference.Reference:
        """The reference that `text` spells, its registry known from here on.

        Raises:
            UsageError: It spells none, or names neither a registry of the file nor a host.
        """
        from syncer import layout

        if (inside := layout.parse(text)) is not None:
            self._known[inside.registry] = self._layout(inside.registry)
            return inside
        scheme, found, rest = text.rpartition("://")
        parsed = reference.parse(rest)
        name = parsed.registry
        if found or name not in self._known:
            self._known[name] = self._host(name, scheme)
        return parsed

    def _layout(self, name: str) -> Registry:
        from syncer import layout, rules

        path = Path(name.removeprefix(layout.PREFIX)).expanduser().absolute()
        return rules.Registry(url=f"{layout.PREFIX}{path}")

    def _host(self, name: str, scheme: str) -> Registry:
        from pydantic import ValidationError

        from syncer import rules

        host = urlsplit(f"//{name}").hostname or ""
        if host != "localhost" and not set(name) & set(".:"):
            file = f" of {self._file}" if self._file else ": there is no rules file"
            raise errors.UsageError(f"{name!r} is neither a host nor a registry{file}")
        for settings in self._known.values():
            if not scheme and urlsplit(settings.url).netloc == name:
                return settings
        scheme = scheme or ("http" if host in _LOOPBACK else "https")
        try:
            return rules.Registry(url=f"{scheme}://{name}", rate_limit_reserve=0)
        except ValidationError:
            raise errors.UsageError(f"{name!r} is no host") from None

    def open(self, name: str, observer: events.Observer) -> Store:
        """The store of a registry or host that `reference` has seen."""
        from syncer import stores

        return stores.Stores(self._registries, self._known, observer, self._stop).get(name)

    def close(self) -> None:
        """Closes the connections."""
        self._registries.close()
