"""Being somebody at a registry: what is sent, when it is asked for, and what a refusal means.

The token server is a function here; tests/integration/test_auth.py has real ones.
"""

from __future__ import annotations

import base64
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import parse_qsl

import httpx
import pytest

from syncer import errors
from syncer.credentials import ANONYMOUS, Credential
from syncer.registry import grants
from syncer.registry.auth import Authorizer, Challenge
from tests.registries import wait_for

SECRET = "s3cret-of-the-test"
CI = Credential("ci", SECRET, origin="FILE")
TOKEN = Credential("ci", identity_token=SECRET, origin="FILE")
REALM = "https://auth.example.com/token"
PULL = ("repository:prod/app:pull",)
PUSH = ("repository:prod/app:pull,push",)
BASIC = [Challenge("basic", {"realm": "test"})]


def bearer(scope: str = "", **more: str) -> list[Challenge]:
    parameters = {"realm": REALM, "service": "eu"} | ({"scope": scope} if scope else {})
    return [Challenge("bearer", parameters | more)]


def show(user: str, secret: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{secret}".encode()).decode()


@dataclass
class Login:
    """A source with one answer, which tests exchange, and what it was asked."""

    credential: Credential = CI
    reads: list[tuple[str, bool]] = field(default_factory=list)

    def read(self, repository: str = "", *, fresh: bool = False) -> Credential:
        self.reads.append((repository, fresh))
        return self.credential


@dataclass
class Place:
    """An authorizer with its source, its clock and a token server made of answers."""

    login: Login = field(default_factory=Login)
    answers: list[Any] = field(default_factory=list)
    asked: list[httpx.Request] = field(default_factory=list)
    now: float = 1000.0
    base: str = "https://eu.example.com"

    def __post_init__(self) -> None:
        self.authorizer = Authorizer(
            "eu", httpx.URL(self.base), self.login, self.send, clock=lambda: self.now
        )

    def send(self, request: httpx.Request) -> httpx.Response:
        """The next answer, the last one for ever; tokens T1, T2 ... where there is none."""
        self.asked.append(request)
        count = len(self.asked)
        if not self.answers:
            return httpx.Response(200, json={"token": f"T{count}", "expires_in": 300})
        answer = self.answers[min(count, len(self.answers)) - 1]
        if isinstance(answer, Exception):
            raise answer
        response: httpx.Response = answer() if callable(answer) else answer
        return response

    def challenged(
        self,
        challenges: list[Challenge] | None = None,
        scopes: tuple[str, ...] = PULL,
        sent: str | None = None,
    ) -> bool:
        asking = bearer(scopes[0]) if challenges is None else challenges
        return self.authorizer.challenged(asking, scopes, sent)

    def sends(self, scopes: tuple[str, ...] = PULL) -> str | None:
        return self.authorizer.headers(scopes).get("Authorization")

    def fails(self, kind: type[errors.RegistryError], *words: str, **how: Any) -> str:
        """The sentence of the error that a 401 leads to; never with a secret in it."""
        with pytest.raises(kind) as caught:
            self.challenged(**how)
        sentence = str(caught.value)
        assert type(caught.value) is kind
        assert caught.value.registry == "eu"
        assert SECRET not in sentence
        for word in words:
            assert word in sentence
        return sentence


def params(request: httpx.Request) -> list[tuple[str, str]]:
    return request.url.params.multi_items()


# --- before the first challenge


def test_nothing_is_sent_and_nothing_read_before_the_registry_asks() -> None:
    place = Place()
    assert not place.authorizer.known
    assert place.authorizer.headers(PULL) == {}
    assert place.authorizer.ensure(PULL) == {}
    assert (place.asked, place.login.reads) == ([], [])


@pytest.mark.parametrize(
    "challenges",
    [[], [Challenge("negotiate", {})], [Challenge("bearer", {"service": "eu"})]],
)
def test_a_challenge_that_cannot_be_answered_is_no_reason_to_try_again(
    challenges: list[Challenge],
) -> None:
    place = Place()
    assert not place.challenged(challenges)
    assert not place.authorizer.known


def test_a_token_is_preferred_to_showing_the_password_each_time() -> None:
    place = Place()
    assert place.challenged(BASIC + bearer(PULL[0]))
    assert place.sends() == "Bearer T1"


# --- Basic


def test_basic_is_sent_everywhere_once_it_was_asked_for() -> None:
    place = Place()
    assert place.challenged(BASIC)
    assert place.authorizer.known
    assert place.sends() == place.sends(PUSH) == show("ci", SECRET)
    assert place.authorizer.ensure(()) == {"Authorization": show("ci", SECRET)}
    assert place.asked == []


def test_a_refused_password_is_read_again_and_then_blamed() -> None:
    place = Place()
    place.challenged(BASIC)
    sent = place.sends()
    sentence = place.fails(errors.UnauthorizedError, challenges=BASIC, sent=sent)
    assert sentence == "eu refuses user 'ci': check the password of user 'ci' in FILE"
    assert place.login.reads == [("prod/app", False), ("prod/app", True)]
    place.fails(errors.UnauthorizedError, challenges=BASIC, sent=sent)
    assert len(place.login.reads) == 2


def test_a_password_changed_meanwhile_is_tried() -> None:
    place = Place()
    place.challenged(BASIC)
    sent = place.sends()
    place.login.credential = Credential("ci", "new")
    assert place.challenged(BASIC, sent=sent)
    assert place.sends() == show("ci", "new")


def test_a_refused_password_is_read_again_after_a_minute() -> None:
    place = Place()
    place.challenged(BASIC)
    place.fails(errors.UnauthorizedError, challenges=BASIC, sent=place.sends())
    place.login.credential = Credential("ci", "new")
    place.now += 59
    assert place.sends() == show("ci", SECRET)
    place.now += 1
    assert place.sends() == show("ci", "new")


@pytest.mark.parametrize("credential", [ANONYMOUS, TOKEN])
def test_a_registry_that_wants_a_password_we_do_not_have_says_so(credential: Credential) -> None:
    place = Place(Login(replace(credential, notice="no entry for eu in FILE: anonymous")))
    place.fails(errors.UnauthorizedError, "asks for a user name and a password", challenges=BASIC)
    assert place.sends() is None


# --- asking for a token


def test_a_token_is_asked_for_as_the_challenge_says() -> None:
    """The demanded scope first: some servers look at no other (registries.md, section 2)."""
    place = Place()
    scopes = ("repository:prod/app:pull,push", "repository:base/os:pull")
    challenges = bearer("repository:base/os:pull", realm=f"{REALM}?tenant=a")
    assert place.challenged(challenges, scopes)
    (request,) = place.asked
    assert request.method == "GET"
    assert request.headers["Authorization"] == show("ci", SECRET)
    assert str(request.url).startswith(f"{REALM}?")
    assert params(request) == [
        ("tenant", "a"),
        ("service", "eu"),
        ("scope", "repository:base/os:pull"),
        ("scope", "repository:prod/app:pull,push"),
        ("account", "ci"),
        ("client_id", "syncer"),
    ]
    assert place.sends(scopes) == "Bearer T1"
    assert place.sends(scopes[::-1]) == "Bearer T1"


def test_nobody_asks_for_a_token_without_credentials() -> None:
    place = Place(Login(ANONYMOUS))
    assert place.challenged()
    (request,) = place.asked
    assert "Authorization" not in request.headers
    assert "account" not in dict(params(request))


def test_the_credential_is_that_of_the_repository_in_the_scope() -> None:
    place = Place()
    place.challenged(scopes=("repository:host:5000/team/app:pull",))
    place.challenged(scopes=("registry:catalog:*",))
    assert place.login.reads == [("host:5000/team/app", False), ("", False)]


@pytest.mark.parametrize("name", ["token", "access_token"])
def test_either_name_of_a_token_will_do(name: str) -> None:
    place = Place(answers=[httpx.Response(200, json={name: "T"})])
    place.challenged()
    assert place.sends() == "Bearer T"


def test_each_set_of_scopes_has_a_token_of_its_own() -> None:
    place = Place()
    place.challenged()
    assert place.sends(PUSH) is None
    assert place.authorizer.ensure(PUSH) == {"Authorization": "Bearer T2"}
    assert [dict(params(request))["scope"] for request in place.asked] == [*PULL, *PUSH]
    assert (place.sends(), place.sends(PUSH)) == ("Bearer T1", "Bearer T2")


def test_tokens_of_many_repositories_do_not_pile_up() -> None:
    place = Place()
    place.challenged()
    for number in range(grants._MOST + 10):
        place.authorizer.ensure((f"repository:r{number}:pull",))
    assert len(place.authorizer._grants._kept) == grants._MOST
    assert max(len(params(request)) for request in place.asked) == 4


# --- how long it lasts


@pytest.mark.parametrize(
    ("expires_in", "life"),
    [
        ("300", 300),
        ('"300"', 300),
        ("5", 60),
        ("null", 60),
        ("-1", 60),
        ("NaN", 60),
        ('"soon"', 60),
        ("[1]", 60),
    ],
)
def test_a_token_is_renewed_at_four_fifths_of_its_life(expires_in: str, life: int) -> None:
    place = Place()
    place.answers = [
        lambda: httpx.Response(
            200, text=f'{{"token": "T{len(place.asked)}", "expires_in": {expires_in}}}'
        )
    ]
    place.challenged()
    place.now += life * 0.8 - 0.001
    assert place.sends() == "Bearer T1"
    place.now += 0.001
    assert place.sends() == "Bearer T2"
    assert params(place.asked[0]) == params(place.asked[1])


def test_a_token_without_a_life_lasts_a_minute() -> None:
    place = Place(answers=[httpx.Response(200, json={"token": "T"})])
    place.challenged()
    place.now += 47
    place.sends()
    assert len(place.asked) == 1
    place.now += 1
    place.sends()
    assert len(place.asked) == 2


def test_a_token_is_used_to_its_end_while_no_new_one_can_be_had() -> None:
    place = Place()
    place.challenged()
    place.answers = [httpx.Response(503)]
    place.now += 299
    assert place.sends() == "Bearer T1"
    place.now += 1
    with pytest.raises(errors.UnavailableError):
        place.authorizer.headers(PULL)


def test_a_password_refused_at_renewal_is_not_glossed_over_by_the_old_token() -> None:
    place = Place()
    place.challenged()
    place.answers = [httpx.Response(401)]
    place.now += 250
    with pytest.raises(errors.UnauthorizedError):
        place.authorizer.headers(PULL)


def test_a_token_that_ran_out_is_renewed_and_blames_nobody() -> None:
    """A server's life of ten seconds counts as sixty, so its end shows as a 401."""
    place = Place()
    place.answers = [
        httpx.Response(200, json={"token": name, "expires_in": 10}) for name in ("T1", "T2")
    ]
    place.challenged()
    sent = place.sends()
    place.now += 10
    assert place.challenged(sent=sent)
    assert place.sends() != sent


# --- what a refusal means


def test_a_fresh_token_for_the_demanded_scope_that_is_refused_means_no() -> None:
    place = Place()
    place.challenged(bearer(PUSH[0]), PUSH)
    refused = bearer(PUSH[0], error="insufficient_scope")
    sentence = place.fails(errors.DeniedError, challenges=refused, scopes=PUSH, sent="Bearer T1")
    assert sentence == (
        "eu does not give repository:prod/app:pull,push to user 'ci' of FILE:"
        " grant it there, or name another user"
    )
    place.fails(errors.DeniedError, challenges=refused, scopes=PUSH, sent="Bearer T1")
    assert len(place.asked) == 1


def test_a_token_fetched_ahead_and_refused_means_no_as_well() -> None:
    place = Place()
    place.challenged()
    place.authorizer.ensure(PUSH)
    place.fails(errors.DeniedError, scopes=PUSH, sent="Bearer T2")


def test_what_was_denied_is_asked_again_after_a_minute() -> None:
    place = Place()
    place.challenged()
    place.fails(errors.DeniedError, sent="Bearer T1")
    place.now += 59
    assert place.sends() == "Bearer T1"
    place.now += 1
    assert place.sends() == "Bearer T2"


def test_an_older_token_that_is_refused_is_renewed_once() -> None:
    place = Place()
    place.challenged()
    place.now += 100
    assert place.challenged(sent="Bearer T1")
    assert place.sends() == "Bearer T2"
    place.fails(errors.DeniedError, sent="Bearer T2")


def test_a_wider_demand_than_ours_is_asked_for_and_remembered() -> None:
    """Some registries want another scope for the same request, such as `*` for a delete."""
    place = Place()
    place.challenged()
    wider = bearer("repository:prod/app:*")
    assert place.challenged(wider, sent="Bearer T1")
    assert dict(params(place.asked[1]))["scope"] == "repository:prod/app:*,pull"
    place.now += 240
    assert place.sends() == "Bearer T3"
    assert params(place.asked[1]) == params(place.asked[2])
    place.fails(errors.DeniedError, challenges=wider, sent="Bearer T3")


def test_a_registry_that_names_another_token_server_gets_its_token() -> None:
    """Artifactory has a realm for each of its repositories."""
    place = Place()
    place.challenged()
    moved = bearer(PULL[0], realm="https://auth2.example.com/token")
    assert place.challenged(moved, sent="Bearer T1")
    assert [request.url.host for request in place.asked] == [
        "auth.example.com",
        "auth2.example.com",
    ]


def test_a_server_with_one_token_for_ever_is_not_asked_in_circles() -> None:
    place = Place(answers=[httpx.Response(200, json={"token": "T"})])
    place.challenged()
    place.now += 35
    place.fails(errors.DeniedError, sent="Bearer T")


def test_a_token_the_registry_does_not_trust_is_no_denial() -> None:
    place = Place()
    place.challenged()
    invalid = bearer(PULL[0], error="invalid_token")
    place.fails(
        errors.UnauthorizedError, "auth.example.com", "clocks", challenges=invalid, sent="Bearer T1"
    )


def test_what_anonymous_may_not_have_asks_for_a_user() -> None:
    place = Place(Login(replace(ANONYMOUS, notice="no entry for eu in FILE: anonymous")))
    place.challenged()
    sentence = place.fails(errors.UnauthorizedError, sent="Bearer T1")
    assert sentence == (
        "eu does not give repository:prod/app:pull to anonymous: name a user for it in the rules"
        " file (no entry for eu in FILE: anonymous)"
    )


def test_a_late_401_of_an_old_token_costs_nothing() -> None:
    place = Place()
    place.challenged()
    place.now += 100
    place.challenged(sent="Bearer T1")
    assert place.challenged(sent="Bearer T1")
    assert place.challenged(sent=None)
    assert len(place.asked) == 2


# --- the token server refuses


@pytest.mark.parametrize("status", [401, 403])
def test_a_password_the_token_server_refuses_is_blamed_not_the_scope(status: int) -> None:
    place = Place(answers=[httpx.Response(status, text=SECRET)])
    sentence = place.fails(errors.UnauthorizedError)
    assert sentence == (
        f"the token server auth.example.com of eu refuses user 'ci' ({status}, asked for"
        " repository:prod/app:pull): check the password of user 'ci' in FILE"
    )
    assert place.login.reads == [("prod/app", False), ("prod/app", True)]
    assert len(place.asked) == 1


def test_a_password_changed_meanwhile_is_shown_to_the_token_server() -> None:
    place = Place()

    def refuse() -> httpx.Response:
        place.login.credential = Credential("ci", "new")
        return httpx.Response(401)

    place.answers = [refuse, httpx.Response(200, json={"token": "T"})]
    assert place.challenged()
    assert place.asked[1].headers["Authorization"] == show("ci", "new")


# --- identity tokens


def form(request: httpx.Request) -> dict[str, str]:
    return dict(parse_qsl(request.content.decode()))


def test_an_identity_token_is_exchanged_by_post() -> None:
    place = Place(Login(TOKEN))
    assert place.challenged(scopes=(*PUSH, "repository:base/os:pull"))
    (request,) = place.asked
    assert (request.method, str(request.url)) == ("POST", REALM)
    assert "Authorization" not in request.headers
    assert form(request) == {
        "grant_type": "refresh_token",
        "service": "eu",
        "client_id": "syncer",
        "scope": "repository:prod/app:pull,push repository:base/os:pull",
        "refresh_token": SECRET,
    }


@pytest.mark.parametrize("status", [404, 405])
@pytest.mark.parametrize(
    ("credential", "shown"),
    [
        (TOKEN, show("ci", SECRET)),
        (Credential(identity_token=SECRET), show("<token>", SECRET)),
        (replace(TOKEN, password="pw"), show("ci", "pw")),
    ],
)
def test_a_server_that_knows_no_post_is_asked_by_get(
    status: int, credential: Credential, shown: str
) -> None:
    token = httpx.Response(200, json={"token": "T"})
    place = Place(Login(credential), [httpx.Response(status), token])
    assert place.challenged()
    assert [request.method for request in place.asked] == ["POST", "GET"]
    assert place.asked[1].headers["Authorization"] == shown


def test_an_identity_token_that_is_replaced_is_not_shown_again() -> None:
    answers = [
        httpx.Response(200, json={"access_token": "T", "refresh_token": f"R{n}"}) for n in (1, 2, 3)
    ]
    place = Place(Login(TOKEN), answers)
    for repository in "abc":
        place.challenged(scopes=(f"repository:{repository}:pull",))
    assert [form(request)["refresh_token"] for request in place.asked] == [SECRET, "R1", "R2"]
    place.login.credential = replace(TOKEN, identity_token="after a new login")
    place.challenged(scopes=("repository:d:pull",))
    assert form(place.asked[-1])["refresh_token"] == "after a new login"


def test_an_identity_token_stays_with_the_first_token_server() -> None:
    place = Place(Login(TOKEN))
    place.challenged()
    sentence = place.fails(
        errors.ProtocolError,
        challenges=bearer(realm="https://other.example.com/token"),
        scopes=PUSH,
    )
    assert sentence == (
        "eu named auth.example.com as its token server and now names other.example.com:"
        " the identity token stays with the first"
    )
    assert len(place.asked) == 1


def test_an_identity_token_that_ended_asks_for_a_new_login() -> None:
    answer = httpx.Response(400, json={"error": "invalid_grant"})
    place = Place(Login(replace(TOKEN, username="")), [answer])
    place.fails(errors.UnauthorizedError, "log in again to renew the identity token in FILE")


# --- a token server in trouble, or hostile


def endless() -> Iterator[bytes]:
    for _ in range(20):
        yield b" " * 65536
    pytest.fail("read far beyond the limit")


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        (httpx.Response(500), errors.UnavailableError, "answers 500"),
        (httpx.Response(408), errors.UnavailableError, "answers 408"),
        (httpx.ConnectError("refused"), errors.UnavailableError, "gives no answer: refused"),
        (httpx.ReadTimeout(""), errors.UnavailableError, "gives no answer: ReadTimeout"),
        (ConnectionResetError("gone"), errors.UnavailableError, "gives no answer: gone"),
        (httpx.Response(404), errors.ProtocolError, "answers 404"),
        (httpx.Response(204), errors.ProtocolError, "answers 204"),
        (httpx.Response(200, text=f"<{SECRET}>"), errors.ProtocolError, "no JSON object"),
        (httpx.Response(200, json=[SECRET]), errors.ProtocolError, "no JSON object"),
        (httpx.Response(200, text="[" * 100_000), errors.ProtocolError, "no JSON object"),
        (httpx.Response(200, content=b"\xff{}"), errors.ProtocolError, "no JSON object"),
        (httpx.Response(200, json={}), errors.ProtocolError, "without a token"),
        (httpx.Response(200, json={"token": 5}), errors.ProtocolError, "without a token"),
        (httpx.Response(200, json={"token": "a\r\nb"}), errors.ProtocolError, "without a token"),
        (httpx.Response(200, json={"token": "a b"}), errors.ProtocolError, "without a token"),
        (httpx.Response(200, json={"token": "ü"}), errors.ProtocolError, "without a token"),
    ],
)
def test_a_token_server_in_trouble_is_told_from_a_broken_one(
    answer: Any, kind: type[errors.RegistryError], words: str
) -> None:
    place = Place(answers=[answer])
    place.fails(kind, "the token server auth.example.com of eu", words)
    assert place.sends() is None


def test_an_answer_that_does_not_end_is_broken_off_and_closed() -> None:
    answer = httpx.Response(200, content=endless())
    Place(answers=[answer]).fails(errors.ProtocolError, "answers with more than 1 MiB")
    assert answer.is_closed


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "7"}, 7),
        (
            {
                "Retry-After": "Wed, 21 Oct 2026 07:28:30 GMT",
                "Date": "Wed, 21 Oct 2026 07:28:00 GMT",
            },
            30,
        ),
        (
            {
                "Retry-After": "Wed, 21 Oct 2026 07:00:00 GMT",
                "Date": "Wed, 21 Oct 2026 07:28:00 GMT",
            },
            0,
        ),
        ({"Retry-After": "Wed, 21 Oct 2026 07:28:30 GMT"}, None),
        ({"Retry-After": "9" * 5000}, None),
        ({"Retry-After": "soon", "Date": "now"}, None),
        ({}, None),
    ],
)
@pytest.mark.parametrize(
    ("status", "kind"), [(429, errors.TooManyRequestsError), (503, errors.UnavailableError)]
)
def test_a_token_server_says_when_to_come_back(
    headers: dict[str, str], seconds: float | None, status: int, kind: type[errors.RegistryError]
) -> None:
    place = Place(answers=[httpx.Response(status, headers=headers)])
    with pytest.raises(kind) as caught:
        place.challenged()
    assert (caught.value.retry_after, caught.value.status) == (seconds, status)
    assert caught.value.temporary


def redirect(location: str, status: int = 302) -> httpx.Response:
    return httpx.Response(status, headers={"Location": location})


def test_a_redirect_within_the_token_server_is_followed() -> None:
    token = httpx.Response(200, json={"token": "T"})
    place = Place(answers=[redirect("/v2/token?scope=x"), token])
    assert place.challenged()
    assert str(place.asked[1].url) == "https://auth.example.com/v2/token?scope=x"
    assert place.asked[1].headers["Authorization"] == show("ci", SECRET)


def test_a_redirected_exchange_keeps_its_form() -> None:
    token = httpx.Response(200, json={"token": "T"})
    place = Place(Login(TOKEN), [redirect("/oauth2", 307), token])
    assert place.challenged()
    assert (place.asked[1].method, form(place.asked[1])) == ("POST", form(place.asked[0]))


@pytest.mark.parametrize(
    ("location", "words"),
    [
        ("https://evil.example.com/token", "redirects to evil.example.com"),
        ("http://auth.example.com/token", "redirects to auth.example.com"),
        ("https://auth.example.com:8443/token", "redirects to auth.example.com"),
        ("https://u:p@auth.example.com/token", "redirects to auth.example.com"),
        ("https://[::1", "no URL"),
        ("https://xn--/", "no URL"),
        ("/again", "more than 3 times"),
    ],
)
def test_no_redirect_takes_credentials_elsewhere(location: str, words: str) -> None:
    place = Place(answers=[redirect(location)])
    place.fails(errors.ProtocolError, words)
    assert {request.url.host for request in place.asked} == {"auth.example.com"}
    assert len(place.asked) <= 4


def test_a_redirect_that_turns_a_post_into_a_get_is_not_followed() -> None:
    place = Place(Login(TOKEN), [redirect("/token", 302)])
    place.fails(errors.ProtocolError, "redirects a POST with 302")


@pytest.mark.parametrize("realm", ["http://auth.example.com/", "https://169.254.169.254/"])
def test_nothing_is_sent_to_a_realm_that_may_not_see_it(realm: str) -> None:
    place = Place()
    place.fails(errors.ProtocolError, "eu sends us to", challenges=bearer(realm=realm))
    assert (place.asked, place.login.reads) == ([], [])


# --- many threads


def waiting(place: Place, scopes: tuple[str, ...] = PULL) -> int:
    """How many threads wait for the token that another one fetches."""
    flight = place.authorizer._grants._flights.get(frozenset(scopes))
    return len(flight._condition._waiters) if flight else 0  # type: ignore[attr-defined]


def together(place: Place, answer: Callable[[], httpx.Response]) -> list[Future[bool]]:
    """Fifty threads bring the same 401; the answer comes when 49 wait for it."""

    def held_back() -> httpx.Response:
        wait_for(lambda: waiting(place) == 49, "the other threads")
        return answer()

    place.answers = [held_back, lambda: httpx.Response(200, json={"token": "T"})]
    with ThreadPoolExecutor(50) as pool:
        return [pool.submit(place.challenged) for _ in range(50)]


def test_fifty_threads_with_one_401_fetch_one_token() -> None:
    place = Place()
    done = together(place, lambda: httpx.Response(200, json={"token": "T"}))
    assert all(each.result() for each in done)
    assert len(place.asked) == 1


def test_a_dead_token_server_is_waited_for_once() -> None:
    place = Place()
    done = together(place, lambda: httpx.Response(503))
    assert {type(each.exception()) for each in done} == {errors.UnavailableError}
    assert len(place.asked) == 1


def test_when_the_asking_thread_is_interrupted_another_one_asks() -> None:
    def interrupt() -> httpx.Response:
        raise KeyboardInterrupt

    place = Place()
    done = together(place, interrupt)
    assert [type(each.exception()) for each in done].count(KeyboardInterrupt) == 1
    assert sum(each.exception() is None and each.result() for each in done) == 49
    assert len(place.asked) == 2


def test_different_scopes_are_fetched_at_the_same_time() -> None:
    place = Place()
    both = threading.Barrier(2, timeout=20)

    def meet() -> httpx.Response:
        both.wait()
        return httpx.Response(200, json={"token": "T"})

    place.answers = [meet]
    with ThreadPoolExecutor(2) as pool:
        assert all(pool.map(lambda scopes: place.challenged(scopes=scopes), (PULL, PUSH)))
