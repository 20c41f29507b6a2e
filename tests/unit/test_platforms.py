"""Indexes trimmed to platforms: what stays, what goes, and that nothing else changes."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from syncer import errors, manifest, platforms
from syncer.manifest import Manifest
from tests import content

NAMES = ("linux/amd64", "linux/arm64", "linux/arm64/v8", "linux/arm/v6", "linux/arm", "linux/s390x")


def index(*rows: dict[str, Any], **fields: Any) -> Manifest:
    body = {"schemaVersion": 2, "mediaType": manifest.OCI_INDEX, "manifests": rows, **fields}
    return manifest.parse(json.dumps(body, indent=3).encode(), manifest.OCI_INDEX)


def row(number: int, platform: str = "", **fields: Any) -> dict[str, Any]:
    digest = manifest.digest_of(str(number).encode())
    names = ("os", "architecture", "variant")
    about = {"platform": dict(zip(names, platform.split("/"), strict=False))} if platform else {}
    return {"mediaType": manifest.OCI_MANIFEST, "digest": digest, "size": 7, **about, **fields}


def attests(number: int, about: int) -> dict[str, Any]:
    digest = manifest.digest_of(str(about).encode())
    annotations = {platforms.ATTESTS: digest, "vnd.docker.reference.type": "attestation-manifest"}
    return row(number, "unknown/unknown", annotations=annotations)


def numbers(found: Manifest) -> list[str]:
    """The platforms of its rows; what has none by its place among the digests made here."""
    known = {manifest.digest_of(str(number).encode()): str(number) for number in range(20)}
    return [known[each.digest] for each in found.manifests]


@pytest.mark.parametrize(
    ("wanted", "matched"),
    [
        ("linux/amd64", ["linux/amd64"]),
        ("linux/amd64/v1", ["linux/amd64"]),
        ("linux/amd64/v2", []),
        ("linux/arm64", ["linux/arm64", "linux/arm64/v8"]),
        ("linux/arm64/v8", ["linux/arm64", "linux/arm64/v8"]),
        ("linux/arm64/v9", []),
        ("linux/arm", ["linux/arm/v6", "linux/arm"]),
        ("linux/arm/v7", ["linux/arm"]),
        ("windows/amd64", []),
    ],
)
def test_a_platform_without_a_variant_stands_for_all_of_them(
    wanted: str, matched: list[str]
) -> None:
    assert [name for name in NAMES if platforms.matches(wanted, name)] == matched


def test_attestations_stay_with_what_they_are_about_and_rows_for_no_platform_stay() -> None:
    whole = index(
        row(0, "linux/amd64"),
        row(1, "linux/arm64"),
        attests(2, about=0),
        attests(3, about=1),
        row(4),
        row(5, "unknown/unknown"),
    )
    assert numbers(platforms.trim(whole, ["linux/amd64"])) == ["0", "2", "4", "5"]


def test_one_manifest_for_two_platforms_keeps_its_attestation_with_either() -> None:
    whole = index(row(0, "linux/arm/v6"), row(0, "linux/arm/v7"), attests(2, about=0))
    assert numbers(platforms.trim(whole, ["linux/arm/v7"])) == ["0", "2"]


@pytest.mark.parametrize("rows", [[], [row(0), row(1)], [row(0, "linux/amd64"), row(1)]])
def test_an_index_that_loses_nothing_is_the_very_same(rows: list[dict[str, Any]]) -> None:
    whole = index(*rows)
    assert platforms.trim(whole, ["linux/amd64"]) is whole


def test_an_index_for_other_platforms_only_is_refused_with_what_it_has() -> None:
    with pytest.raises(errors.NoPlatformError, match="is for linux/arm64, linux/s390x, none of"):
        platforms.trim(index(row(0, "linux/s390x"), row(1, "linux/arm64")), ["linux/amd64"])


def test_a_number_that_json_cannot_hold_is_not_passed_on() -> None:
    raw = index(row(0, "linux/amd64"), row(1, "linux/arm64")).raw
    whole = manifest.parse(raw.replace(b"{", b'{"x": 1e999,', 1), manifest.OCI_INDEX)
    with pytest.raises(errors.InvalidManifestError):
        platforms.trim(whole, ["linux/amd64"])


@settings(max_examples=100, deadline=None, derandomize=True)
@given(
    names=st.lists(st.sampled_from(NAMES), max_size=8),
    wanted=st.lists(st.sampled_from(NAMES), min_size=1, max_size=3),
    annotation=st.text(max_size=8),
)
def test_nothing_but_rows_changes_and_the_same_source_gives_the_same_bytes(
    names: list[str], wanted: list[str], annotation: str
) -> None:
    """Rows keep their order and every field; fields nobody knows stay, also where they are odd."""
    rows = [
        row(number, name, data="e30=", odd={"é": annotation}) for number, name in enumerate(names)
    ]
    whole = index(*rows, annotations={"a": annotation}, subject=row(19), strange=[None, 1.5])
    matched = [
        each
        for each, name in zip(rows, names, strict=True)
        if any(platforms.matches(each, name) for each in wanted)
    ]
    try:
        trimmed = platforms.trim(whole, wanted)
    except errors.NoPlatformError:
        assert names
        assert not matched
        return
    before, after = json.loads(whole.raw), json.loads(trimmed.raw)
    assert after == {**before, "manifests": matched if names else []}
    assert list(after) == list(before)
    assert trimmed.media_type == whole.media_type
    assert platforms.trim(whole, wanted).raw == trimmed.raw
    assert platforms.trim(trimmed, wanted) is trimmed


def test_what_buildkit_writes_is_trimmed_to_what_buildkit_would_have_written() -> None:
    both, one = (
        content.attested(names=("linux/amd64", "linux/arm64")),
        content.attested(names=("linux/amd64",)),
    )
    trimmed = platforms.trim(manifest.parse(both.data, both.media_type), ["linux/amd64"])
    assert json.loads(trimmed.raw) == one.body
