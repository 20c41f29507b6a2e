"""Browsing: what `ls`, `check --online` and `status` show beyond the state's own queries. Reads only.

What each level of `ls` costs, in requests:

- a registry's repositories: its catalog, one request a page; none where the rules list them;
- a repository's tags: its tag listing, a HEAD for each tag; for each target that a rule copies it
  to, one listing there and a HEAD for each of the tags that is on both sides; where it has
  `platforms`, also a HEAD of each tag and a GET of each index at the source;
- one tag or digest: a GET for it and for each manifest below it, and the referrers of each.
"""

from syncer.browse.access import TRIED, Need, Reach, permissions, reach
from syncer.browse.below import Node, tree
from syncer.browse.places import Where, copies, origins, repositories, where
from syncer.browse.sides import BEHIND, IN_STEP, MISSING, TagRow, tags
from syncer.browse.weight import Weight, weigh

__all__ = [
    "BEHIND",
    "IN_STEP",
    "MISSING",
    "TRIED",
    "Need",
    "Node",
    "Reach",
    "TagRow",
    "Weight",
    "Where",
    "copies",
    "origins",
    "permissions",
    "reach",
    "repositories",
    "tags",
    "tree",
    "weigh",
    "where",
]
