"""What a registry may ask of us: `WWW-Authenticate` in all its forms, and realms that lie."""

from __future__ import annotations

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncer import errors
from syncer.registry import challenge
from syncer.registry.challenge import Challenge, parse_challenges

REALM = "https://auth.example.com/token"


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([], []),
        ([""], []),
        (["Basic"], [("basic", {})]),
        (['Basic realm="test"'], [("basic", {"realm": "test"})]),
        (
            [
                f'Bearer realm="{REALM}",scope="repository:a/b:pull,push repository:c:pull",error="e"'
            ],
            [
                (
                    "bearer",
                    {
                        "realm": REALM,
                        "scope": "repository:a/b:pull,push repository:c:pull",
                        "error": "e",
                    },
                )
            ],
        ),
        (
            [f'bEARER REALM="{REALM}" , Service = s', 'Basic realm="b"'],
            [("bearer", {"realm": REALM, "service": "s"}), ("basic", {"realm": "b"})],
        ),
        (
            [f'Negotiate, NTLM TlRMTVNT==, Bearer realm={REALM},service=s, Basic realm="x, y"'],
            [
                ("negotiate", {}),
                ("ntlm", {}),
                ("bearer", {"realm": REALM, "service": "s"}),
                ("basic", {"realm": "x, y"}),
            ],
        ),
        ([r'Basic realm="a \"quoted\" \\ b"'], [("basic", {"realm": r'a "quoted" \ b'})]),
        (['Basic realm="one", realm="two"'], [("basic", {"realm": "one"})]),
        (['Basic realm=""'], [("basic", {"realm": ""})]),
        (['realm="no scheme"'], []),
        (['Bearer realm="no end, service=s'], [("bearer", {"realm": "no end, service=s"})]),
        ([";;; @ Basic , ,realm=x"], [("basic", {"realm": "x"})]),
    ],
)
def test_challenges_are_read_as_registries_write_them(
    values: list[str], expected: list[tuple[str, dict[str, str]]]
) -> None:
    assert parse_challenges(values) == [Challenge(*each) for each in expected]


WORD = st.text("abcXYZ019!#$%&'*+.^_`|~-", min_size=1, max_size=6)
VALUE = st.text('ab ,="\\:/éü', max_size=12)


@given(
    st.lists(
        st.tuples(WORD, st.dictionaries(WORD.map(str.lower), VALUE, min_size=1, max_size=4)),
        max_size=4,
    ),
    st.sampled_from([",", ", ", " ,\t"]),
)
def test_what_is_written_by_the_grammar_is_read_back(
    written: list[tuple[str, dict[str, str]]], comma: str
) -> None:
    def quoted(value: str) -> str:
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'

    values = [
        f"{scheme} " + comma.join(f"{key}={quoted(value)}" for key, value in parameters.items())
        for scheme, parameters in written
    ]
    expected = [Challenge(scheme.lower(), parameters) for scheme, parameters in written]
    assert parse_challenges(values) == expected
    assert parse_challenges([comma.join(values)]) == expected


@given(st.text('Bearr,="\\ \t=é\n', max_size=200))
def test_no_header_is_too_broken_to_be_read(value: str) -> None:
    for found in parse_challenges([value]):
        assert found.scheme == found.scheme.lower() != ""


def test_scopes_that_would_mark_a_terminal_are_left_out() -> None:
    asked = Challenge("bearer", {"scope": "repository:a:pull repository:\x1b[31m:pull x"})
    assert asked.scopes == ("repository:a:pull", "x")


@pytest.mark.parametrize(
    ("scopes", "expected"),
    [
        ((), ()),
        (("repository:a:pull", "repository:a:pull,push"), ("repository:a:pull,push",)),
        (
            ("repository:h:5000/a:push", "repository:h:5000/a:pull"),
            ("repository:h:5000/a:push,pull",),
        ),
        (("repository:b:pull", "repository:a:pull"), ("repository:b:pull", "repository:a:pull")),
        (("registry:catalog:*", "aws", "aws"), ("registry:catalog:*", "aws")),
    ],
)
def test_scopes_of_one_resource_are_asked_as_one(
    scopes: tuple[str, ...], expected: tuple[str, ...]
) -> None:
    assert challenge.merge(scopes) == expected
    assert challenge.merge(expected) == expected


@pytest.mark.parametrize(
    ("scopes", "expected"),
    [
        ((), ""),
        (("registry:catalog:*",), ""),
        (("registry:catalog:*", "repository:h:5000/a/b:pull", "repository:c:pull"), "h:5000/a/b"),
        (("repository(plugin):a/b:pull",), "a/b"),
        (("repository",), ""),
    ],
)
def test_the_repository_of_scopes_is_the_first_one_named(
    scopes: tuple[str, ...], expected: str
) -> None:
    assert challenge.repository(scopes) == expected


@pytest.mark.parametrize(
    ("realm", "registry"),
    [
        (REALM, "https://registry-1.docker.io"),
        ("https://auth.docker.io/token?x=1", "https://registry-1.docker.io"),
        ("https://r.example.com/token", "http://r.example.com"),
        ("http://auth.example.com/token", "http://r.example.com"),
        ("https://8.8.8.8/token", "https://r.example.com"),
        ("http://127.0.0.1:1/token", "http://localhost:5000"),
        ("http://localhost:1/token", "http://127.0.0.1:5000"),
        ("https://10.0.0.1/token", "https://192.168.1.1:5000"),
        ("https://[fd00::1]/token", "https://[fd00::2]"),
    ],
)
def test_a_token_server_elsewhere_is_normal(realm: str, registry: str) -> None:
    assert str(challenge.token_realm(realm, httpx.URL(registry), "eu")) == realm


@pytest.mark.parametrize(
    ("realm", "words"),
    [
        ("", "no http or https URL"),
        ("/token", "no http or https URL"),
        ("ftp://auth.example.com/", "no http or https URL"),
        ("https://", "no http or https URL"),
        ("https://[::1", "no http or https URL"),
        ("https://xn--/token", "no http or https URL"),
        (f"https://{'a' * 70}.com/", "no http or https URL"),
        ("https://.../", "no http or https URL"),
        ("https://auth.example.com:65536/", "no http or https URL"),
        ("https://user:pw@auth.example.com/", "names a user before auth.example.com"),
        ("http://auth.example.com/", "over plain http"),
        *(
            (f"https://{host}/token", "inside a private network")
            for host in (
                "127.0.0.1",
                "127.1",
                "2130706433",
                "0x7f.0.0.1",
                "10.1.2.3",
                "169.254.169.254",
                "0.0.0.0",
                "224.0.0.1",
                "100.64.0.1",
                "localhost",
                "LOCALHOST.",
                "a.localhost",
                "[::1]",
                "[fe80::1]",
                "[::ffff:10.0.0.1]",
            )
        ),
    ],
)
def test_a_realm_that_could_harm_is_refused(realm: str, words: str) -> None:
    with pytest.raises(errors.ProtocolError, match=f"^eu sends us to .*{words}") as caught:
        challenge.token_realm(realm, httpx.URL("https://r.example.com"), "eu")
    assert "pw" not in str(caught.value)


@given(st.text(max_size=30) | st.text("htps:/[]@.1a%\x00é", max_size=30).map("https://".__add__))
def test_any_realm_is_a_url_or_refused(realm: str) -> None:
    try:
        url = challenge.token_realm(realm, httpx.URL("https://r.example.com"), "eu")
    except errors.ProtocolError:
        return
    assert url.scheme == "https"
    assert url.host
    assert not url.userinfo
