"""The single values of the rules file: from TOML to something that cannot be wrong any more.

Every sentence here may be shown to anyone: where a value could hold a secret (a URL, the name of a
variable) it does not repeat the value.
"""

from __future__ import annotations

import difflib
import os
import re
import zoneinfo
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar
from urllib.parse import SplitResult, urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, PlainValidator, ValidationInfo

from syncer import patterns, platforms, reference
from syncer.rules import durations, rates, windows

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_HOST = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9._-]*[A-Za-z0-9_])?|[0-9a-f.]*:[0-9a-f:.]*")
_LISTEN = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]+):(?P<port>[0-9]{1,5})")
_CREDENTIAL = re.compile(r"(?!\.{1,2}$)[A-Za-z0-9_.@:-]{1,255}")  # systemd.exec(5)
# docker.io is the name; the registry lives elsewhere.
_DOCKER_HUB = {"docker.io": "registry-1.docker.io", "index.docker.io": "registry-1.docker.io"}
_PORTS = {"https": 443, "http": 80}
_LAYOUT = "oci:"
_PLACEHOLDER = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")

_PATTERN = "a pattern in quotes, such as 'prod*'"
_RATE = "bytes a second in quotes, such as '20MB/s'"
_DURATION = "a duration in quotes, such as '24h'"

T = TypeVar("T")


def closest(word: str, known: Iterable[str]) -> str:
    """The one of `known` that `word` was most likely meant to be, or nothing."""
    return next(iter(difflib.get_close_matches(word, sorted(known), n=1)), "")


def suggestion(word: str, known: Iterable[str]) -> str:
    """`; did you mean '...'?` when one of `known` is close to `word`, else nothing."""
    meant = closest(word, known)
    return f"; did you mean {meant!r}?" if meant else ""


def parsed(parse: Callable[[str], Any], what: str) -> PlainValidator:
    """A validator for a string that `parse` turns into a value, or refuses with a ValueError."""

    def validate(value: object) -> Any:
        return parse(string(value, what))

    return PlainValidator(validate)


def string(value: object, what: str) -> str:
    """`value`, which must be a string: `what` says what should stand there.

    Raises:
        ValueError: It is none.
    """
    if isinstance(value, str):
        return value
    raise ValueError(f"must be {what}")


def _schema(number: int) -> int:
    if number != 1:
        raise ValueError("must be 1, the only meaning of a rules file that this syncer knows")
    return number


def _name(text: str) -> str:
    if not _NAME.fullmatch(text):
        raise ValueError(
            f"{text!r} is no name: write up to 64 letters, digits and . _ - and begin with one of"
            " the first two"
        )
    return text


def _repository(text: str) -> str:
    if not reference.is_repository(text):
        raise ValueError(
            f"{text!r} is no repository name: lower-case letters, digits and . _ - between them,"
            " parts joined by /"
        )
    return text


def _repository_pattern(text: str) -> patterns.Pattern:
    pattern = patterns.parse(text)
    if pattern.is_semver:
        raise ValueError(f"{text!r} compares versions, which only tags have")
    if pattern.is_literal:
        _repository(text)
    if not text.startswith("re:") and text != text.lower():
        raise ValueError(f"{text!r} matches nothing: repository names are lower-case")
    return pattern


def _tag_pattern(text: str) -> patterns.Pattern:
    pattern = patterns.parse(text)
    glob = not (pattern.is_semver or text.startswith("re:"))
    if (glob and "/" in text) or (pattern.is_literal and not reference.is_tag(text)):
        raise ValueError(f"{text!r} matches nothing: no tag looks like that")
    return pattern


def _rename(text: str) -> str:
    bare = _PLACEHOLDER.sub("a", text)
    if "{" in bare or "}" in bare:
        raise ValueError(
            f"{text!r} holds braces other than those of {{repo}}, the source's repository name, and"
            " of what a 're:' pattern of repos captures by name"
        )
    if not reference.is_repository(bare):
        raise ValueError(
            f"{text!r} does not make a repository name: lower-case letters, digits, / ..."
        )
    return text


def placeholders(rename: str) -> tuple[str, ...]:
    """The words in braces."""
    return tuple(_PLACEHOLDER.findall(rename))


def filled(rename: str, words: Mapping[str, str]) -> str:
    """`rename` with what its placeholders stand for; every one of them must be in `words`."""
    return _PLACEHOLDER.sub(lambda match: words[match[1]], rename)


def _sort(value: object) -> object:
    if value in ("age", "created", "date", "pushed", "time"):
        raise ValueError(
            "must be 'semver' or 'name': the specification lets no registry tell when a tag was"
            " pushed"
        )
    return value


def _positive(duration: timedelta) -> timedelta:
    if not duration:
        raise ValueError("must be longer than nothing")
    return duration


def _span(value: object) -> int | timedelta:
    if isinstance(value, str):
        return _positive(durations.parse_duration(value))
    if type(value) is int:
        return _count(value)
    raise ValueError("must be a number of periods, such as 7, or a duration, such as '14d'")


def _some(values: tuple[T, ...]) -> tuple[T, ...]:
    if not values:
        raise ValueError("must not be empty")
    return values


def _count(value: int) -> int:
    if value < 1:
        raise ValueError("must be at least 1; leave it out to keep nothing by it")
    return value


def _split(text: str, schemes: tuple[str, ...], example: str) -> SplitResult:
    """The parts of a URL that is only scheme, host and port; never repeats the URL itself."""
    hint = f"write it as {example}"
    try:
        url = urlsplit(text)
        port = url.port
    except ValueError:
        raise ValueError(f"is no URL: {hint}") from None
    if url.scheme not in schemes:
        raise ValueError(f"must begin with {' or '.join(f'{each}://' for each in schemes)}: {hint}")
    if "@" in url.netloc:
        raise ValueError(f"must not hold a user or password: {hint}")
    if not _HOST.fullmatch(url.hostname or "") or port == 0:
        raise ValueError(f"names no host: {hint}")
    if url.path.strip("/") or url.query or url.fragment:
        raise ValueError(f"must end after host and port (a path belongs into repos): {hint}")
    return url


def _origin(url: SplitResult) -> str:
    """Scheme, host and port in the one spelling that two URLs of the same place share."""
    name = _DOCKER_HUB.get(url.hostname or "", url.hostname or "")
    host = f"[{name}]" if ":" in name else name
    port = "" if url.port in (None, _PORTS[url.scheme]) else f":{url.port}"
    return f"{url.scheme}://{host}{port}"


def _url(text: str) -> str:
    if text.startswith(_LAYOUT):
        return _layout(text.removeprefix(_LAYOUT))
    return _origin(_split(text, ("https", "http"), "'https://registry.example.com'"))


def _layout(path: str) -> str:
    """The URL of an image layout, links resolved: one directory, one spelling."""
    if not path.startswith("/") or path.startswith("//") or "\0" in path:
        raise ValueError("names no directory: write it as 'oci:/mnt/usb/mirror', the whole path")
    return f"{_LAYOUT}{os.path.realpath(path)}"


def _proxy(text: str) -> str:
    if not text:
        return text
    try:
        return _origin(_split(text, ("http",), "'http://proxy.example.com:3128'"))
    except ValueError as error:
        raise ValueError(f"{error}; one that wants a password belongs into $https_proxy") from None


def parse_path(value: object, info: ValidationInfo) -> Path:
    """The whole path that `value` spells; a relative one begins at the rules file's directory.

    Raises:
        ValueError: It spells none; the message is one sentence.
    """
    text = string(value, "a path in quotes")
    if not text or text.startswith("~") or "\0" in text:
        raise ValueError("must be a path; ~ means nothing to a service, so write the whole path")
    base: Path = (info.context or {}).get("base", Path())
    return base.absolute() / text


def _path_text(value: object, info: ValidationInfo) -> str:
    return str(parse_path(value, info))


def _state_url(value: object, info: ValidationInfo) -> str:
    what = "sqlite:/// and a path, such as 'sqlite:////var/lib/syncer/state.db'"
    scheme, _, path = string(value, what).partition(":///")
    if scheme != "sqlite" or not path or "?" in path:
        raise ValueError(f"must be {what}")
    return f"sqlite:///{parse_path(path, info)}"


def _zone(text: str) -> zoneinfo.ZoneInfo:
    if text == "localtime":
        raise ValueError("'localtime' differs from host to host: name the time zone itself")
    try:
        return zoneinfo.ZoneInfo(text)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        known = suggestion(text, zoneinfo.available_timezones())
        raise ValueError(f"{text!r} is no time zone, such as 'Europe/Berlin'{known}") from None


def _webhook(text: str) -> str:
    if not text or text.startswith("/"):
        return text
    try:
        url = urlsplit(text)
        host = url.hostname
    except ValueError:
        host = None
    if not host or url.scheme not in ("https", "http"):
        raise ValueError("must be a URL (https:// or http://), or the whole path of a file with it")
    if "@" in url.netloc:
        raise ValueError("must not hold a user or password: name a file with the URL instead")
    return text


def _host(text: str) -> str:
    if not _HOST.fullmatch(text):
        raise ValueError(f"{text!r} is no name of a host")
    return text.lower()


def _variable(text: str) -> str:
    if not _VARIABLE.fullmatch(text):
        raise ValueError("must be the name of an environment variable, not the password itself")
    return text


def _user(text: str) -> str:
    if not text or not text.isprintable() or ":" in text:
        raise ValueError("must be a user name, in which a colon cannot stand (RFC 7617)")
    return text


def _credential(text: str) -> str:
    if not _CREDENTIAL.fullmatch(text):
        raise ValueError("must be the name of a systemd credential: letters, digits and _ . - @ :")
    return text


@dataclass(frozen=True)
class Address:
    """Where the daemon listens.

    Attributes:
        host: A name or address; IPv6 without brackets.
        port: The port; 0 lets the system choose.
    """

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_address(text: str) -> Address:
    """The address that `text` spells: `HOST:PORT`, IPv6 in brackets.

    Raises:
        ValueError: It spells none; the message is one sentence.
    """
    match = _LISTEN.fullmatch(text)
    if match is None or int(match["port"]) > 65535:
        raise ValueError(f"{text!r} is no address: write HOST:PORT, such as '127.0.0.1:9564'")
    return Address(match["host"].strip("[]"), int(match["port"]))


# TOML knows arrays only; strict mode would refuse them for a tuple.
Array = Annotated[tuple[T, ...], Field(strict=False)]
Some = Annotated[tuple[T, ...], Field(strict=False), AfterValidator(_some)]

Schema = Annotated[int, AfterValidator(_schema)]
Name = Annotated[str, AfterValidator(_name)]
RepositoryName = Annotated[str, AfterValidator(_repository)]
RepositoryPattern = Annotated[patterns.Pattern, parsed(_repository_pattern, _PATTERN)]
TagPattern = Annotated[patterns.Pattern, parsed(_tag_pattern, _PATTERN)]
Rename = Annotated[str, AfterValidator(_rename)]
Platform = Annotated[str, AfterValidator(platforms.checked)]
Sort = Annotated[Literal["semver", "name"], BeforeValidator(_sort)]
Duration = Annotated[timedelta, parsed(durations.parse_duration, _DURATION)]
Positive = Annotated[Duration, AfterValidator(_positive)]
Count = Annotated[int, AfterValidator(_count)]
Span = Annotated[int | timedelta, PlainValidator(_span)]
ByteRate = Annotated[int, parsed(rates.parse_rate, _RATE)]
PerSecond = Annotated[float, Field(ge=0.01, le=100_000)]
Percent = Annotated[int, Field(ge=0, le=100)]
Url = Annotated[str, AfterValidator(_url)]
Proxy = Annotated[str, AfterValidator(_proxy)]
FilePath = Annotated[Path, PlainValidator(parse_path)]
PathGlob = Annotated[str, PlainValidator(_path_text)]
StateUrl = Annotated[str, PlainValidator(_state_url)]
Zone = Annotated[zoneinfo.ZoneInfo, parsed(_zone, "the name of a time zone in quotes")]
User = Annotated[str, AfterValidator(_user)]
Credential = Annotated[str, AfterValidator(_credential)]
Variable = Annotated[str, AfterValidator(_variable)]
Window = Annotated[windows.Window, parsed(windows.parse, "a window in quotes")]
Webhook = Annotated[str, AfterValidator(_webhook)]
HostName = Annotated[str, AfterValidator(_host)]
Listen = Annotated[Address, parsed(parse_address, "HOST:PORT in quotes")]
