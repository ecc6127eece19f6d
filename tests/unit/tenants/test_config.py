"""The file of tenants, and what is wrong with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from propeller.errors import Invalid
from propeller.tenants import load
from tests.unit.tenants.files import TENANTS, write


def test_a_tenant_is_a_domain_of_a_project_with_the_most_specific_values(tmp_path: Path) -> None:
    _, tenants = load(write(tmp_path))
    found = {tenant.namespace: tenant.values for tenant in tenants["current"]}
    assert list(found) == ["ml-development", "ml-production", "etl-production"]
    assert [values["projectQuotaCpu"] for values in found.values()] == ["4", "16", "16"]
    assert [values["maxPods"] for values in found.values()] == ["100", "100", "7"]
    assert found["etl-production"]["cluster"] == "current"


def test_a_projects_domain_goes_before_all_others_and_each_cluster_has_values(tmp_path: Path) -> None:
    text = """
templates: templates
domains: [{name: d, data: {x: domain, y: domain}}]
projects: [{name: p, domains: [{name: d, data: {x: own}}]}, {name: q, data: {x: project}}]
clusters: [{name: one, data: {x: cluster, z: cluster}}, {name: two}]
data: {x: all, z: all, flag: true, ratio: 0.5}
"""
    _, tenants = load(write(tmp_path, text))
    p, q = (tenant.values for tenant in tenants["one"])
    assert (p["x"], p["y"], p["z"], q["x"]) == ("own", "domain", "cluster", "project")
    assert tenants["two"][0].values["z"] == "all"
    assert (p["flag"], p["ratio"]) == ("true", "0.5")


def test_values_come_from_the_environment_and_from_files(tmp_path: Path) -> None:
    (tmp_path / "role").write_text("arn:aws:iam::1:role/x\n")
    text = TENANTS.replace('projectQuotaCpu: "4"', 'projectQuotaCpu: "4", role: {file: role}, key: {env: KEY}')
    _, tenants = load(write(tmp_path, text), {"KEY": "s3cret: {x}"})
    values = tenants["current"][0].values
    assert (values["role"], values["key"]) == ("arn:aws:iam::1:role/x", "s3cret: {x}")


PROJECT = "templates: t\ndomains: [d]\nprojects: [p]\n"
BAD = [
    ("templates: t\ndomains: [d]\n", "missing required field `projects`"),
    (PROJECT + "colour: red\n", "unknown field `colour`"),
    (PROJECT.replace("[p]", "[]"), "projects has none"),
    (PROJECT.replace("[p]", "[P]"), "projects: 'P' has to be 1 to 63 lower-case"),
    (PROJECT.replace("[p]", "['a: b']"), "projects: 'a: b' has to be"),
    (PROJECT.replace("[p]", "[p, p]"), "projects: 'p' is there twice"),
    (PROJECT.replace("[d]", "['..']"), r"domains: '\.\.' has to be"),
    (PROJECT.replace("[p]", "[{name: p, domains: [e]}]"), "project 'p' has domain 'e', which is not in domains"),
    (PROJECT + "data: {project: x}\n", "'project' is the tenant's own"),
    (PROJECT + "data: {'a b': x}\n", "'a b' is no name of a variable"),
    (PROJECT + "data: {a: {env: NOPE}}\n", "variable NOPE of the environment, which is not set"),
    (PROJECT + "data: {a: {file: nope}}\n", "nope, which cannot be read: No such file"),
    (PROJECT + "data: {a: {}}\n", "'a' needs a value, or one of env and file"),
    (PROJECT + "data: {a: {env: A, file: b}}\n", "'a' needs a value, or one of env and file"),
    (PROJECT + "data: {a: [1]}\n", r"`\$.data"),
    (PROJECT + "namespace: '{{ projet }}'\n", r"namespace of p/d uses \{\{ projet \}\}"),
    (PROJECT + "namespace: '{{ project }}_x'\n", "namespace of p/d is 'p_x', which is no name"),
    (PROJECT + "interval: 0\n", "interval must be at least 1, and is 0"),
    (PROJECT + "clusters: [{name: a}, {name: a}]\n", "clusters: 'a' is there twice"),
    (PROJECT.replace("[p]", "[a, a-b]").replace("[d]", "[c, b-c]"), "namespace 'a-b-c' is that of a/b-c and of a-b/c"),
    ("{", "does not parse: line"),
    ("[]", "Expected `object`, got `array`"),
    ("a: !!python/object/apply:os.system [id]", "does not parse"),
]


@pytest.mark.parametrize(("text", "word"), BAD, ids=[word for _, word in BAD])
def test_what_is_wrong_is_said_before_anything_is_asked(tmp_path: Path, text: str, word: str) -> None:
    with pytest.raises(Invalid, match=word) as raised:
        load(write(tmp_path, text), {})
    assert "tenants.yaml" in str(raised.value)


def test_a_file_that_is_not_there_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="cannot be read: No such file"):
        load(str(tmp_path / "nope.yaml"))
