"""Defects of shards and placements, planted one at a time: a search that finds none of them proves nothing."""

from __future__ import annotations

from typing import Final

# The model found this one in propeller.
HASTY_RELOAD: Final = "an execution is loaded again while a status of it is under way"

# It had this one, too.
UNBEGUN_IS_KEPT: Final = "a shard that was never begun is not given back"

# These it never had.
NO_FENCE: Final = "requests are sent without a look at the Lease"
EARLY_TAKE_OVER: Final = "a member is taken for dead while it may still act"
BLIND_BURIAL: Final = "a silent member's Lease is deleted in any version"
BLIND_MAP: Final = "the map is written over any other"
EARLY_RELEASE: Final = "a shard is given back while it is still worked on"
HOLDER_STAYS: Final = "a dead member keeps its shards"
ANY_VERSION: Final = "a status is written onto any version"
LAUNCH_BEFORE_STATUS: Final = "a placement is in no status when its attempt is launched"
SAME_NUMBER: Final = "an attempt of a lost cluster is tried elsewhere under its number"
UNSEEN_IS_NEW: Final = "a node begins with its first attempt though its cluster could not be asked"
LOSER_COUNTS: Final = "the attempt that ends first counts"
SPILLS_ANYWHERE: Final = "what its pool cannot take goes to any cluster"
LOSERS_STAY: Final = "a lost attempt is not stopped when its cluster is back"
RESTORE_IGNORED: Final = "nothing is loaded again after a cluster was restored"
