"""A hand-over by disk: a registry to an image layout, and from it to a registry that never met it."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from syncer import cli
from syncer.layout import Layout
from tests import content
from tests.content import Content
from tests.operator import Operator
from tests.registries import Factory, RegistryProcess, absent

HERE, THERE = "near", "far"
Syncer = Callable[..., tuple[int, str, str]]


@pytest.fixture
def syncer(capsys: pytest.CaptureFixture[str]) -> Syncer:
    """Runs a command line in this process: exit code, stdout, stderr."""

    def run(*words: str | Path) -> tuple[int, str, str]:
        code = cli.run([str(word) for word in words])
        return code, *capsys.readouterr()

    return run


@pytest.fixture
def near(make_registry: Factory) -> RegistryProcess:
    return make_registry(name="near-gap")


@pytest.fixture
def far(make_registry: Factory) -> RegistryProcess:
    return make_registry(name="far-gap")


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
    tmp_path: Path, near: RegistryProcess, far: RegistryProcess
) -> None:
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
        assert report.rules["hand-over"].in_step == report.rules["hand-over"].matched >= len(made)
        assert report.total("done") == 0
        assert not report.bytes
    assert (usb / "index.json").read_bytes() == before
    assert set(far.methods()) <= {"GET", "HEAD"}


def test_skopeo_reads_the_layout_that_rules_made(tmp_path: Path, near: RegistryProcess) -> None:
    made = pushed(near)

    carrier(tmp_path, near, tmp_path / "usb", out=True).sync()

    for (repository, tag), each in made.items():
        if "docker" not in each.media_type:  # of which skopeo knows none in a layout
            name = f"oci:{tmp_path / 'usb'}:{repository}:{tag}"
            assert skopeo("inspect", "--raw", name) == each.data


def test_a_layout_that_skopeo_made_is_a_source_of_rules(
    tmp_path: Path, near: RegistryProcess, far: RegistryProcess
) -> None:
    content.push(near, "skopeo/made", "v1", content.platforms("skopeo"))
    usb = tmp_path / "usb"
    name = f"docker://{near.host}/skopeo/made:v1"
    skopeo("copy", "--all", "--src-tls-verify=false", name, f"oci:{usb}:prod/made:v1")

    report = carrier(tmp_path / "far", far, usb, out=False).sync()

    assert report.outcome == "ok", report.as_dict()
    made = skopeo("inspect", "--raw", f"oci:{usb}:prod/made:v1")
    assert content.skopeo_raw(far, "prod/made", "v1") == made


def test_a_missing_layout_fails_the_rule_that_reads_it_with_a_sentence(
    tmp_path: Path, far: RegistryProcess
) -> None:
    usb = tmp_path / "gone"
    report = carrier(tmp_path / "far", far, usb, out=False).sync()

    assert report.outcome == "failed"
    (error,) = report.errors
    assert f"{usb} is not there: it should be a directory" in error.reason


def test_a_disk_that_is_not_mounted_is_not_written_past(
    tmp_path: Path, near: RegistryProcess
) -> None:
    """The directory itself is made; the one it is in must be there."""
    pushed(near)

    report = carrier(tmp_path, near, tmp_path / "disk" / "usb", out=True).sync()

    assert report.outcome == "failed"
    assert {error.code for error in report.errors} == {"NOT_FOUND"}
    assert "mount or make it" in report.errors[0].reason
    assert not (tmp_path / "disk").exists()


def test_a_policy_prunes_a_layout_and_an_undo_brings_back_what_it_dropped(
    tmp_path: Path, near: RegistryProcess
) -> None:
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
    usb = Layout(tmp_path / "usb", "usb")

    pruned = operator.prune(apply=True)

    assert pruned.report.outcome == "ok", pruned.report.as_dict()
    assert [tag for tag in usb.tags("prod/series") if tag.startswith("v")] == ["v1.0.2"]
    assert operator.undo("usb/prod/series:v1.0.0").outcome == "ok"
    assert "v1.0.0" in usb.tags("prod/series")


@pytest.mark.parametrize("there", [True, False])
def test_check_online_says_what_may_be_done_with_a_layout(
    tmp_path: Path, near: RegistryProcess, syncer: Syncer, *, there: bool
) -> None:
    usb, config = tmp_path / "usb", tmp_path / "rules.toml"
    config.write_text(carrier(tmp_path, near, usb, out=True).text())
    content.push(near, "prod/app", "v1", content.manifest("one"))
    if there:
        usb.mkdir()
        (usb / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
        (usb / "index.json").write_text('{"schemaVersion": 2, "manifests": []}')

    code, out, _ = syncer("-c", config, "check", "--online", "--json")

    online = json.loads(out)["online"]
    assert code == 0, online
    assert [each["error"] for each in online["registries"]] == ["", ""]
    needs = {(need["registry"], need["action"], need["denied"]) for need in online["permissions"]}
    assert needs == {(HERE, "pull", ""), ("usb", "push", "")}


def test_check_online_misses_a_disk_that_is_not_there(
    tmp_path: Path, near: RegistryProcess, syncer: Syncer
) -> None:
    config = tmp_path / "rules.toml"
    config.write_text(carrier(tmp_path, near, tmp_path / "disk" / "usb", out=True).text())

    code, out, _ = syncer("-c", config, "check", "--online")

    assert code == 1
    assert "disk/usb is not there" in " ".join(out.split())


def test_ls_and_plan_look_into_a_layout(
    tmp_path: Path, near: RegistryProcess, syncer: Syncer
) -> None:
    usb, config = tmp_path / "usb", tmp_path / "rules.toml"
    operator = carrier(tmp_path, near, usb, out=True)
    digest = content.push(near, "prod/ls", "v1", content.platforms("ls"))
    config.write_text(operator.text())

    def told(*words: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(syncer("-c", config, *words, "--json")[1])
        return found

    planned = told("plan", "--repo", "prod/ls")
    operator.sync()
    tree = told("ls", "usb/prod/ls:v1")["manifest"]

    assert [plan["target"] for plan in planned["replication"]] == ["usb/prod/ls"]
    assert "usb/prod/ls" in [row["repository"] for row in told("ls", "usb")["repositories"]]
    assert [tag["digest"] for tag in told("ls", "usb/prod/ls")["tags"]] == [digest]
    assert told("ls", "near/prod/ls")["tags"][0]["targets"] == {"usb/prod/ls": "in step"}
    assert [child["platform"] for child in tree["manifests"]] == ["linux/amd64", "linux/arm64"]


@pytest.fixture
def multi(near: RegistryProcess, repository: str) -> Content:
    """What is at `near/{repository}:v1`."""
    content.push(near, repository, "v1", made := content.platforms("one-off"))
    return made


def test_copy_goes_to_a_layout_and_back(
    tmp_path: Path, near: RegistryProcess, multi: Content, repository: str, syncer: Syncer
) -> None:
    usb = tmp_path / "usb"

    out = syncer("copy", f"{near.host}/{repository}:v1", f"oci:{usb}")
    back = syncer("copy", f"oci:{usb}//{repository}:v1", f"{near.host}/{repository}/back")

    assert (out[0], back[0]) == (0, 0), (out, back)
    assert skopeo("inspect", "--raw", f"oci:{usb}:{repository}:v1") == multi.data
    assert content.skopeo_raw(near, f"{repository}/back", "v1") == multi.data


def test_a_tag_alone_is_a_plain_one_as_skopeo_has_it(
    tmp_path: Path, near: RegistryProcess, multi: Content, repository: str, syncer: Syncer
) -> None:
    usb, again = tmp_path / "usb", tmp_path / "again"

    first = syncer("copy", f"{near.host}/{repository}:v1", f"oci:{usb}:plain")
    second = syncer("copy", f"oci:{usb}:plain", f"oci:{again}:other")

    assert (first[0], second[0]) == (0, 0), (first, second)
    (row,) = json.loads((usb / "index.json").read_bytes())["manifests"]
    assert row["annotations"] == {"org.opencontainers.image.ref.name": "plain"}
    assert skopeo("inspect", "--raw", f"oci:{again}:other") == multi.data


@pytest.mark.usefixtures("multi")
def test_the_plain_tags_of_a_foreign_layout_are_copied(
    tmp_path: Path, near: RegistryProcess, repository: str, syncer: Syncer
) -> None:
    usb, name = tmp_path / "usb", f"docker://{near.host}/{repository}:v1"
    for tag in ("a", "b"):
        skopeo("copy", "--all", "--src-tls-verify=false", name, f"oci:{usb}:{tag}")

    one = syncer("copy", f"oci:{usb}:a", f"{near.host}/{repository}/one:v2")
    both = syncer("copy", "--all-tags", f"oci:{usb}", f"{near.host}/{repository}/all")

    assert (one[0], both[0]) == (0, 0), (one, both)
    made = skopeo("inspect", "--raw", f"oci:{usb}:a")
    assert content.skopeo_raw(near, f"{repository}/one", "v2") == made
    assert content.tags(near, f"{repository}/all") == ["a", "b"]


@pytest.mark.parametrize(
    ("source", "target", "code", "says"),
    [
        ("oci:{usb}", "{host}/a", 2, "names no tag"),
        ("oci:{usb}:v1", "{host}", 2, "names no repository"),
        ("oci:", "{host}/a", 2, "names no directory"),
        ("oci:{usb}//A:v1", "{host}/a", 2, "is no repository name"),
        ("oci:{usb}:v1", "{host}/a:v1", 1, "usb//:v1 does not exist"),
    ],
)
def test_what_cannot_be_copied_is_said_in_a_sentence(
    tmp_path: Path,
    near: RegistryProcess,
    syncer: Syncer,
    source: str,
    target: str,
    code: int,
    says: str,
) -> None:
    words = [each.format(usb=tmp_path / "usb", host=near.host) for each in (source, target)]

    ended, _, told = syncer("copy", *words)

    assert ended == code
    assert says in " ".join(told.split())
    assert "Traceback" not in told
