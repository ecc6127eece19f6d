"""The protobuf fields of the kinds that clients in Go send as protobuf, read from the tags of their Go structs.

`python -m tests.integration.kubectl.protobuf_fields MODULES` writes the server's negotiation/protobuf.json; MODULES is
`$(go env GOMODCACHE)/k8s.io`, with the sources of k8s.io/api and k8s.io/apimachinery.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from propeller.embedded.server.negotiation._protobuf import FIELDS_FILE

VERSION = "v0.37.2"
META = "io.k8s.apimachinery.pkg.apis.meta.v1"

SOURCES: Mapping[str, str] = {
    META: f"apimachinery@{VERSION}/pkg/apis/meta/v1",
    "io.k8s.api.authentication.v1": f"api@{VERSION}/authentication/v1",
    "io.k8s.api.authorization.v1": f"api@{VERSION}/authorization/v1",
    "io.k8s.api.coordination.v1": f"api@{VERSION}/coordination/v1",
    "io.k8s.api.core.v1": f"api@{VERSION}/core/v1",
    "io.k8s.api.policy.v1": f"api@{VERSION}/policy/v1",
    "io.k8s.api.rbac.v1": f"api@{VERSION}/rbac/v1",
}
"""Where each package of types is, by the prefix that OpenAPI gives it."""

ROOTS = (
    f"{META}.DeleteOptions",
    "io.k8s.api.authentication.v1.SelfSubjectReview",
    "io.k8s.api.authorization.v1.SelfSubjectAccessReview",
    "io.k8s.api.authorization.v1.SelfSubjectRulesReview",
    "io.k8s.api.coordination.v1.Lease",
    *(
        f"io.k8s.api.core.v1.{kind}"
        for kind in (
            "Binding",
            "ConfigMap",
            "Event",
            "Namespace",
            "Node",
            "Pod",
            "ResourceQuota",
            "Secret",
            "ServiceAccount",
        )
    ),
    "io.k8s.api.policy.v1.Eviction",
    *(f"io.k8s.api.rbac.v1.{kind}" for kind in ("ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding")),
)

_SPECIAL = {
    "metav1.Time": "time",
    "metav1.MicroTime": "microtime",
    "metav1.FieldsV1": "fields",
    "Time": "time",
    "MicroTime": "microtime",
    "FieldsV1": "fields",
    "resource.Quantity": "quantity",
    "intstr.IntOrString": "intorstring",
    "runtime.RawExtension": "raw",
    "types.UID": "string",
    "[]byte": "bytes",
    "string": "string",
    "bool": "bool",
    "int": "int",
    "int32": "int",
    "int64": "int",
}
_STRUCT = re.compile(r"^type (\w+) struct \{\n(.*?)^\}", re.DOTALL | re.MULTILINE)
_ALIAS = re.compile(r"^type (\w+) ([\w.\[\]]+)$", re.MULTILINE)
_FIELD = re.compile(r'^\s+(?:\w+\s+)?([\w.*\[\]]+)\s+`json:"([^",]*)[^"]*".*?protobuf:"\w+,(\d+),')


class Package:
    """The structs and the other named types of one package."""

    def __init__(self, name: str, directory: Path) -> None:
        self.name = name
        text = "\n".join(path.read_text() for path in sorted(directory.glob("*.go")) if "zz_" not in path.name)
        self.structs = {found[1]: found[2] for found in _STRUCT.finditer(text)}
        self.aliases = {found[1]: found[2] for found in _ALIAS.finditer(text)}

    def type_of(self, go: str) -> str:
        """A Go type as the table writes it."""
        go = go.removeprefix("*")
        if go in _SPECIAL:
            return _SPECIAL[go]
        if go.startswith("[]"):
            return f"[]{self.type_of(go[2:])}"
        if found := re.fullmatch(r"map\[[\w.]+\](.+)", go):
            return f"{{}}{self.type_of(found[1])}"
        if go in self.aliases:
            return self.type_of(self.aliases[go])
        package, _, name = go.rpartition(".")
        if not package:
            return f"{self.name}.{name}"
        if name == "UserInfo":
            return f"io.k8s.api.authentication.v1.{name}"
        return f"{META}.{name}" if package == "metav1" else f"io.k8s.api.core.v1.{name}"

    def fields(self, struct: str) -> Iterator[tuple[str, str]]:
        """`(number, "name type")` of each field; no name: its members are its parent's; "?": kept when zero."""
        for line in self.structs[struct].splitlines():
            if found := _FIELD.match(line):
                go, name, number = found[1], found[2], found[3]
                yield number, f"{name} {self.type_of(go)}{'?' if go.startswith('*') else ''}"


def field_table(modules: Path) -> dict[str, dict[str, str]]:
    """The fields of every type that the roots need, by full name and number."""
    packages = {name: Package(name, modules / where) for name, where in SOURCES.items()}
    table: dict[str, dict[str, str]] = {}
    waiting = list(ROOTS)
    while waiting:
        name = waiting.pop()
        if name in table:
            continue
        package, _, struct = name.rpartition(".")
        table[name] = dict(packages[package].fields(struct))
        for text in table[name].values():
            reference = re.sub(r"^(\[\]|\{\})*", "", text.partition(" ")[2]).rstrip("?")
            if "." in reference:
                waiting.append(reference)
    return table


if __name__ == "__main__":
    found = field_table(Path(sys.argv[1]))
    lines = (f"{json.dumps(name)}: {json.dumps(found[name])}" for name in sorted(found))
    FIELDS_FILE.write_text("{\n" + ",\n".join(lines) + "\n}\n")
