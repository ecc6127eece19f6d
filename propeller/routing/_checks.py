"""Whether a declaration can be in force: everything that is wrong with it.

Guarantees
    Pure. A declaration that passes names only clusters and pools that there are, has somewhere for every rule's work to
    go, keeps isolated pools apart, and has no rule that those before it leave nothing for.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from propeller.errors import Invalid
from propeller.kube._selectors import parse_label_selector
from propeller.quantity import parse
from propeller.routing._conditions import NAMES
from propeller.routing._declared import Access, Cluster, Declaration, Match, Pool, Rule
from propeller.routing._isolation import isolation
from propeller.routing._members import selects
from propeller.routing._problems import MAX_PROBLEMS, InvalidTable, Path, Problem
from propeller.routing._reachable import unreachable
from propeller.text import one_line

MAX_CLUSTERS, MAX_POOLS, MAX_RULES = 200, 200, 2000
MAX_ITEMS = 100
"""Names, labels or resources in one list."""

MAX_NAME, MAX_TEXT = 63, 253
MAX_WEIGHT, MIN_WEIGHT = 1e6, 1e-6
MAX_PRIORITY = 1_000_000
MAX_COUNT = 2**53

NAME = r"[a-z0-9]([-a-z0-9.]{0,61}[a-z0-9])?"
_NAME = re.compile(NAME)
_PATTERN = re.compile(r"[^*\s]+\*?|\*")


def check(declared: Declaration) -> None:
    """Raise InvalidTable with all that is wrong."""
    if found := problems_of(declared):
        raise InvalidTable(found)


def problems_of(declared: Declaration, known: Iterable[Problem] = ()) -> list[Problem]:
    """All that is wrong, `known` first: what was found while it was read. What is said of a field that could not be
    read is left out.
    """
    found = list(known)
    unread = {problem.path for problem in found}
    for problem in _problems(declared, unread):
        if len(found) >= MAX_PROBLEMS:
            break
        if not any(problem.path[:length] in unread for length in range(1, len(problem.path) + 1)):
            found.append(problem)
    return found


def _problems(declared: Declaration, unread: set[Path]) -> Iterator[Problem]:
    yield from _counts(declared)
    for field, named in (("clusters", declared.clusters), ("pools", declared.pools), ("rules", declared.rules)):
        yield from _names(field, [one.name for one in named])
    for place, cluster in enumerate(declared.clusters):
        yield from _cluster(("clusters", place), cluster)
    yield from _connections(declared.clusters)
    for place, pool in enumerate(declared.pools):
        yield from _pool(("pools", place), pool, declared.clusters)
    for place, rule in enumerate(declared.rules):
        yield from _match(("rules", place, "match"), rule.match)
        yield from _rule(("rules", place), rule, declared)
    yield from isolation(declared)
    if len(declared.rules) <= MAX_RULES:
        unread_rules = {path[1] for path in unread if len(path) > 1 and path[0] == "rules"}
        for place, why in unreachable(declared.rules, unread_rules):
            yield Problem(("rules", place), why)


def _counts(declared: Declaration) -> Iterator[Problem]:
    for field, items, most in (
        ("clusters", declared.clusters, MAX_CLUSTERS),
        ("pools", declared.pools, MAX_POOLS),
        ("rules", declared.rules, MAX_RULES),
    ):
        if not items:
            yield Problem((field,), "there are none: a table needs at least one")
        if len(items) > most:
            yield Problem((field,), f"there are {len(items)}, more than {most}")


def _names(field: str, names: Sequence[str]) -> Iterator[Problem]:
    first: dict[str, int] = {}
    for place, name in enumerate(names):
        path = (field, place, "name")
        if not _NAME.fullmatch(name):
            yield Problem(
                path,
                f"{one_line(name[:MAX_NAME])!r} has to be 1 to {MAX_NAME} lower-case letters, digits, '-' and '.', "
                "beginning and ending with a letter or a digit",
            )
        elif (other := first.setdefault(name, place)) != place:
            yield Problem(path, f"{name!r} is the name of {field}[{other}], too: rename one")


def _cluster(path: Path, cluster: Cluster) -> Iterator[Problem]:
    weight = cluster.weight
    if not (weight == 0 or (math.isfinite(weight) and MIN_WEIGHT <= weight <= MAX_WEIGHT)):
        yield Problem(
            (*path, "weight"), f"is {weight:g}: it has to be 0, or a number from {MIN_WEIGHT:g} to {MAX_WEIGHT:g}"
        )
    if abs(cluster.priority) > MAX_PRIORITY:
        yield Problem(
            (*path, "priority"), f"is {cluster.priority}: it has to be from {-MAX_PRIORITY} to {MAX_PRIORITY}"
        )
    for field in ("pods", "executions"):
        most = getattr(cluster.capacity, field)
        if most is not None and not 0 <= most <= MAX_COUNT:
            yield Problem((*path, "capacity", field), f"is {most}: it has to be 0 or more, and at most {MAX_COUNT}")
    yield from _labels((*path, "labels"), cluster.labels)
    yield from _access((*path, "connection"), cluster.connection)


def _access(path: Path, access: Access) -> Iterator[Problem]:
    ways = [
        name
        for name, given in (
            ("kubeconfig", bool(access.kubeconfig or (access.context and access.secret is None))),
            ("secret", access.secret is not None),
            ("inCluster", access.in_cluster),
        )
        if given
    ]
    if len(ways) != 1:
        has = f"has {' and '.join(ways)}" if ways else "says nothing"
        yield Problem(path, f"{has}: it needs one of kubeconfig (or context), secret, inCluster: true")
    texts = {"kubeconfig": access.kubeconfig, "context": access.context}
    if access.secret is not None:
        for field in ("namespace", "name", "key"):
            texts[f"secret.{field}"] = getattr(access.secret, field)
            if not texts[f"secret.{field}"]:
                yield Problem((*path, "secret", field), "is empty")
    for field, text in texts.items():
        if len(text) > 4096 or one_line(text) != text:
            yield Problem((*path, *field.split(".")), "has to be one line of at most 4096 visible characters")


def _connections(clusters: Sequence[Cluster]) -> Iterator[Problem]:
    """Two names for one connection would be two clusters whose numbers and limits are both wrong."""
    first: dict[Access, str] = {}
    for place, cluster in enumerate(clusters):
        if cluster.connection == Access():
            continue
        other = first.setdefault(cluster.connection, cluster.name)
        if other != cluster.name:
            yield Problem(
                ("clusters", place, "connection"), f"is that of cluster {other!r}, too: name one cluster once"
            )


def _labels(path: Path, labels: Mapping[str, str]) -> Iterator[Problem]:
    if len(labels) > MAX_ITEMS:
        yield Problem(path, f"there are {len(labels)}, more than {MAX_ITEMS}")
    for key, value in labels.items():
        try:
            parse_label_selector(f"{key}={value}" if not set(f"{key}{value}") & set(" ,=!()<>") else "(")
        except Invalid:
            yield Problem((*path, key), f"{key}={value!r} is no label as Kubernetes has them")


def _pool(path: Path, pool: Pool, clusters: Sequence[Cluster]) -> Iterator[Problem]:
    names = [cluster.name for cluster in clusters]
    if bool(pool.clusters) == (pool.selector is not None):
        yield Problem(path, "needs either clusters or a selector")
        return
    if pool.selector is None:
        yield from _known((*path, "clusters"), "cluster", pool.clusters, names)
        members = [cluster for cluster in clusters if cluster.name in pool.clusters]
    else:
        try:
            selector = parse_label_selector(pool.selector)
        except Invalid as error:
            yield Problem((*path, "selector"), str(error))
            return
        members = [one for one in clusters if selects(selector, one)]
        if not members:
            yield Problem((*path, "selector"), "selects no cluster (none that bakes is selected)")
    if members and all(cluster.weight == 0 for cluster in members):
        yield Problem(path, "all its clusters have weight 0: none would ever get work; give one a weight")


def _known(path: Path, what: str, wanted: Sequence[str], there_are: Sequence[str]) -> Iterator[Problem]:
    """Names of a list that are unknown, or there twice."""
    if len(wanted) > max(MAX_ITEMS, MAX_CLUSTERS):
        yield Problem(path, f"there are {len(wanted)}, more than {max(MAX_ITEMS, MAX_CLUSTERS)}")
    for place, name in enumerate(wanted):
        if name not in there_are:
            yield Problem((*path, place), _no_such(what, name, there_are))
        elif name in wanted[:place]:
            yield Problem((*path, place), f"{name!r} is there twice: remove one")


def _no_such(what: str, name: str, there_are: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, there_are, 1)
    some = ", ".join(there_are[:10]) + (f" and {len(there_are) - 10} more" if len(there_are) > 10 else "")
    hint = f"did you mean {near[0]!r}?" if near else f"there are {some or 'none'}"
    return f"there is no {what} {one_line(name[:MAX_TEXT])!r}; {hint}"


def _match(path: Path, match: Match) -> Iterator[Problem]:
    for field in NAMES:
        shown = _encoded(field)
        patterns = getattr(match, field)
        if len(patterns) > MAX_ITEMS:
            yield Problem((*path, shown), f"there are {len(patterns)}, more than {MAX_ITEMS}")
        for place, pattern in enumerate(patterns):
            if not _PATTERN.fullmatch(pattern) or len(pattern) > MAX_TEXT or one_line(pattern) != pattern:
                yield Problem(
                    (*path, shown, place),
                    f"{one_line(pattern[:MAX_TEXT])!r} has to be a name of at most {MAX_TEXT} characters, or its begin "
                    "with one * after it",
                )
    yield from _labels((*path, "labels"), match.labels)
    try:
        parse_label_selector(match.selector)
    except Invalid as error:
        yield Problem((*path, "selector"), str(error))
    if len(match.resources) > MAX_ITEMS:
        yield Problem((*path, "resources"), f"there are {len(match.resources)}, more than {MAX_ITEMS}")
    for name, amount in match.resources.items():
        try:
            if not parse(str(amount)) > 0:
                yield Problem((*path, "resources", name), f"is {amount}: it has to be more than 0")
        except Invalid as error:
            yield Problem((*path, "resources", name), str(error))


def _encoded(field: str) -> str:
    first, *others = field.split("_")
    return first + "".join(other.title() for other in others)


def _rule(path: Path, rule: Rule, declared: Declaration) -> Iterator[Problem]:
    pools = [pool.name for pool in declared.pools]
    if rule.pool not in pools:
        yield Problem((*path, "pool"), _no_such("pool", rule.pool, pools))
    yield from _known((*path, "fallbacks"), "pool", rule.fallbacks, pools)
    for place, name in enumerate(rule.fallbacks):
        if name == rule.pool:
            yield Problem((*path, "fallbacks", place), f"{name!r} is the rule's own pool: name another")
    if rule.isolate and rule.fallbacks:
        yield Problem((*path, "fallbacks"), "an isolated rule has none, as its work never goes elsewhere: remove them")
