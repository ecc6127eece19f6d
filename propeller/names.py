"""Names of Kubernetes' objects."""

from __future__ import annotations

import re

DNS_SUBDOMAIN = r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*"
"""RFC 1123's subdomain as a pattern, without its length."""

_LABEL = re.compile(r"[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?")
_SUBDOMAIN = re.compile(DNS_SUBDOMAIN)
_MAX_SUBDOMAIN = 253


def is_dns_label(name: str) -> bool:
    """Whether it is RFC 1123's label: a name of a namespace or container."""
    return _LABEL.fullmatch(name) is not None


def is_dns_subdomain(name: str) -> bool:
    """Whether it is RFC 1123's subdomain: a name of most objects."""
    return len(name) <= _MAX_SUBDOMAIN and _SUBDOMAIN.fullmatch(name) is not None
