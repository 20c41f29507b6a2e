"""What is wrong in a rules file: every problem at once, each with its line, path and one sentence."""

from __future__ import annotations

import pytest

from syncer import errors, rules

FILE = """
schema = 1 #0
timezone = "UTC" #1
[state] #2
[daemon] #3
[registry.eu] #4
url = "https://eu.example.com"
[registry.us] #5
url = "https://us.example.com" #6
[[replicate]] #7
name = "sync" #8
source = "eu" #9
target = "us" #10
repos = ["prod/**"] #11
[retention.guard] #12
[[retention.policy]] #13
name = "prune" #14
registry = "us" #15
repos = ["prod/**"] #16
  [[retention.policy.rule]] #17
  tags = "v*" #18
  keep = { last = 1 } #19
"""
RULE = "replicate[0]"
POLICY = "retention.policy[0]"
TAGS = f"{POLICY}.rule[0]"
KEEP = f"{TAGS}.keep"


def problems_of(text: str) -> list[errors.Problem]:
    """What is wrong in a file, in file order."""
    with pytest.raises(errors.RulesError) as refused:
        rules.loads(text)
    return refused.value.problems


def test_the_file_that_the_mistakes_are_put_into_is_right() -> None:
    assert rules.loads(FILE).policies[0].name == "prune"


# (the line that is replaced, or that something is put after with a +; the text, in which ! marks
# the line of the problem if there are several; the path; a part of the sentence)
MISTAKES = [
    # the file as a whole
    ("0", "", "schema", "is missing"),
    ("0", "schema = 2", "schema", "must be 1"),
    ("0", "schema = true", "schema", "must be a whole number"),
    ("0", "schema = 1.0", "schema", "must be a whole number"),
    ("0", "schema = '1'", "schema", "must be a whole number"),
    ("0", "shema = 1", "shema", "unknown key; did you mean 'schema'?"),
    ("1", "time_zone = 'UTC'", "time_zone", "did you mean 'timezone'?"),
    ("1", "timezone = 'Mars/Olympus'", "timezone", "no time zone"),
    ("1", "timezone = 'Europe/Berln'", "timezone", "did you mean 'Europe/Berlin'?"),
    ("1", "timezone = 'Europe'", "timezone", "no time zone"),
    ("1", "timezone = '../UTC'", "timezone", "no time zone"),
    ("1", "timezone = 'localtime'", "timezone", "from host to host"),
    ("1", "timezone = 1", "timezone", "must be the name of a time zone in quotes"),
    ("1", "1979-05-27 = 1", "1979-05-27", "unknown key"),
    ("1", "'a b' = 1", "'a b'", "unknown key"),
    # state and daemon
    ("2+", "url = 'postgresql://db'", "state.url", "must be sqlite:///"),
    ("2+", "url = 'sqlite://'", "state.url", "must be sqlite:///"),
    ("2+", "url = 'sqlite:///'", "state.url", "must be sqlite:///"),
    ("2+", "url = 'sqlite:///:memory:?x'", "state.url", "must be sqlite:///"),
    ("2+", "url = 1", "state.url", "must be sqlite:///"),
    ("3+", "listen = '9564'", "daemon.listen", "write HOST:PORT"),
    ("3+", "listen = ':9564'", "daemon.listen", "write HOST:PORT"),
    ("3+", "listen = '::1:9564'", "daemon.listen", "write HOST:PORT"),
    ("3+", "listen = 'localhost:65536'", "daemon.listen", "write HOST:PORT"),
    ("3+", "listen = 9564", "daemon.listen", "must be HOST:PORT in quotes"),
    ("3+", "drain = 60", "daemon.drain", "must be a duration in quotes"),
    ("3+", "drain = '1 minute'", "daemon.drain", "no duration"),
    # registries
    ("6", "", "registry.us.url", "is missing"),
    ("6", "url = 'us.example.com'", "registry.us.url", "must begin with https:// or http://"),
    ("6", "url = 'ftp://us'", "registry.us.url", "must begin with https:// or http://"),
    ("6", "url = 'https://us/v2/'", "registry.us.url", "must end after host and port"),
    ("6", "url = 'https://us?x=1'", "registry.us.url", "must end after host and port"),
    ("6", "url = 'https://us:99999'", "registry.us.url", "is no URL"),
    ("6", "url = 'https://us:0'", "registry.us.url", "names no host"),
    ("6", "url = 'https://[::1'", "registry.us.url", "is no URL"),
    ("6", "url = 'https://'", "registry.us.url", "names no host"),
    ("6", "url = 'https://a b'", "registry.us.url", "names no host"),
    ("6", "url = 'https://ci:s3cret@us'", "registry.us.url", "must not hold a user or password"),
    ("6", "url = 'https://EU.example.com:443/'", "registry.us.url", "same registry as 'eu'"),
    ("6", "url = 'oci:usb'", "registry.us.url", "the whole path"),
    ("6", "url = 'oci://us.example.com'", "registry.us.url", "write it as 'oci:/mnt/usb/mirror'"),
    (
        "6",
        "url = 'oci:/x'\nauth = 'anonymous' #!",
        "registry.us.auth",
        "means nothing for an image",
    ),
    ("6", "url = 'oci:/x'\ntimeout = '1s' #!", "registry.us.timeout", "means nothing for an image"),
    ("6+", "concurrency = '16'", "registry.us.concurrency", "must be a whole number"),
    ("6+", "concurrency = true", "registry.us.concurrency", "must be a whole number"),
    ("6+", "concurrency = 0", "registry.us.concurrency", "must be at least 1"),
    ("6+", "concurrency = 1025", "registry.us.concurrency", "must be at most 1024"),
    ("6+", "concurency = 16", "registry.us.concurency", "did you mean 'concurrency'?"),
    ("6+", "insecure_skip_verify = true", "registry.us.insecure_skip_verify", "name the CA"),
    ("6+", "timeout = '0s'", "registry.us.timeout", "longer than nothing"),
    ("6+", "ca_file = ''", "registry.us.ca_file", "must be a path"),
    ("6+", "ca_file = '~/ca.pem'", "registry.us.ca_file", "write the whole path"),
    ("6+", "ca_file = 1", "registry.us.ca_file", "must be a path in quotes"),
    ("6+", "client_key = 'key.pem'", "registry.us.client_key", "nothing without client_cert"),
    ("6+", "proxy = 'socks5://proxy'", "registry.us.proxy", "must begin with http://"),
    ("6+", "proxy = 'http://u:s3cret@proxy'", "registry.us.proxy", "$https_proxy"),
    ("6+", "repos = ['prod/*']", "registry.us.repos[0]", "no repository name"),
    ("6+", "name = 'us'", "registry.us.name", "unknown key"),
    ("5", "[registry.'u s'] #!\nurl = 'https://x'\n[registry.us]", "registry.'u s'", "is no name"),
    # who to be
    ("6+", "auth = 'anonymos'", "registry.us.auth", "must be 'anonymous' or a table"),
    ("6+", "auth = 1", "registry.us.auth", "must be 'anonymous' or a table"),
    ("6+", "auth = {}", "registry.us.auth", "must be 'anonymous' or a table"),
    ("6+", "auth = { username = 'u' }", "registry.us.auth", "must be 'anonymous' or a table"),
    (
        "6+",
        "auth = { username = 'u', password = 's3cret' }",
        "registry.us.auth",
        "a password itself never",
    ),
    ("6+", "auth = { password_file = 'f' }", "registry.us.auth.username", "is missing"),
    (
        "6+",
        "auth = { username = 'a:b', password_file = 'f' }",
        "registry.us.auth.username",
        "a colon cannot stand",
    ),
    (
        "6+",
        "auth = { username = 'u', password_env = 's3cret!' }",
        "registry.us.auth.password_env",
        "not the password itself",
    ),
    ("6+", "auth = { credential = '../x' }", "registry.us.auth.credential", "systemd credential"),
    (
        "6+",
        "auth = { credential = 'x', usrname = 'u' }",
        "registry.us.auth.usrname",
        "did you mean 'username'?",
    ),
    (
        "6+",
        "auth = { docker_config = 'default', password = 's3cret' }",
        "registry.us.auth.password",
        "never stands here",
    ),
    ("6+", "auth = { docker_config = 1 }", "registry.us.auth.docker_config", "path in quotes"),
    # replication
    ("8", "", f"{RULE}.name", "is missing"),
    ("8", "name = ''", f"{RULE}.name", "is no name"),
    ("8", "name = 'eu to us'", f"{RULE}.name", "is no name"),
    ("8", "nmae = 'sync'", f"{RULE}.nmae", "did you mean 'name'?"),
    ("9", "source = 'euu'", f"{RULE}.source", "no registry of this file; did you mean 'eu'?"),
    ("9", "source = 'quay'", f"{RULE}.source", "write a [registry.quay] table"),
    ("9", "source = ['eu']", f"{RULE}.source", "must be a string in quotes"),
    ("10", "target = ['us', 'eu']", f"{RULE}.target", "copies onto itself"),
    ("10", "target = []", f"{RULE}.target", "must not be empty"),
    ("10", "target = ['us', 'uss']", f"{RULE}.target[1]", "did you mean 'us'?"),
    ("10", "target = [\n  'us',\n  'us', #!\n]", f"{RULE}.target[1]", "named twice"),
    ("10", "target = 1", f"{RULE}.target", "must be an array"),
    ("11", "repos = 'prod/**'", f"{RULE}.repos", "must be an array"),
    ("11", "repos = []", f"{RULE}.repos", "must not be empty"),
    ("11", "repos = [1]", f"{RULE}.repos[0]", "must be a pattern in quotes"),
    ("11", "repos = [\n  'a', # x\n  're:(', #!\n]", f"{RULE}.repos[1]", "no regular expression"),
    ("11", "repos = ['semver:>=1']", f"{RULE}.repos[0]", "which only tags have"),
    ("11", "repos = ['Prod/**']", f"{RULE}.repos[0]", "lower-case"),
    ("11", "repos = ['prod//app']", f"{RULE}.repos[0]", "//"),
    ("11", "repos = ['-app']", f"{RULE}.repos[0]", "no repository name"),
    ("11+", "exclude_repos = ['{a}']", f"{RULE}.exclude_repos[0]", "no glob"),
    ("11+", "tags = []", f"{RULE}.tags", "must not be empty"),
    ("11+", "tags = ['a/b']", f"{RULE}.tags[0]", "no tag looks like that"),
    ("11+", "tags = ['-rc']", f"{RULE}.tags[0]", "no tag looks like that"),
    ("11+", "tags = ['semver:x']", f"{RULE}.tags[0]", "no comparator"),
    ("11+", "rename = 'fixed'", f"{RULE}.rename", "every repository the same name"),
    ("11+", "rename = '{tag}'", f"{RULE}.rename", "{tag} is neither {repo}"),
    ("11+", "rename = '{repo}{'", f"{RULE}.rename", "braces other than those of {repo}"),
    ("11", "repos = ['re:(?P<a>.+)', 'b']\nrename = '{a}' #!", f"{RULE}.rename", "captured by 'b'"),
    ("11", "repos = ['re:(?P<app>.+)']\nrename = '{ap}' #!", f"{RULE}.rename", "mean 'app'?"),
    ("11", "repos = ['re:(?P<repo>.+)']\nrename = '{repo}' #!", f"{RULE}.rename", "whole name"),
    ("11+", "platforms = ['amd64']", f"{RULE}.platforms[0]", "such as 'linux/amd64'"),
    ("11+", "platforms = ['linux/x86_64']", f"{RULE}.platforms[0]", "called 'linux/amd64'"),
    ("11+", "latest = 10", f"{RULE}.latest", "must be a table"),
    ("11+", "latest = {}", f"{RULE}.latest.count", "is missing"),
    ("11+", "latest = { count = 0 }", f"{RULE}.latest.count", "must be at least 1"),
    ("11+", "latest = { count = 1, sort = 'age' }", f"{RULE}.latest.sort", "when a tag was pushed"),
    (
        "11+",
        "latest = { count = 1, sort = 1 }",
        f"{RULE}.latest.sort",
        "must be 'semver' or 'name'",
    ),
    ("11+", "foreign = 'yes'", f"{RULE}.foreign", "must be true or false"),
    ("11+", "rename = '/{repo}'", f"{RULE}.rename", "does not make a repository name"),
    ("11+", "schedule = '0 0 31 2 *'", f"{RULE}.schedule", "never fires"),
    ("11+", "schedule = 'hourly'", f"{RULE}.schedule", "1 field"),
    ("11+", "schedule = 10", f"{RULE}.schedule", "must be 'every 10m' or a cron line"),
    ("11+", "jitter = '1m'", f"{RULE}.jitter", "nothing without a schedule"),
    ("11+", "jitter = '9m'\nschedule = 'every 5m' #!", f"{RULE}.schedule", "than the jitter"),
    ("11+", "overwrite = 'yes'", f"{RULE}.overwrite", "must be 'ours', 'always' or 'never'"),
    ("11+", "immutable = ['v*', 'latest']", f"{RULE}.immutable", "'latest' is in mutable, too"),
    ("11+", "mutable = ['v*']\nimmutable = ['v*'] #!", f"{RULE}.immutable", "moves or never does"),
    ("11+", "immutable = ['(v']", f"{RULE}.immutable[0]", "is no glob"),
    ("11+", "recheck = '7d'", f"{RULE}.recheck", "means nothing without immutable"),
    ("11+", "immutable = ['v*']\nrecheck = '0d' #!", f"{RULE}.recheck", "longer than nothing"),
    ("11+", "immutable = ['v*']\nrecheck = '61d' #!", f"{RULE}.recheck", "must be at most '60d'"),
    ("11+", "max_overwrite_pct = 101", f"{RULE}.max_overwrite_pct", "must be at most 100"),
    ("11+", "allow_empty = 'no'", f"{RULE}.allow_empty", "must be true or false"),
    ("11+", "[replicate.extra]", f"{RULE}.extra", "unknown key"),
    # retention
    ("12+", "min_age = 0", "retention.guard.min_age", "must be a duration in quotes"),
    ("12+", "min_keep = -1", "retention.guard.min_keep", "must be at least 0"),
    ("12+", "plan_ttl = '0h'", "retention.guard.plan_ttl", "longer than nothing"),
    ("12+", "max_delet = 1", "retention.guard.max_delet", "did you mean 'max_delete'?"),
    ("14", "name = 'sync'", f"{POLICY}.name", "another rule or policy"),
    ("15", "registry = 'usa'", f"{POLICY}.registry", "did you mean 'us'?"),
    ("16+", "require_mirrored = ['dr']", f"{POLICY}.require_mirrored[0]", "no registry"),
    ("16+", "require_mirrored = ['us']", f"{POLICY}.require_mirrored", "is what is pruned"),
    ("16+", "untagged = '14d'", f"{POLICY}.untagged", "must be a table"),
    ("16+", "untagged = {}", f"{POLICY}.untagged.grace", "is missing"),
    ("16+", "pins = '/etc/pins'", f"{POLICY}.pins", "must be an array"),
    ("16+", "guard = { plan_ttl = '1d' }", f"{POLICY}.guard.plan_ttl", "all policies together"),
    ("16+", "guard = { min_age = '1M' }", f"{POLICY}.guard.min_age", "no fixed length"),
    ("16+", "aply = true", f"{POLICY}.aply", "did you mean 'apply'?"),
    ("18", "", f"{TAGS}.tags", "is missing"),
    ("18", "tags = ['v*']", f"{TAGS}.tags", "must be a pattern in quotes"),
    ("18+", "group = ['major']", f"{TAGS}.group", "'major' is no capture of 'v*'"),
    ("18", "tags = 're:(?P<x>v).*'\ngroup = ['y'] #!", f"{TAGS}.group", "no capture"),
    ("18+", "sort = 'date'", f"{TAGS}.sort", "must be 'age' or 'semver'"),
    ("19", "", KEEP, "is missing"),
    ("19", "keep = 2", KEEP, "must be a table"),
    ("19", "keep = {}", KEEP, "empty keep"),
    ("19", "keep = { oldest = true }", KEEP, "empty keep"),
    ("19", "keep = { last = 2, oldest = true }", KEEP, "calendar count"),
    ("19", "keep = { last = 0 }", f"{KEEP}.last", "must be at least 1"),
    ("19", "keep = { last = -1 }", f"{KEEP}.last", "must be at least 1"),
    ("19", "keep = { last = '7d' }", f"{KEEP}.last", "must be a whole number"),
    ("19", "keep = { daily = 0 }", f"{KEEP}.daily", "must be at least 1"),
    ("19", "keep = { daily = '0d' }", f"{KEEP}.daily", "longer than nothing"),
    ("19", "keep = { daily = true }", f"{KEEP}.daily", "a number of periods"),
    ("19", "keep = { daily = 1.5 }", f"{KEEP}.daily", "a number of periods"),
    ("19", "keep = { weekly = '2 months' }", f"{KEEP}.weekly", "no fixed length"),
    ("19", "keep = { within = 30 }", f"{KEEP}.within", "must be a duration in quotes"),
    ("19", "keep = { newest = 2 }", f"{KEEP}.newest", "unknown key"),
    (
        "19",
        "keep.last = 1\nname = 'a'\n[[retention.policy.rule]]\nname = 'a' #!\ntags = '*'\nkeep.last = 1",
        f"{POLICY}.rule[1].name",
        "another rule",
    ),
]


@pytest.mark.parametrize(("place", "text", "path", "says"), MISTAKES)
def test_a_mistake_is_one_problem_with_its_line_path_and_sentence(
    place: str, text: str, path: str, says: str
) -> None:
    number, plus, _ = place.partition("+")
    line = next(each for each in FILE.splitlines() if each.endswith(f"#{number}"))
    marked = text if "#!" in text or not text else f"{text} #!"
    written = FILE.replace(line, f"{line}\n{marked}" if plus else marked)
    (problem,) = problems_of(written)
    assert (problem.path, says in problem.message) == (path, True), problem
    assert "\n" not in problem.message
    if marked:
        assert "#!" in written.splitlines()[problem.line - 1]


def test_what_is_missing_is_placed_at_the_head_of_its_table() -> None:
    (problem,) = problems_of(FILE.replace('source = "eu" #9', ""))
    assert FILE.splitlines()[problem.line - 1] == "[[replicate]] #7"
    assert (problem.path, problem.message) == ("replicate[0].source", "is missing")


def test_an_unknown_key_is_compared_with_those_of_its_own_table_only() -> None:
    """`password_file` is a key of another way to say who to be."""
    auth = "auth = { docker_config = 'default', passwrd_file = 'x' }"
    (problem,) = problems_of(FILE.replace("#6", f"#6\n{auth}"))
    assert (problem.path, problem.message) == ("registry.us.auth.passwrd_file", "unknown key")


def test_all_problems_come_at_once_in_file_order_as_lines_with_their_place() -> None:
    """Mistakes of single tables, and what lies between tables that have none."""
    text = """schema = 1
tmezone = "UTC"
[registry.eu]
url = "nowhere"
[registry.us]
url = "https://us.example.com"
[[replicate]]
name = "broken"
source = "nobody"
repos = ["re:("]
[[replicate]]
name = "dangling"
source = "eu"
target = ["us", "uss"]
repos = ["**"]
[[replicate]]
name = "dangling"
source = "eu"
target = "us"
repos = ["**"]
schedule = "every 1s"
[[replicate]]
name = "dangling"
source = "eu"
target = "us"
repos = ["**"]
[[retention.policy]]
name = "broken"
registry = "us"
repos = []
[[retention.policy]]
name = "dangling"
registry = "uss"
repos = ["**"]
"""
    with pytest.raises(errors.RulesError) as refused:
        rules.loads(text, "here/rules.toml")
    assert (
        str(refused.value)
        == """\
here/rules.toml:2 tmezone: unknown key; did you mean 'timezone'?
here/rules.toml:4 registry.eu.url: must begin with https:// or http://: write it as \
'https://registry.example.com'
here/rules.toml:7 replicate[0].target: is missing
here/rules.toml:10 replicate[0].repos[0]: 're:(' is no regular expression of RE2: missing ): (
here/rules.toml:14 replicate[1].target[1]: 'uss' is no registry of this file; did you mean 'us'?
here/rules.toml:21 replicate[2].schedule: 'every 1s' is too often: every 10s is the shortest interval
here/rules.toml:23 replicate[3].name: 'dangling' is the name of another rule or policy already
here/rules.toml:30 retention.policy[0].repos: must not be empty
here/rules.toml:32 retention.policy[1].name: 'dangling' is the name of another rule or policy already
here/rules.toml:33 retention.policy[1].registry: 'uss' is no registry of this file; did you mean 'us'?"""
    )
    assert refused.value.exit_code == 78
