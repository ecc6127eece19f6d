"""Who am I, and may I: reviews are answered and not stored. Who has the token may do everything."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from propeller.embedded.server._storage import Object

_EVERYTHING = {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}
_EVERY_PATH = {"verbs": ["*"], "nonResourceURLs": ["*"]}


class Review(msgspec.Struct, frozen=True):
    """One kind of review: `status` is the answer to a user."""

    group: str
    kind: str
    status: Callable[[str], dict[str, Any]]

    @property
    def plural(self) -> str:
        return f"{self.kind.lower()}s"

    @property
    def path(self) -> str:
        return f"/apis/{self.group}/v1/{self.plural}"


REVIEWS = (
    Review(
        "authentication.k8s.io",
        "SelfSubjectReview",
        lambda user: {"userInfo": {"username": user, "groups": ["system:masters", "system:authenticated"]}},
    ),
    Review(
        "authorization.k8s.io",
        "SelfSubjectAccessReview",
        lambda user: {"allowed": True, "reason": f"{user} may do everything"},
    ),
    Review(
        "authorization.k8s.io",
        "SelfSubjectRulesReview",
        lambda user: {"resourceRules": [_EVERYTHING], "nonResourceRules": [_EVERY_PATH], "incomplete": False},
    ),
)


def reviewed(review: Review, asked: Object, user: str) -> dict[str, Any]:
    """The review with its answer."""
    return {
        "kind": review.kind,
        "apiVersion": f"{review.group}/v1",
        "metadata": {},
        "spec": asked.get("spec") or {},
        "status": review.status(user),
    }
