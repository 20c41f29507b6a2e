"""Rules that lead back to where they read."""

from __future__ import annotations

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from syncer import errors, rules

Spec = dict[str, str]


def rule(source: str, target: str, **keys: str) -> Spec:
    """The keys of a replication rule, in TOML."""
    quoted = {"source": f"'{source}'", "target": f"'{target}'", "repos": "['**']"}
    return {**quoted, **keys}


def problems(*specs: Spec) -> list[str]:
    """What a file with those rules, called rule-0 and so on, has to say."""
    text = "schema = 1\n" + "".join(f"[registry.{x}]\nurl = 'https://{x}'\n" for x in "abcd")
    for number, spec in enumerate(specs):
        keys = "".join(f"{key} = {value}\n" for key, value in spec.items())
        text += f"[[replicate]]\nname = 'rule-{number}'\n{keys}"
    try:
        rules.loads(text)
    except errors.RulesError as error:
        return [f"{problem.path}: {problem.message}" for problem in error.problems]
    return []


NEVER = "'never'"


@pytest.mark.parametrize(
    "specs",
    [
        [rule("a", "b"), rule("c", "d")],
        [rule("a", "b"), rule("b", "c"), rule("a", "c")],
        [rule("a", "b", overwrite=NEVER), rule("b", "a", overwrite=NEVER)],
        [rule("a", "b", repos="['eu/**']"), rule("b", "a", repos="['us/**']")],
        [rule("a", "b", repos="['eu/app']"), rule("b", "a", repos="['eu/app2', 'eu/a']")],
        [rule("a", "b", repos="['eu/**']"), rule("b", "a", repos="['eu']")],
        [rule("a", "b", repos=r"['re:eu/\w+']"), rule("b", "a", repos=r"['re:us/\w+']")],
        [
            rule("a", "b", rename="'from-a/{repo}'", exclude_repos="['from-b/**']"),
            rule("b", "a", rename="'from-b/{repo}'", exclude_repos="['from-a/**']"),
        ],
        [
            rule("a", "b", repos="['prod/**']", rename="'from-a/{repo}'"),
            rule("b", "a", repos="['prod/**']", rename="'from-b/{repo}'"),
        ],
        [
            rule("a", "b", repos="['app']", rename="'hub/app'", overwrite=NEVER),
            rule("b", "a", repos="['hub/app']", rename="'app'", overwrite=NEVER),
        ],
        [rule("a", "a", repos="['prod/**']", rename="'copy/{repo}'")],
        [rule("a", "a", repos="['prod']", rename="'copy'")],
    ],
)
def test_rules_that_do_not_read_what_they_lead_to_are_fine(specs: list[Spec]) -> None:
    assert problems(*specs) == []


@pytest.mark.parametrize(
    ("specs", "circle"),
    [
        ([rule("a", "b"), rule("b", "a")], "rule-0 -> rule-1 -> rule-0"),
        ([rule("a", "b", overwrite=NEVER), rule("b", "a")], "rule-1 -> rule-0 -> rule-1"),
        (
            [rule("a", "b"), rule("b", "c"), rule("d", "a"), rule("c", "a")],
            "rule-0 -> rule-1 -> rule-3 -> rule-0",
        ),
        (
            [rule("a", "b", repos="['eu/**']"), rule("b", "a", repos="['eu/app']")],
            "rule-0 -> rule-1 -> rule-0",
        ),
        (
            [rule("a", "b", repos="['eu/app']"), rule("b", "a", repos=r"['re:e\w/app']")],
            "rule-0 -> rule-1 -> rule-0",
        ),
        (
            [rule("a", "b", repos=r"['re:eu?/app']"), rule("b", "a", repos="['e/app']")],
            "rule-0 -> rule-1 -> rule-0",
        ),
        (
            [rule("a", "b", repos="['re:eu/.*|us/.*']"), rule("b", "a", repos="['us/**']")],
            "rule-0 -> rule-1 -> rule-0",
        ),
        (
            [rule("a", "b", repos="['eu/**']"), rule("b", "a", exclude_repos="['eu', 'eu/*']")],
            "rule-0 -> rule-1 -> rule-0",
        ),
        ([rule("a", "a", rename="'copy/{repo}'")], "rule-0 -> rule-0"),
        (
            [
                rule("a", "b", repos="['re:p/(?P<n>q/.+)']", rename="'{n}'"),
                rule("b", "a", repos="['q/**']", rename="'p/{repo}'"),
            ],
            "rule-0 -> rule-1 -> rule-0",
        ),
    ],
)
def test_a_circle_is_one_problem_of_a_rule_in_it(specs: list[Spec], circle: str) -> None:
    (problem,) = problems(*specs)
    number = circle.partition(" ")[0].removeprefix("rule-")
    assert problem.startswith(f"replicate[{number}]: leads back to its source ({circle})")


def test_a_circle_that_makes_names_longer_is_none_that_never_cures() -> None:
    (problem,) = problems(
        rule("a", "b", rename="'a/{repo}'", overwrite=NEVER), rule("b", "a", overwrite=NEVER)
    )
    assert "leads back" in problem
    assert "never" not in problem
    (problem,) = problems(rule("a", "b"), rule("b", "a"))
    assert problem.endswith("or set overwrite = 'never' in each of them")


def test_two_circles_are_two_problems() -> None:
    found = problems(rule("a", "b"), rule("b", "a"), rule("c", "d"), rule("d", "c"))
    assert [each.partition(":")[0] for each in found] == ["replicate[0]", "replicate[2]"]


@pytest.mark.parametrize("keys", [{}, {"repos": "['x']", "rename": "'x'"}, {"overwrite": NEVER}])
def test_a_rule_that_copies_onto_itself_is_one_problem(keys: Spec) -> None:
    (problem,) = problems(rule("a", "a", **keys))
    assert problem == "replicate[0].target: 'a' is the source too: this copies onto itself"


PATTERNS = ["**", "*", "p/**", "p/*", "p/x", "x", "q/**", "re:p/.*", "re:x?", "re:x|q/x", "**/x"]
CAPTURING = ["re:p/(?P<n>.+)", "re:(?P<n>[a-z])", "re:q/(?P<n>.*)"]
WAYS = [("a", "b"), ("b", "a"), ("b", "c"), ("c", "a"), ("a", "b"), ("b", "a")]
REPOSITORIES = ["x", "p/x", "p/q/x", "q/x", "q/p/x"]


@st.composite
def rule_sets(draw: st.DrawFn) -> list[Spec]:
    """A few rules between three registries, none of which copies onto itself."""
    specs = []
    for _ in range(draw(st.integers(1, 4))):
        source, target = draw(st.sampled_from(WAYS))
        repos = draw(st.lists(st.sampled_from(PATTERNS), min_size=1, max_size=2, unique=True))
        if captures := draw(st.booleans()):
            repos = [draw(st.sampled_from(CAPTURING))]
        excluded = draw(st.lists(st.sampled_from(PATTERNS[2:]), max_size=1))
        renames = ["{repo}", "{repo}", "p/{repo}", "q/{repo}"]
        if captures:
            renames += ["{n}", "p/{n}", "q/{repo}/{n}"]
        if len(repos) == 1 and repos[0] in REPOSITORIES:
            renames += ["x", "p/x"]
        keys = {
            "repos": str(repos),
            "exclude_repos": str(excluded),
            "rename": repr(draw(st.sampled_from(renames))),
            "overwrite": repr(draw(st.sampled_from(["ours", "never"]))),
        }
        specs.append(rule(source, target, **keys))
    return specs


def leads_back(known: list[rules.ReplicateRule]) -> bool:
    """Whether content, carried on by rule after rule, comes to a rule twice, and that does harm."""
    harmful = {
        number
        for number, each in enumerate(known)
        if each.overwrite != "never" or each.rename in ("p/{repo}", "q/{repo}")
    }
    ways: list[tuple[str, str, tuple[int, ...]]] = [
        (registry, repository, ()) for registry in "abc" for repository in REPOSITORIES
    ]
    for registry, repository, way in ways:
        for number, each in enumerate(known):
            if each.source != registry or not each.repo_selection.matches(repository):
                continue
            if number in way:
                if harmful & set(way[way.index(number) :]):
                    return True
                continue
            ways.append((each.target[0], each.renamed(repository), (*way, number)))
    return False


@settings(max_examples=100, deadline=None, derandomize=True)
@given(specs=rule_sets())
def test_no_circle_goes_unseen(specs: list[Spec]) -> None:
    """Careful means: what content can really do is always told, if more than that is told too."""
    text = "schema = 1\n" + "".join(f"[registry.{x}]\nurl = 'https://{x}'\n" for x in "abc")
    known = [
        rules.loads(text + "[[replicate]]\nname = 'r'\n" + keys).replicate[0]
        for keys in ("".join(f"{key} = {value}\n" for key, value in spec.items()) for spec in specs)
    ]
    if leads_back(known):
        event("leads back")
        assert any("leads back" in problem for problem in problems(*specs))
