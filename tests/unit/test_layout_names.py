"""How layouts are spelled on the command line, and what rows of `index.json` are called."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncer import errors, layout, reference
from syncer.layout import names
from syncer.reference import Reference

DIGEST = f"sha256:{'a' * 64}"

components = st.from_regex(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*", fullmatch=True)
repositories = (
    st.lists(components, min_size=1, max_size=3).map("/".join).filter(reference.is_repository)
)
tags = st.from_regex(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,20}", fullmatch=True)
digests = st.from_regex(r"[a-f0-9]{64}", fullmatch=True).map("sha256:{}".format)
paths = st.from_regex(r"\.{0,2}(?:/[A-Za-z0-9 ._-]+){1,3}|[A-Za-z0-9._-]+", fullmatch=True)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("oci:/mnt/usb", Reference("oci:/mnt/usb/")),
        ("oci:/mnt/usb/", Reference("oci:/mnt/usb/")),
        ("oci:usb", Reference("oci:usb/")),
        ("oci:/mnt/usb:v1", Reference("oci:/mnt/usb/", "", "v1")),
        ("oci:/mnt/usb//app", Reference("oci:/mnt/usb/", "app")),
        ("oci:/mnt/usb//prod/app:v1", Reference("oci:/mnt/usb/", "prod/app", "v1")),
        ("oci:/mnt/usb:prod/app:v1", Reference("oci:/mnt/usb/", "prod/app", "v1")),
        ("oci:/mnt/usb:prod/app", Reference("oci:/mnt/usb/", "prod/app")),
        (f"oci:/mnt/usb@{DIGEST}", Reference("oci:/mnt/usb/", digest=DIGEST)),
        (f"oci:/mnt/usb//app:v1@{DIGEST}", Reference("oci:/mnt/usb/", "app", "v1", DIGEST)),
        ("oci:/mnt/a:b//app:v1", Reference("oci:/mnt/a:b/", "app", "v1")),
        ("us/prod/app:v1", None),
        ("oci.example.com/app:v1", None),
        ("oci/app:v1", None),
    ],
)
def test_a_reference_to_a_layout_is_spelled_as_documented(
    text: str, expected: Reference | None
) -> None:
    assert layout.parse(text) == expected


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("oci:", "names no directory"),
        ("oci://mnt/usb", "names no directory"),
        ("oci:/mnt/usb:", "'' in 'oci:/mnt/usb:' is no tag"),
        ("oci:/mnt/usb//Prod/app:v1", "'Prod/app' in"),
        ("oci:/mnt/usb//../etc:v1", "'../etc' in"),
        ("oci:/mnt/usb//app:v1:v2", "'v1:v2' in"),
        ("oci:/mnt/usb//app@sha256:12", "'app@sha256' in"),
    ],
)
def test_a_wrong_reference_to_a_layout_says_which_part_is_wrong(text: str, part: str) -> None:
    with pytest.raises(errors.UsageError, match=re.escape(part)):
        layout.parse(text)


@given(
    path=paths,
    repository=st.just("") | repositories,
    tag=st.just("") | tags,
    digest=st.just("") | digests,
)
def test_what_is_printed_can_be_typed_in_again(
    path: str, repository: str, tag: str, digest: str
) -> None:
    printed = Reference(f"oci:{path.rstrip('/')}/", repository, tag, digest)
    assert layout.parse(str(printed)) == printed
    # As events and reports print a step, whether there is a repository or not.
    if tag and not digest:
        assert layout.parse(f"{printed.registry}/{repository}:{tag}") == printed


@given(repository=repositories, target=tags | digests)
def test_a_row_is_read_back_as_the_repository_and_target_it_was_written_for(
    repository: str, target: str
) -> None:
    row = names.annotate(repository, target)
    assert names.split(row, DIGEST, "own") == (repository, target)


@given(tag=tags)
def test_a_row_without_repository_carries_the_plain_tag(tag: str) -> None:
    row = names.annotate("", tag)
    assert row == {"org.opencontainers.image.ref.name": tag}
    assert names.split(row, DIGEST, "own") == ("own", tag)


@pytest.mark.parametrize(
    ("ref_name", "image_name", "expected"),
    [
        ("v1", "", ("own", "v1")),  # skopeo, oras, regctl
        ("", "", ("", DIGEST)),  # oras: referrers, children
        ("127.0.0.1:5000/prod/app:v1", "", ("prod/app", "v1")),  # crane --annotate-ref
        ("quay.example/prod/app:v1", "", ("quay.example/prod/app", "v1")),
        ("3.19", "docker.io/library/alpine:3.19", ("docker.io/library/alpine", "3.19")),
        ("", "docker.io/library/alpine:3.19", ("docker.io/library/alpine", "3.19")),
        (f"prod/app@{DIGEST}", "", ("prod/app", DIGEST)),
        ("prod/app", "", None),
        ("Prod/App:v1", "", None),
        ("../../etc:v1", "", None),
        ("v1+build", "", None),
        ("app:v1 or so", "", None),
    ],
)
def test_rows_of_other_tools_are_called_what_they_meant(
    ref_name: str, image_name: str, expected: names.Name | None
) -> None:
    found = {names.REF_NAME: ref_name, names.CONTAINERD_NAME: image_name}
    assert names.split({k: v for k, v in found.items() if v}, DIGEST, "own") == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("usb", "usb"),
        ("oci:/mnt/usb/", "usb"),
        ("oci:/media/USB Stick (2)/", "usb-stick-2"),
        ("oci:/", "layout"),
        ("oci:./", "layout"),
        ("oci:/mnt/-_-/", "layout"),
    ],
)
def test_the_own_repository_is_called_like_the_store_in_valid_letters(
    name: str, expected: str
) -> None:
    assert names.own_repository(name) == expected
    assert reference.is_repository(expected)
