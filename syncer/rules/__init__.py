"""The rules file: what says where the registries are, what is copied and what stays.

`load` gives the whole file as `Rules`, frozen values in which nothing is left to parse, or raises
`errors.RulesError` with every problem and its line. `syncer.rules.schedule` and `cron` say when.
"""

from syncer.rules.auth import (
    Anonymous,
    Auth,
    DockerConfig,
    PasswordEnv,
    PasswordFile,
    SystemdCredential,
)
from syncer.rules.durations import parse_duration
from syncer.rules.load import load, loads
from syncer.rules.model import Daemon, Limits, Notify, Registry, Rules, State
from syncer.rules.policies import (
    GuardRules,
    KeepRules,
    PolicyGuard,
    PolicyRules,
    Retention,
    TagRules,
    Untagged,
)
from syncer.rules.replication import ReplicateRule
from syncer.rules.schedule import Schedule
from syncer.rules.values import Address
from syncer.rules.windows import Hours, Window

__all__ = [
    "Address",
    "Anonymous",
    "Auth",
    "Daemon",
    "DockerConfig",
    "GuardRules",
    "Hours",
    "KeepRules",
    "Limits",
    "Notify",
    "PasswordEnv",
    "PasswordFile",
    "PolicyGuard",
    "PolicyRules",
    "Registry",
    "ReplicateRule",
    "Retention",
    "Rules",
    "Schedule",
    "State",
    "SystemdCredential",
    "TagRules",
    "Untagged",
    "Window",
    "load",
    "loads",
    "parse_duration",
]
