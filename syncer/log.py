"""structlog, set up once per process: for people on a terminal, JSON lines otherwise.

Every line carries the run and the rule it belongs to (`bound`), and no secret: values under names
that hold secrets are masked, and so is anything that looks like one inside a string.
"""

from __future__ import annotations

import logging
import re
import sys
from typing import Any, TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

bound = structlog.contextvars.bound_contextvars
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
            structlog.contextvars.merge_contextvars,
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


def get(**values: Any) -> Any:
    """A logger that carries `values` on each of its lines."""
    return structlog.get_logger(**values)
