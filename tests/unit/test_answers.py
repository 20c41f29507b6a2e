"""Answers as errors: one table says what they mean and whether asking again can help."""

from __future__ import annotations

import email.utils
import json

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncer import errors
from syncer.registry import answers

URL = httpx.URL("https://eu.example/v2/a/manifests/v1")
CODES = sorted({code for _, code in answers.BY_CODE} | {"UNKNOWN", "MANIFEST_UNKNOWN"})


def failure(
    status: int, body: bytes = b"", headers: dict[str, str] | None = None, url: httpx.URL = URL
) -> errors.RegistryError:
    return answers.failure("eu", "GET", url, status, httpx.Headers(headers), body)


def body(*codes: str) -> bytes:
    return json.dumps({"errors": [{"code": code, "message": "why"} for code in codes]}).encode()


@given(status=st.integers(300, 599), codes=st.lists(st.sampled_from(CODES), max_size=2))
def test_what_is_tried_again_is_what_may_pass(status: int, codes: list[str]) -> None:
    error = failure(status, body(*codes))
    assert error.temporary == (answers.attempts(error) > 1)
    assert (error.status, error.codes, error.registry) == (status, tuple(codes), "eu")


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (401, "UNAUTHORIZED", errors.UnauthorizedError),
        (403, "DENIED", errors.DeniedError),
        (404, "NAME_UNKNOWN", errors.NotFoundError),
        (400, "NAME_UNKNOWN", errors.NotFoundError),
        (400, "TAG_INVALID", errors.DeniedError),
        (400, "UNSUPPORTED", errors.UnsupportedError),
        (405, "UNSUPPORTED", errors.UnsupportedError),
        (405, "DENIED", errors.DeniedError),
        (412, "PRECONDITION", errors.DeniedError),
        (429, "TOOMANYREQUESTS", errors.TooManyRequestsError),
        (503, "UNAVAILABLE", errors.UnavailableError),
        (400, "MANIFEST_INVALID", errors.RegistryError),
        (307, "", errors.ProtocolError),
    ],
)
def test_an_answer_has_the_class_that_says_what_to_do(
    status: int, code: str, kind: type[errors.RegistryError]
) -> None:
    assert type(failure(status, body(code) if code else b"")) is kind


def test_insufficient_scope_is_no_wrong_password() -> None:
    challenge = 'Bearer realm="https://auth.example",error="insufficient_scope"'
    assert type(failure(401, headers={"WWW-Authenticate": challenge})) is errors.DeniedError


def test_the_sentence_says_what_was_asked_what_came_back_and_what_to_do() -> None:
    assert str(failure(404, body("MANIFEST_UNKNOWN"))) == (
        "GET https://eu.example/v2/a/manifests/v1: 404 MANIFEST_UNKNOWN: why"
    )
    assert str(failure(403)) == (
        "GET https://eu.example/v2/a/manifests/v1: 403 (the account of registry eu may not do this)"
    )


@given(content=st.binary(max_size=300) | st.text(max_size=300).map(str.encode))
def test_whatever_the_body_is_the_sentence_is_one_printable_line(content: bytes) -> None:
    error = failure(400, content)
    assert str(error).isprintable()
    assert len(str(error)) < 300


@given(
    content=st.recursive(
        st.none() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(["errors", "code", "message"]), inner, max_size=3)
        ),
        max_leaves=12,
    )
)
def test_json_of_any_shape_is_borne(content: object) -> None:
    failure(400, json.dumps(content).encode())


def test_deeply_nested_json_is_borne() -> None:
    assert failure(400, b"[" * 100_000).codes == ()


def test_a_url_is_shown_without_what_may_be_a_secret() -> None:
    url = httpx.URL(
        "https://me:pw@eu.example/v2/u/1?_state=abc&digest=sha256:0&X-Amz-Signature=s#f"
    )
    assert answers.shown(url) == "https://eu.example/v2/u/1?digest=sha256:0"


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("7", 7.0), (" 0 ", 0.0), ("-1", None), ("soon", None), ("", None), ("9" * 30, None)],
)
def test_retry_after_in_seconds(value: str, seconds: float | None) -> None:
    assert answers.retry_after(httpx.Headers({"Retry-After": value})) == seconds


@given(
    now=st.integers(0, 4_000_000_000),
    later=st.integers(-1000, 1000),
)
def test_a_date_in_retry_after_is_measured_against_the_answers_own(now: int, later: int) -> None:
    headers = {
        "Retry-After": email.utils.formatdate(now + later, usegmt=True),
        "Date": email.utils.formatdate(now, usegmt=True),
    }
    assert answers.retry_after(httpx.Headers(headers)) == max(0, later)
