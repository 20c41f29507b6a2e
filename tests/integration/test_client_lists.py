"""Lists, referrers and single-tag deletes at registries that misbehave: all of it or an error."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from syncer import errors, events, manifest, reference
from syncer.registry import listing
from tests import content
from tests.clients import Opened, opened, pushed
from tests.fake_registry import Asked, FakeRegistry

WHOLE = content.manifest("hostile")
TAGS = "/v2/a/tags/list"


@pytest.fixture
def fake() -> Iterator[FakeRegistry]:
    with FakeRegistry() as registry:
        registry.holds("a").manifests[WHOLE.digest] = (WHOLE.media_type, WHOLE.data)
        registry.holds("a").tags["v1"] = WHOLE.digest
        yield registry


@pytest.fixture
def eu(fake: FakeRegistry) -> Iterator[Opened]:
    with opened(fake.url, timeout=2.0) as client:
        yield client


def test_pages_that_do_not_end_are_an_error(
    fake: FakeRegistry, eu: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "MOST_PAGES", 50)

    def page(asked: Asked) -> None:
        number = int(asked.query.get("last", "0")) + 1
        link = {"Link": f'<{TAGS}?last={number}>; rel="next"'}
        asked.answer(200, {"tags": [f"v{number}"]}, link)

    fake.on("GET", TAGS, page)
    with pytest.raises(errors.ProtocolError, match="does not end"):
        eu.client.tags("a")
    assert len(fake.asked) == 50


def test_a_link_that_leads_back_is_an_error(fake: FakeRegistry, eu: Opened) -> None:
    fake.on(
        "GET",
        TAGS,
        lambda asked: asked.answer(200, {"tags": []}, {"Link": f"<{asked.url}>; rel=next"}),
    )
    with pytest.raises(errors.ProtocolError, match="does not end"):
        eu.client.tags("a")
    assert len(fake.asked) == 1


def test_more_names_than_a_repository_can_have_are_an_error(
    fake: FakeRegistry, eu: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "MOST_ENTRIES", 3)
    fake.on("GET", TAGS, lambda asked: asked.answer(200, {"tags": list("abcd")}))
    with pytest.raises(errors.ProtocolError, match="does not end"):
        eu.client.tags("a")


@pytest.mark.parametrize("link", ["http://localhost:1/v2/a/tags/list", "//evil.example/x"])
def test_a_link_to_another_host_is_not_followed(fake: FakeRegistry, eu: Opened, link: str) -> None:
    fake.on(
        "GET",
        TAGS,
        lambda asked: asked.answer(200, {"tags": ["a"]}, {"Link": f'<{link}>; rel="next"'}),
    )
    with pytest.raises(errors.ProtocolError, match="goes on at another host"):
        eu.client.tags("a")
    assert len(fake.asked) == 1


@pytest.mark.parametrize(
    "link",
    [
        '<{0}?n=1000&last=a>; rel="next"',
        "<{0}?last=a>; rel=next",
        '<?last=a>; title="x, y"; rel="prev next"',
        '<{0}?last=0>; rel="prev", <{0}?last=a>; rel="next"',
        "<{0}?last=a> ; REL = NEXT ; x",
    ],
)
def test_a_link_is_understood_as_rfc_8288_writes_it(
    fake: FakeRegistry, eu: Opened, link: str
) -> None:
    def page(asked: Asked) -> None:
        if "last" in asked.query:
            asked.answer(200, {"tags": [f"after-{asked.query['last']}"]})
        else:
            asked.answer(200, {"tags": ["a"]}, {"Link": link.format(TAGS)})

    fake.on("GET", TAGS, page)
    assert eu.client.tags("a") == ["a", "after-a"]


@pytest.mark.parametrize("body", ["<html>", "[]", '{"tags": 1}', '{"tags": [1]}', '{"name": "a"}'])
def test_a_list_that_is_none_is_an_error_and_not_an_empty_list(
    fake: FakeRegistry, eu: Opened, body: str
) -> None:
    fake.on("GET", TAGS, lambda asked: asked.answer(200, body))
    with pytest.raises(errors.ProtocolError, match="no list of tags"):
        eu.client.tags("a")


def test_an_emptied_repository_has_no_tags(fake: FakeRegistry, eu: Opened) -> None:
    fake.on("GET", TAGS, lambda asked: asked.answer(200, {"name": "a", "tags": None}))
    assert eu.client.tags("a") == []


def test_names_that_are_none_are_left_out_and_said(fake: FakeRegistry, eu: Opened) -> None:
    fake.on("GET", TAGS, lambda asked: asked.answer(200, {"tags": ["ok", "../x", "a b", "ok"]}))
    names = ["../../etc", "good/one", "UPPER", "good/one"]
    fake.on("GET", "/v2/_catalog", lambda asked: asked.answer(200, {"repositories": names}))
    assert eu.client.tags("a") == ["ok"]
    assert list(eu.client.repositories()) == ["good/one"]
    noticed = eu.told(events.Noticed)
    assert [event.reference for event in noticed] == ["eu/a", "eu"]
    assert "2 listed names are no tag names and are left out: '../x'" in noticed[0].message


def test_a_registry_that_takes_no_page_size_is_asked_without(
    fake: FakeRegistry, eu: Opened
) -> None:
    def page(asked: Asked) -> None:
        if "n" in asked.query:
            asked.fail(400, "PAGINATION_NUMBER_INVALID")

    fake.on("GET", TAGS, page)
    assert eu.client.tags("a") == ["v1"]
    assert eu.client.tags("a") == ["v1"]
    assert [url for _, url in fake.asked] == [f"{TAGS}?n=1000", TAGS, TAGS]


@pytest.mark.parametrize("status", [401, 403, 404, 405])
def test_a_registry_without_a_catalog_says_what_to_do(
    fake: FakeRegistry, eu: Opened, status: int
) -> None:
    fake.on("GET", "/v2/_catalog", lambda asked: asked.fail(status, "DENIED"))
    with pytest.raises(errors.UnsupportedError, match="name them one by one in `repos`"):
        list(eu.client.repositories())
    assert eu.client.capabilities().catalog is False


def test_referrers_come_over_pages_each_once(fake: FakeRegistry, eu: Opened) -> None:
    found = [content.artifact(WHOLE, seed=str(number)) for number in range(3)]

    def page(asked: Asked) -> None:
        index = content.index(*(found[:2] if "last" not in asked.query else found[1:]))
        headers = {"Content-Type": manifest.OCI_INDEX}
        if "last" not in asked.query:
            headers["Link"] = f'<{asked.path}?last=1>; rel="next"'
        asked.answer(200, index.data, headers)

    fake.on("GET", "/v2/a/referrers/.*", page)
    digests = [each.digest for each in eu.client.referrers("a", WHOLE.digest)]
    assert digests == [each.digest for each in found]
    assert eu.client.capabilities("a").referrers is True


@pytest.mark.parametrize(
    ("status", "media_type"), [(404, "text/plain"), (405, "text/plain"), (200, "text/html")]
)
def test_where_there_is_no_referrers_api_the_fallback_tag_is_read_from_then_on(
    fake: FakeRegistry, eu: Opened, status: int, media_type: str
) -> None:
    one = content.artifact(WHOLE)
    fake.on(
        "GET",
        "/v2/a/referrers/.*",
        lambda asked: asked.answer(status, "<html>", {"Content-Type": media_type}),
    )
    assert eu.client.referrers("a", WHOLE.digest) == []
    pushed(eu.client, "a", content.index(one), reference.fallback_tag(WHOLE.digest))
    assert [each.digest for each in eu.client.referrers("a", WHOLE.digest)] == [one.digest]
    assert [url for _, url in fake.asked if "/referrers/" in url] == [
        f"/v2/a/referrers/{WHOLE.digest}"
    ]


def test_what_stands_under_the_fallback_tag_must_be_an_index(
    fake: FakeRegistry, eu: Opened
) -> None:
    fake.on("GET", "/v2/a/referrers/.*", lambda asked: asked.answer(404))
    pushed(eu.client, "a", WHOLE, reference.fallback_tag(WHOLE.digest))
    with pytest.raises(errors.ProtocolError, match="should list the referrers"):
        eu.client.referrers("a", WHOLE.digest)


@pytest.mark.parametrize("status", [401, 403, 500])
def test_referrers_that_cannot_be_read_are_not_none(
    fake: FakeRegistry, eu: Opened, status: int
) -> None:
    fake.on("GET", "/v2/a/referrers/.*", lambda asked: asked.answer(status))
    with pytest.raises(errors.RegistryError):
        eu.client.referrers("a", WHOLE.digest)


def _by_digest_only(fake: FakeRegistry) -> None:
    def refuse(asked: Asked) -> None:
        if ":" not in asked.path.rpartition("/")[2]:
            asked.fail(400, "DIGEST_INVALID")

    fake.on("DELETE", "/v2/a/manifests/.*", refuse)


def test_a_tag_is_not_touched_before_deleting_by_digest_is_proven(
    fake: FakeRegistry, eu: Opened
) -> None:
    """The registry says 202 and keeps the manifest: the tag would be left on a placeholder."""
    _by_digest_only(fake)
    fake.on("DELETE", "/v2/a/manifests/.*", lambda asked: asked.answer(202))
    for _ in range(2):
        with pytest.raises(errors.UnsupportedError, match="cannot be deleted safely"):
            eu.client.delete_tag("a", "v1")
    assert fake.holds("a").tags == {"v1": WHOLE.digest}
    assert not [url for method, url in fake.asked if method == "PUT" and url.endswith("/v1")]


def test_a_tag_is_put_back_when_its_placeholder_cannot_be_deleted(
    fake: FakeRegistry, eu: Opened
) -> None:
    _by_digest_only(fake)
    eu.shared.learned.deletes.add("a")
    fake.on("DELETE", "/v2/a/manifests/.*", lambda asked: asked.fail(403, "DENIED"))
    with pytest.raises(errors.DeniedError):
        eu.client.delete_tag("a", "v1")
    assert fake.holds("a").tags == {"v1": WHOLE.digest}


def test_a_tag_that_somebody_else_moved_meanwhile_is_left_to_them(
    fake: FakeRegistry, eu: Opened
) -> None:
    theirs = content.manifest("theirs")

    def move(asked: Asked) -> None:
        fake.holds("a").manifests[theirs.digest] = (theirs.media_type, theirs.data)
        fake.holds("a").tags["v1"] = theirs.digest

    _by_digest_only(fake)
    eu.shared.learned.deletes.add("a")
    fake.on("DELETE", "/v2/a/manifests/.*", move)
    with pytest.raises(errors.UnsupportedError, match=f"v1 is {theirs.digest}"):
        eu.client.delete_tag("a", "v1")
    assert fake.holds("a").tags == {"v1": theirs.digest}


def test_a_stop_does_not_leave_a_tag_on_a_placeholder(fake: FakeRegistry, eu: Opened) -> None:
    _by_digest_only(fake)
    eu.shared.learned.deletes.add("a")
    fake.on("PUT", "/v2/a/manifests/v1", lambda asked: eu.stop.set())
    eu.client.delete_tag("a", "v1")
    assert fake.holds("a").tags == {}


def test_what_cannot_be_put_back_is_said(fake: FakeRegistry, eu: Opened) -> None:
    puts: list[Asked] = []

    def refuse_the_second(asked: Asked) -> None:
        puts.append(asked)
        if len(puts) > 1:
            asked.fail(403, "DENIED")

    _by_digest_only(fake)
    eu.shared.learned.deletes.add("a")
    fake.on("PUT", "/v2/a/manifests/v1", refuse_the_second)
    fake.on("DELETE", "/v2/a/manifests/.*", lambda asked: asked.fail(403, "DENIED"))
    with pytest.raises(errors.RegistryError, match=f"put {WHOLE.digest} back under it"):
        eu.client.delete_tag("a", "v1")
