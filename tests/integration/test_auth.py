"""Being somebody at Debian's docker-registry: htpasswd, and tokens of a server it trusts."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import bcrypt
import httpx
import pytest

from syncer import credentials, errors
from syncer.registry.auth import Authorizer, parse_challenges
from tests import content
from tests.registries import Factory, RegistryProcess, wait_for
from tests.token_server import ANONYMOUS, TokenServer, User

USERS = {
    ANONYMOUS: User({"repository:public/.*": "pull"}),
    "reader": User({"repository:.*": "pull"}, "reader-pw"),
    "team": User({"repository:prod/.*": "pull,push"}, "team-pw"),
    "ci": User(
        {"repository:.*": "pull,push,delete", "registry:catalog": "*"}, "ci-pw", "ci-refresh"
    ),
}
PULL = ("repository:prod/app:pull",)
PUSH = ("repository:prod/app:pull,push",)


class Asking:
    """The contract of a caller: at most two challenges answered for each request."""

    def __init__(self, registry: RegistryProcess, source: credentials.Source) -> None:
        self.now = 1000.0
        self.transport = httpx.HTTPTransport()
        self.base = httpx.URL(registry.url)
        self.authorizer = Authorizer(
            registry.host, self.base, source, self.transport.handle_request, clock=lambda: self.now
        )

    def once(self, method: str, path: str, headers: dict[str, str]) -> httpx.Response:
        url = self.base.join(path)
        response = self.transport.handle_request(httpx.Request(method, url, headers=headers))
        response.read()
        response.close()
        return response

    def status(self, method: str, path: str, scopes: tuple[str, ...] = PULL) -> int:
        for _ in range(2):
            headers = self.authorizer.ensure(scopes)
            response = self.once(method, path, headers)
            if response.status_code != 401:
                return response.status_code
            challenges = parse_challenges(response.headers.get_list("WWW-Authenticate"))
            assert self.authorizer.challenged(challenges, scopes, headers.get("Authorization"))
        return self.once(method, path, self.authorizer.ensure(scopes)).status_code


Be = Callable[[RegistryProcess, credentials.Source], Asking]


@pytest.fixture
def tokens(tmp_path: Path) -> Iterator[TokenServer]:
    with TokenServer(tmp_path / "tokens", USERS) as server:
        yield server


@pytest.fixture
def be() -> Iterator[Be]:
    """Makes callers, and closes their connections in the end."""
    with ExitStack() as stack:

        def make(registry: RegistryProcess, source: credentials.Source) -> Asking:
            asking = Asking(registry, source)
            stack.callback(asking.transport.close)
            return asking

        yield make


def password_file(tmp_path: Path, user: str, password: str) -> credentials.PasswordFile:
    path = tmp_path / "password"
    path.write_text(f"{password}\n")
    path.chmod(0o600)
    return credentials.PasswordFile(user, path)


def statuses(registry: RegistryProcess) -> list[int]:
    return [request.status for request in registry.requests()]


def test_a_password_is_shown_once_it_was_asked_for_and_from_then_on(
    make_registry: Factory, be: Be, tmp_path: Path
) -> None:
    registry = make_registry("docker", users={"ci": "ci-pw"})
    asking = be(registry, password_file(tmp_path, "ci", "ci-pw"))
    registry.forget_requests()
    assert asking.status("GET", "/v2/", ()) == 200
    assert asking.status("GET", "/v2/_catalog", ("registry:catalog:*",)) == 200
    assert asking.status("GET", "/v2/prod/app/tags/list") == 404
    assert statuses(registry) == [401, 200, 200, 404]


def test_a_wrong_password_is_named_with_its_file_after_two_requests(
    make_registry: Factory, be: Be, tmp_path: Path
) -> None:
    registry = make_registry("docker", users={"ci": "ci-pw"})
    source = password_file(tmp_path, "ci", "wrong-pw")
    asking = be(registry, source)
    registry.forget_requests()
    with pytest.raises(errors.UnauthorizedError) as caught:
        asking.status("GET", "/v2/", ())
    assert str(caught.value) == (
        f"{registry.host} refuses user 'ci': check the password of user 'ci' in {source.path}"
    )
    assert statuses(registry) == [401, 401]


def test_a_password_changed_on_both_sides_is_picked_up(
    registry: Factory, be: Be, tmp_path: Path
) -> None:
    running = registry("docker", users={"ci": "ci-pw"})
    asking = be(running, password_file(tmp_path, "ci", "ci-pw"))
    assert asking.status("GET", "/v2/", ()) == 200
    hashed = bcrypt.hashpw(b"new-pw", bcrypt.gensalt(4)).decode()
    (running.directory / "htpasswd").write_text(f"ci:{hashed}\n")
    running.restart()
    password_file(tmp_path, "ci", "new-pw")
    assert asking.status("GET", "/v2/", ()) == 200


def test_a_token_is_fetched_for_what_is_demanded_and_used_again(
    registry: Factory, be: Be, tokens: TokenServer, tmp_path: Path
) -> None:
    running = registry("docker", token=tokens.trust)
    asking = be(running, password_file(tmp_path, "ci", "ci-pw"))
    running.forget_requests()
    assert asking.status("GET", "/v2/prod/app/tags/list") == 404
    assert asking.status("GET", "/v2/prod/app/tags/list") == 404
    assert asking.status("POST", "/v2/prod/app/blobs/uploads/", PUSH) == 202
    assert asking.status("GET", "/v2/_catalog", ("registry:catalog:*",)) == 200
    assert statuses(running) == [401, 404, 404, 202, 200]
    assert [(each.user, each.scopes, each.status) for each in tokens.asked] == [
        ("ci", PULL, 200),
        ("ci", PUSH, 200),
        ("ci", ("registry:catalog:*",), 200),
    ]
    assert {each.service for each in tokens.asked} == {tokens.trust.service}


def test_what_the_user_may_not_do_is_told_from_a_wrong_password(
    registry: Factory, be: Be, tokens: TokenServer, tmp_path: Path
) -> None:
    running = registry("docker", token=tokens.trust)
    reader = be(running, password_file(tmp_path, "reader", "reader-pw"))
    assert reader.status("GET", "/v2/prod/app/tags/list") == 404
    with pytest.raises(errors.DeniedError, match="does not give repository:prod/app:pull,push to"):
        reader.status("POST", "/v2/prod/app/blobs/uploads/", PUSH)
    assert len(tokens.asked) == 2
    wrong = be(running, password_file(tmp_path, "reader", "wrong-pw"))
    with pytest.raises(errors.UnauthorizedError, match="check the password of user 'reader' in"):
        wrong.status("GET", "/v2/prod/app/tags/list")


def test_anonymous_has_what_is_public(registry: Factory, be: Be, tokens: TokenServer) -> None:
    asking = be(registry("docker", token=tokens.trust), credentials.Anonymous())
    public = ("repository:public/app:pull",)
    assert asking.status("GET", "/v2/public/app/tags/list", public) == 404
    with pytest.raises(errors.UnauthorizedError, match="to anonymous: name a user for it"):
        asking.status("GET", "/v2/prod/app/tags/list")


def test_a_mount_needs_a_token_for_both_repositories(
    registry: Factory, be: Be, tokens: TokenServer, tmp_path: Path
) -> None:
    running = registry("docker", token=tokens.trust)
    made = content.manifest()
    base, both = ("repository:base/os:pull,push",), (*PUSH, "repository:base/os:pull")
    ci = be(running, password_file(tmp_path, "ci", "ci-pw"))
    assert ci.status("POST", "/v2/base/os/blobs/uploads/", base) == 202
    token = ci.authorizer.ensure(base)["Authorization"].removeprefix("Bearer ")
    content.push(running, "base/os", "v1", made, token=token)
    mount = f"/v2/prod/app/blobs/uploads/?mount={made.blobs[0].digest}&from=base/os"
    assert ci.status("POST", mount, both) == 201
    assert tokens.asked[-1].scopes == both
    team = be(running, password_file(tmp_path, "team", "team-pw"))
    with pytest.raises(errors.DeniedError, match="repository:base/os:pull"):
        team.status("POST", mount, both)
    assert team.status("POST", "/v2/prod/app/blobs/uploads/", PUSH) == 202


def test_a_scope_that_only_the_registry_knew_of_is_asked_for_as_well(
    registry: Factory, be: Be, tokens: TokenServer, tmp_path: Path
) -> None:
    running = registry("docker", token=tokens.trust)
    asking = be(running, password_file(tmp_path, "ci", "ci-pw"))
    assert asking.status("GET", "/v2/prod/app/tags/list") == 404
    assert asking.status("POST", "/v2/prod/app/blobs/uploads/", PULL) == 202
    assert [each.scopes for each in tokens.asked] == [PULL, PUSH]


def test_a_token_that_ends_is_renewed_once_for_all_threads(
    registry: Factory, be: Be, tokens: TokenServer, tmp_path: Path
) -> None:
    running = registry("docker", token=tokens.trust)
    asking = be(running, password_file(tmp_path, "ci", "ci-pw"))
    tokens.life = -58  # distribution bears with a minute more: it ends within two seconds
    assert asking.status("GET", "/v2/prod/app/tags/list") == 404
    ending = asking.authorizer.ensure(PULL)
    tokens.life = 300
    wait_for(
        lambda: asking.once("GET", "/v2/prod/app/tags/list", ending).status_code == 401,
        "the end of the token",
    )
    asking.now += 40
    with ThreadPoolExecutor(16) as pool:
        asked = pool.map(lambda _: asking.status("GET", "/v2/prod/app/tags/list"), range(64))
        assert set(asked) == {404}
    assert len(tokens.asked) == 2


def test_a_token_that_the_registry_does_not_trust_blames_no_password(
    registry: Factory, be: Be, tokens: TokenServer, tmp_path: Path
) -> None:
    running = registry("docker", token=tokens.trust)
    asking = be(running, password_file(tmp_path, "ci", "ci-pw"))
    tokens.life = -120
    with pytest.raises(errors.UnauthorizedError, match=r"refuses the token .* clocks of both"):
        asking.status("GET", "/v2/prod/app/tags/list")


@pytest.mark.parametrize("refused", [{}, {"POST": 404}, {"POST": 405}])
def test_an_identity_token_of_docker_login_is_exchanged(
    registry: Factory, be: Be, tokens: TokenServer, tmp_path: Path, refused: dict[str, int]
) -> None:
    """By OAuth2 POST, and by GET where the token server does not know that."""
    running = registry("docker", token=tokens.trust)
    tokens.refuse = refused
    config = tmp_path / "config.json"
    auth = base64.b64encode(b"ci:ci-pw").decode()
    entry = {"auth": auth, "identitytoken": "ci-refresh"}
    config.write_text(json.dumps({"auths": {running.host: entry}}))
    asking = be(running, credentials.DockerConfig(running.host, config))
    assert asking.status("POST", "/v2/prod/app/blobs/uploads/", PUSH) == 202
    methods = ["POST", "GET"] if refused else ["POST"]
    assert [(each.method, each.user, each.scopes) for each in tokens.asked] == [
        (method, "ci", PUSH) for method in methods
    ]


def test_a_token_server_that_is_down_is_no_refusal(
    registry: Factory, be: Be, tokens: TokenServer, tmp_path: Path
) -> None:
    running = registry("docker", token=tokens.trust)
    asking = be(running, password_file(tmp_path, "ci", "ci-pw"))
    tokens.refuse = {"GET": 503}
    with pytest.raises(errors.UnavailableError, match="answers 503"):
        asking.status("GET", "/v2/prod/app/tags/list")
    tokens.refuse = {}
    assert asking.status("GET", "/v2/prod/app/tags/list") == 404
