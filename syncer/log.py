"""structlog, set up once per process: for people on a terminal, JSON lines otherwise.

Every line carries the run and the rule it belongs to (`bound`), and no secret: values under names
that hold secrets are masked, and so is anything that looks like one inside a string.

structlog brings asyncio and rich along: it is imported with the first line, and most runs of a
command write none.
"""

from __future__ import annotations

import functools
import logging
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from types import ModuleType
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from structlog.typing import EventDict, Processor, WrappedLogger

_bound: ContextVar[Mapping[str, Any]] = ContextVar("bound", default={})  # noqa: B039 - never changed
_configured: list[Callable[[], None]] = []
MASK = "***"
_SECRET_KEYS = frozenset({"password", "token", "secret", "authorization", "auth", "identitytoken"})
_SECRET_TEXT = re.compile(
    r"(?i)(\b(?:bearer|basic)\s+)[\w.~+/=-]{8,}"  # an Authorization value
    r"|(://[^/\s:@]*:)[^/\s@]+(?=@)"  # user:password@ in a URL
    r"|([?&](?:token|access_token|refresh_token|password|sig|signature|x-amz-signature)=)[^&\s]+"
)


def mask(text: str) -> str:
    """`text` with everything that looks like a credential replaced by `***`."""
    return _SECRET_TEXT.sub(lambda found: "".join(filter(None, found.groups())) + MASK, text)


@contextmanager
def bound(**values: Any) -> Iterator[None]:
    """Every line written inside the block, by this thread, carries `values`."""
    token = _bound.set({**_bound.get(), **values})
    try:
        yield
    finally:
        _bound.reset(token)


def _add_bound(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    return {**_bound.get(), **event}


def _mask_event(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    for key, value in event.items():
        if key.lower() in _SECRET_KEYS:
            event[key] = MASK
        elif isinstance(value, str):
            event[key] = mask(value)
    return event


def _without_traceback(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """For people who did not ask for it; what the error was is told where its step ends."""
    event.pop("exc_info", None)
    return event


def configure(
    *, json: bool | None = None, verbose: bool = False, stream: TextIO | None = None
) -> None:
    """Sends log lines to `stream` (stderr): JSON when it is no terminal, or as `json` says."""
    out = stream or sys.stderr
    as_json = not out.isatty() if json is None else json
    _configured[:] = [functools.partial(_configure, out, as_json=as_json, verbose=verbose)]
    if "structlog" in sys.modules:
        _structlog()


def get(**values: Any) -> Any:
    """A logger that carries `values` on each of its lines."""
    return _structlog().get_logger(**values)


def _structlog() -> ModuleType:
    """structlog, set up as `configure` was told."""
    import structlog  # noqa: PLC0415 - see the top

    while _configured:
        _configured.pop()()
    return structlog


def _configure(out: TextIO, *, as_json: bool, verbose: bool) -> None:
    import structlog  # noqa: PLC0415 - see the top

    renderer: list[Processor] = (
        [
            structlog.processors.dict_tracebacks,
            structlog.processors.JSONRenderer(ensure_ascii=False),
        ]
        if as_json
        else [structlog.dev.ConsoleRenderer(colors=out.isatty())]
    )
    structlog.configure(
        processors=[
            _add_bound,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _mask_event,
            *([] if verbose or as_json else [_without_traceback]),
            *renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(
            logging.DEBUG if verbose else logging.INFO
        ),
        logger_factory=structlog.WriteLoggerFactory(out),
        cache_logger_on_first_use=False,
    )
