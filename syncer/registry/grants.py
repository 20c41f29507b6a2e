"""What we may send at a registry, by scopes: kept for all threads, obtained by one at a time."""

from __future__ import annotations

import dataclasses
import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass, field

from syncer import errors
from syncer.credentials import Credential
from syncer.registry.tokens import TokenServer

_MOST = 1024


@dataclass(frozen=True)
class Grant:
    """An `Authorization` value for one set of scopes; times in seconds of the caller's clock.

    Attributes:
        header: The value; empty where we are nobody.
        who: The credential it was made from.
        server: The token server that made it; None for Basic.
        asked: The scopes it was asked for.
        obtained: When it was.
        renew: When the next one is to be asked for.
        expires: When it ends.
        refused: Whether the registry said no to it for good.
    """

    header: str = field(repr=False)
    who: Credential
    server: TokenServer | None = None
    asked: tuple[str, ...] = ()
    obtained: float = float("-inf")
    renew: float = float("inf")
    expires: float = float("inf")
    refused: bool = False

    @property
    def headers(self) -> dict[str, str]:
        """What to send."""
        return {"Authorization": self.header} if self.header else {}


class Grants:
    """One grant for each set of scopes; the least recently obtained go first when it is full."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[frozenset[str], Grant] = OrderedDict()
        self._flights: dict[frozenset[str], Future[Grant]] = {}

    def get(self, scopes: tuple[str, ...]) -> Grant | None:
        """The grant for these scopes, good or not."""
        with self._lock:
            return self._kept.get(frozenset(scopes))

    def single(
        self, scopes: tuple[str, ...], good: Callable[[Grant], bool], obtain: Callable[[], Grant]
    ) -> Grant:
        """A grant that is `good`, obtained by one thread for all that want one meanwhile.

        Raises:
            SyncerError: What `obtain` raised, in each of these threads: they would ask the same.
        """
        key = frozenset(scopes)
        while True:
            with self._lock:
                held = self._kept.get(key)
                if held and good(held):
                    return held
                flight = self._flights.get(key)
                if flight is None:
                    own = self._flights[key] = Future()
            if flight is None:
                return self._lead(key, own, obtain)
            try:
                return flight.result()
            except CancelledError:  # its thread was interrupted: one of the waiting takes over
                continue

    def refuse(self, scopes: tuple[str, ...], grant: Grant, renew: float) -> None:
        """Marks `grant` as refused, and not to be asked for again before `renew`."""
        with self._lock:
            if self._kept.get(frozenset(scopes)) is grant:
                refused = dataclasses.replace(grant, refused=True, renew=renew)
                self._kept[frozenset(scopes)] = refused

    def _lead(
        self, key: frozenset[str], flight: Future[Grant], obtain: Callable[[], Grant]
    ) -> Grant:
        try:
            grant = obtain()
        except errors.SyncerError as error:
            flight.set_exception(error)
            raise
        else:
            self._keep(key, grant)
            flight.set_result(grant)
            return grant
        finally:
            with self._lock:
                del self._flights[key]
            flight.cancel()  # without effect where there is a result

    def _keep(self, key: frozenset[str], grant: Grant) -> None:
        with self._lock:
            self._kept[key] = grant
            self._kept.move_to_end(key)
            if len(self._kept) > _MOST:
                self._kept.popitem(last=False)
