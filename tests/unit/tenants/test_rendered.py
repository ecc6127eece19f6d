"""From templates and tenants to objects."""

from __future__ import annotations

from pathlib import Path

import pytest

from propeller.errors import Invalid
from propeller.tenants import Rendered, load, read_templates, rendered
from tests.unit.tenants.files import NAMESPACE, QUOTA, write


def objects(directory: Path, **templates: str) -> tuple[Rendered, ...]:
    config, tenants = load(write(directory, **templates))
    return rendered(config, read_templates(directory / "templates"), tenants["current"])


def test_each_tenant_has_each_template_and_namespaces_come_first(tmp_path: Path) -> None:
    found = objects(tmp_path, z_namespace=NAMESPACE, b_quota=QUOTA)
    assert [(one.kind, one.namespace or one.name) for one in found] == [
        *[("Namespace", name) for name in ("ml-development", "ml-production", "etl-production")],
        *[("ResourceQuota", name) for name in ("ml-development", "ml-production", "etl-production")],
    ]
    assert found[-1].body["spec"]["hard"] == {"limits.cpu": 16, "pods": 7}


def test_each_object_is_marked_as_ours_and_its_tenants(tmp_path: Path) -> None:
    labelled = NAMESPACE + "  labels: {team: x}\n"
    (first, *_) = objects(tmp_path, namespace=labelled)
    assert first.body["metadata"]["labels"] == {
        "team": "x",
        "propeller.dev/tenants": "tenants",
        "propeller.dev/project": "ml",
        "propeller.dev/domain": "development",
    }


def test_an_object_without_a_namespace_is_in_the_tenants(tmp_path: Path) -> None:
    account = "{apiVersion: v1, kind: ServiceAccount, metadata: {name: worker}}"
    assert [one.namespace for one in objects(tmp_path, account=account)] == [
        "ml-development",
        "ml-production",
        "etl-production",
    ]


def test_what_all_tenants_share_is_there_once(tmp_path: Path) -> None:
    shared = "{apiVersion: v1, kind: ConfigMap, metadata: {name: shared, namespace: flyte}}"
    (one,) = objects(tmp_path, shared=shared)
    assert one.whose == ""
    assert "propeller.dev/project" not in one.body["metadata"]["labels"]


def test_two_tenants_may_not_want_one_object_to_be_different(tmp_path: Path) -> None:
    text = "{apiVersion: v1, kind: ConfigMap, metadata: {name: c, namespace: flyte}, data: {of: '{{ project }}'}}"
    with pytest.raises(
        Invalid, match=r"'c' of template c.yaml for etl/production is also that of .* for ml/development"
    ):
        objects(tmp_path, c=text)


BAD = [
    ("text", "is no object of Kubernetes"),
    ("{kind: X, metadata: {name: a}}", "apiVersion is None"),
    ("{apiVersion: v1, metadata: {name: a}}", "kind is None"),
    ("{apiVersion: v1, kind: X}", "metadata.name is None"),
    ("{apiVersion: v1, kind: X, metadata: {name: 7}}", "metadata.name is 7"),
    ("{apiVersion: v1, kind: X, metadata: {name: a, labels: [a]}}", "metadata.labels is"),
    ("a: {{ nope }}", r"template t.yaml uses \{\{ nope \}\}"),
]


@pytest.mark.parametrize(("text", "word"), BAD, ids=[word for _, word in BAD])
def test_a_template_that_is_no_object_is_named(tmp_path: Path, text: str, word: str) -> None:
    with pytest.raises(Invalid, match=word) as raised:
        objects(tmp_path, t=text)
    assert "template t.yaml" in str(raised.value)


def test_a_directory_without_templates_is_named(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match=r"has no \*.yaml"):
        read_templates(tmp_path)
    with pytest.raises(Invalid, match="cannot be read: No such file"):
        read_templates(tmp_path / "nope")
