"""A hand-over by disk: a registry to an image layout, and from it to a registry that never met it."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from syncer import rules, stores
from tests import content
from tests.content import Content
from tests.operator import Operator
from tests.program import syncer
from tests.registries import Factory, RegistryProcess, absent

HERE, THERE = "near", "far"


def layout_rules(path: Path, source: str, target: str) -> str:
    """A layout called `usb`, and a rule from `source` to `target`."""
    return f"""
[registry.usb]
url = "oci:{path}"
[[replicate]]
name = "hand-over"
source = "{source}"
target = "{target}"
repos = ["prod/**"]
mutable = []
"""


def carrier(where: Path, registry: RegistryProcess, path: Path, *, out: bool) -> Operator:
    """Who carries content out of, or into, a registry."""
    where.mkdir(exist_ok=True)
    ends = (HERE, "usb") if out else ("usb", THERE)
    name = HERE if out else THERE
    return Operator(where, {name: registry}, layout_rules(path, *ends))


def pushed(registry: RegistryProcess) -> dict[tuple[str, str], Content]:
    """Content of every shape, by repository and tag."""
    signed = content.manifest("signed")
    made = {
        ("prod/app", "v1"): content.manifest("one"),
        ("prod/app", "multi"): content.attested(),
        ("prod/app", "nested"): content.index(content.platforms("n")),
        ("prod/app", "signed"): signed,
        ("prod/app", f"sha256-{signed.digest[7:]}.sig"): content.artifact(seed="sig"),
        ("prod/db", "v1"): content.manifest("docker", docker=True),
        ("prod/db", "empty"): content.manifest("z", layers=(content.blob("z", 0),)),
    }
    for (repository, tag), each in made.items():
        content.push(registry, repository, tag, each)
    return made


def skopeo(*arguments: str) -> bytes:
    """What skopeo prints."""
    program = shutil.which("skopeo")
    if program is None:
        absent("skopeo", required=True)
    command = [program, *arguments]
    return subprocess.run(command, check=True, capture_output=True, timeout=60).stdout


def test_content_crosses_an_air_gap_byte_for_byte_and_twice_is_once(
    tmp_path: Path, make_registry: Factory
) -> None:
    near, far = make_registry(name="near-gap"), make_registry(name="far-gap")
    made = pushed(near)
    usb = tmp_path / "usb"
    out = carrier(tmp_path / "near", near, usb, out=True)
    back = carrier(tmp_path / "far", far, usb, out=False)

    first = [out.sync(), back.sync()]
    before = (usb / "index.json").read_bytes()
    far.forget_requests()
    second = [out.sync(), back.sync()]

    assert [report.outcome for report in (*first, *second)] == ["ok"] * 4, [
        report.as_dict() for report in (*first, *second)
    ]
    for (repository, tag), each in made.items():
        assert content.skopeo_raw(far, repository, tag) == each.data
        for child in each.children:
            assert content.fetch(far, repository, child.digest)[0] == child.data
    for report in second:
        assert report.rules["hand-over"].in_step == len(made)
        assert report.total("done") == 0
        assert not report.bytes
    assert (usb / "index.json").read_bytes() == before
    assert set(far.methods()) <= {"GET", "HEAD"}


def test_skopeo_reads_the_layout_that_rules_made(tmp_path: Path, make_registry: Factory) -> None:
    near = make_registry(name="near-gap")
    made = pushed(near)

    carrier(tmp_path, near, tmp_path / "usb", out=True).sync()

    for (repository, tag), each in made.items():
        if "docker" not in each.media_type:  # of which skopeo knows none in a layout
            name = f"oci:{tmp_path / 'usb'}:{repository}:{tag}"
            assert skopeo("inspect", "--raw", name) == each.data


def test_a_layout_that_skopeo_made_is_a_source_of_rules(
    tmp_path: Path, make_registry: Factory
) -> None:
    near, far = make_registry(name="near-gap"), make_registry(name="far-gap")
    content.push(near, "skopeo/made", "v1", multi := content.platforms("skopeo"))
    usb = tmp_path / "usb"
    name = f"docker://{near.host}/skopeo/made:v1"
    skopeo("copy", "--all", "--src-tls-verify=false", name, f"oci:{usb}:prod/made:v1")

    report = carrier(tmp_path / "far", far, usb, out=False).sync()

    assert report.outcome == "ok", report.as_dict()
    assert content.skopeo_raw(far, "prod/made", "v1") == multi.data


def test_a_missing_layout_fails_the_rule_that_reads_it_with_a_sentence(
    tmp_path: Path, make_registry: Factory
) -> None:
    usb = tmp_path / "gone"
    report = carrier(tmp_path / "far", make_registry(name="far-gap"), usb, out=False).sync()

    assert report.outcome == "failed"
    (error,) = report.errors
    assert f"{usb} is not there: it should be a directory" in error.reason


def test_a_disk_that_is_not_mounted_is_not_written_past(
    tmp_path: Path, make_registry: Factory
) -> None:
    """The directory itself is made; the one it is in must be there."""
    near = make_registry(name="near-gap")
    pushed(near)

    report = carrier(tmp_path, near, tmp_path / "disk" / "usb", out=True).sync()

    assert report.outcome == "failed"
    assert {error.code for error in report.errors} == {"NOT_FOUND"}
    assert "mount or make it" in report.errors[0].reason
    assert not (tmp_path / "disk").exists()


def test_a_policy_prunes_a_layout_and_an_undo_brings_back_what_it_dropped(
    tmp_path: Path, make_registry: Factory
) -> None:
    near = make_registry(name="near-gap")
    for tag, each in content.versions(3, seed="pruned").items():
        content.push(near, "prod/series", tag, each)
    operator = carrier(tmp_path, near, tmp_path / "usb", out=True)
    operator.rules += """
[retention.guard]
min_age = "0h"
[[retention.policy]]
name = "keep-one"
registry = "usb"
repos = ["prod/series"]
  [[retention.policy.rule]]
  tags = "*"
  sort = "semver"
  keep = { last = 1 }
"""
    operator.sync()
    opened = stores.Stores(stores.Registries(), rules.loads(operator.text()).registry, print, operator.stop)
    usb = opened.get("usb")

    pruned = operator.prune(apply=True)

    assert pruned.report.outcome == "ok", pruned.report.as_dict()
    assert [tag for tag in usb.tags("prod/series") if tag.startswith("v")] == ["v1.0.2"]
    assert operator.undo("usb/prod/series:v1.0.0").outcome == "ok"
    assert "v1.0.0" in usb.tags("prod/series")


@pytest.mark.parametrize("there", [True, False])
def test_check_online_says_what_may_be_done_with_a_layout(
    tmp_path: Path, make_registry: Factory, there: bool
) -> None:
    usb = tmp_path / "usb"
    operator = carrier(tmp_path, make_registry(name="near-gap"), usb, out=True)
    content.push(operator.registries[HERE], "prod/app", "v1", content.manifest("one"))
    if there:
        operator.sync()
    (tmp_path / "rules.toml").write_text(operator.text())

    ended = syncer("check", "--online", "--json", config=tmp_path / "rules.toml")

    assert ended.code == 0, ended
    online = ended.json["online"]
    assert {each["registry"]: each["error"] for each in online["registries"]} == {
        HERE: "",
        "usb": "",
    }
    assert {(need["registry"], need["action"]) for need in online["permissions"]} == {
        (HERE, "pull"),
        ("usb", "push"),
    }


def test_ls_and_plan_look_into_a_layout(tmp_path: Path, make_registry: Factory) -> None:
    usb, config = tmp_path / "usb", tmp_path / "rules.toml"
    operator = carrier(tmp_path, make_registry(name="near-gap"), usb, out=True)
    digest = content.push(operator.registries[HERE], "prod/ls", "v1", content.platforms("ls"))
    config.write_text(operator.text())

    planned = syncer("plan", "--json", "--repo", "prod/ls", config=config).json
    operator.sync()
    listed = syncer("ls", "--json", "usb/prod/ls", config=config).json
    tree = syncer("ls", "--json", "usb/prod/ls:v1", config=config).json["manifest"]
    names = syncer("ls", "--json", "usb", config=config).json["repositories"]

    assert [plan["target"] for plan in planned["replication"]] == ["usb/prod/ls"]
    assert [(tag["tag"], tag["digest"]) for tag in listed["tags"]] == [("v1", digest)]
    assert [child["platform"] for child in tree["manifests"]] == ["linux/amd64", "linux/arm64"]
    assert {"repository": "usb/prod/ls", "copied_to": []}.items() <= names[-1].items() or names


class TestCopy:
    """`syncer copy` with an image layout on either side, without a rules file."""

    @pytest.fixture
    def near(self, make_registry: Factory) -> RegistryProcess:
        return make_registry(name="near-gap")

    @pytest.fixture
    def multi(self) -> Content:
        return content.platforms("one-off")

    def test_out_and_back(
        self, tmp_path: Path, near: RegistryProcess, multi: Content, repository: str
    ) -> None:
        usb = tmp_path / "usb"
        content.push(near, repository, "v1", multi)

        out = syncer("copy", f"{near.host}/{repository}:v1", f"oci:{usb}")
        back = syncer("copy", f"oci:{usb}//{repository}:v1", f"{near.host}/{repository}/back")

        assert (out.code, back.code) == (0, 0), (out, back)
        assert skopeo("inspect", "--raw", f"oci:{usb}:{repository}:v1") == multi.data
        assert content.skopeo_raw(near, f"{repository}/back", "v1") == multi.data

    def test_a_tag_alone_is_a_plain_one_as_skopeo_has_it(
        self, tmp_path: Path, near: RegistryProcess, multi: Content, repository: str
    ) -> None:
        usb = tmp_path / "usb"
        content.push(near, repository, "v1", multi)

        ended = syncer("copy", f"{near.host}/{repository}:v1", f"oci:{usb}:plain")

        assert ended.code == 0, ended
        (row,) = json.loads((usb / "index.json").read_bytes())["manifests"]
        assert row["annotations"] == {"org.opencontainers.image.ref.name": "plain"}

    def test_the_plain_tags_of_a_foreign_layout_are_copied(
        self, tmp_path: Path, near: RegistryProcess, multi: Content, repository: str
    ) -> None:
        usb = tmp_path / "usb"
        content.push(near, repository, "v1", multi)
        name = f"docker://{near.host}/{repository}:v1"
        skopeo("copy", "--all", "--src-tls-verify=false", name, f"oci:{usb}:a")
        skopeo("copy", "--all", "--src-tls-verify=false", name, f"oci:{usb}:b")

        one = syncer("copy", f"oci:{usb}:a", f"{near.host}/{repository}/one:v2")
        both = syncer("copy", "--all-tags", f"oci:{usb}", f"{near.host}/{repository}/all")

        assert (one.code, both.code) == (0, 0), (one, both)
        assert content.skopeo_raw(near, f"{repository}/one", "v2") == multi.data
        assert content.tags(near, f"{repository}/all") == ["a", "b"]

    def test_from_layout_to_layout(
        self, tmp_path: Path, near: RegistryProcess, multi: Content, repository: str
    ) -> None:
        content.push(near, repository, "v1", multi)
        first, second = tmp_path / "first", tmp_path / "second"
        syncer("copy", f"{near.host}/{repository}:v1", f"oci:{first}:v1")

        ended = syncer("copy", f"oci:{first}:v1", f"oci:{second}:v1")

        assert ended.code == 0, ended
        assert skopeo("inspect", "--raw", f"oci:{second}:v1") == multi.data

    @pytest.mark.parametrize(
        ("source", "target", "says"),
        [
            ("oci:{usb}", "{host}/a", "names no tag"),
            ("oci:{usb}:v1", "{host}", "names no repository"),
            ("oci:", "{host}/a", "names no directory"),
            ("oci:{usb}//A:v1", "{host}/a", "is no repository name"),
            ("oci:{usb}:v1", "{host}/a:v1", "it should be a directory"),
        ],
    )
    def test_what_cannot_be_copied_is_said_in_a_sentence(
        self, tmp_path: Path, near: RegistryProcess, source: str, target: str, says: str
    ) -> None:
        words = [each.format(usb=tmp_path / "usb", host=near.host) for each in (source, target)]
        ended = syncer("copy", *words)

        assert ended.code in (1, 2)
        assert says in ended.err
        assert "Traceback" not in ended.err
