"""Resolution of env, command and args."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from propeller.embedded.kubelet._environment import Reference, divided, expand, field_value, references, resolve
from propeller.errors import Invalid
from propeller.quantity import parse

POD: dict[str, Any] = {
    "metadata": {
        "name": "p",
        "namespace": "ns",
        "uid": "u1",
        "labels": {"app": "x", "b": "y"},
        "annotations": {"note": "hi"},
    },
    "spec": {"nodeName": "embedded"},
}


def _env(container: dict[str, Any], objects: dict[Reference, Any] | None = None, **base: str) -> dict[str, str]:
    return resolve(POD, container, base=base, objects=objects or {})


def test_a_variable_expands_names_defined_before_it_and_keeps_unknown_ones() -> None:
    env = _env({"env": [{"name": "A", "value": "1"}, {"name": "B", "value": "$(A)$(C)"}, {"name": "C", "value": "3"}]})
    assert env["B"] == "1$(C)"


def test_a_doubled_dollar_escapes_a_reference() -> None:
    assert expand("$$(A) $(A)", {"A": "1"}) == "$(A) 1"


@given(st.text(alphabet="abc$ ", max_size=30))
def test_text_without_parentheses_changes_only_in_doubled_dollars(text: str) -> None:
    assert expand(text, {"a": "x"}) == text.replace("$$", "$")


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("metadata.name", "p"),
        ("metadata.namespace", "ns"),
        ("metadata.labels['app']", "x"),
        ("metadata.annotations['none']", ""),
        ("metadata.labels", 'app="x"\nb="y"'),
        ("spec.nodeName", "embedded"),
        ("status.podIP", "127.0.0.1"),
    ],
)
def test_a_field_reference_resolves_as_in_the_downward_api(path: str, value: str) -> None:
    assert field_value(POD, path) == value


def test_an_unknown_field_path_is_refused() -> None:
    with pytest.raises(Invalid, match=r"unsupported fieldPath: spec\.secret"):
        field_value(POD, "spec.secret")


def test_a_resource_reference_is_divided_and_rounded_up() -> None:
    source = {"resourceFieldRef": {"resource": "limits.memory", "divisor": "1Mi"}}
    container = {"resources": {"limits": {"memory": "1500Ki"}}, "env": [{"name": "M", "valueFrom": source}]}
    assert _env(container)["M"] == "2"


def test_secret_and_config_map_keys_are_read() -> None:
    container = {
        "env": [
            {"name": "S", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}},
            {"name": "C", "valueFrom": {"configMapKeyRef": {"name": "c", "key": "k"}}},
        ]
    }
    objects: dict[Reference, Any] = {
        ("Secret", "s"): {"data": {"k": base64.b64encode(b"hush").decode()}},
        ("ConfigMap", "c"): {"data": {"k": "loud"}},
    }
    env = _env(container, objects)
    assert (env["S"], env["C"]) == ("hush", "loud")
    assert references({"spec": {}}, container) == {("Secret", "s"), ("ConfigMap", "c")}


def test_a_missing_object_is_named_unless_it_is_optional() -> None:
    source = {"name": "s", "key": "k"}
    with pytest.raises(Invalid, match='secret "s" not found'):
        _env({"env": [{"name": "S", "valueFrom": {"secretKeyRef": source}}]})
    assert "S" not in _env({"env": [{"name": "S", "valueFrom": {"secretKeyRef": source | {"optional": True}}}]})


def test_env_from_comes_first_with_its_prefix_and_env_wins() -> None:
    container = {"envFrom": [{"prefix": "P_", "configMapRef": {"name": "c"}}], "env": [{"name": "P_a", "value": "own"}]}
    env = _env(container, {("ConfigMap", "c"): {"data": {"a": "1", "b": "2"}}}, PATH="/bin")
    assert env == {"PATH": "/bin", "P_a": "own", "P_b": "2"}


@given(st.integers(0, 10**12), st.sampled_from(["1", "1k", "1Mi"]))
def test_a_resource_is_divided_and_rounded_up(amount: int, divisor: str) -> None:
    assert divided(str(amount), divisor) == -(-amount // int(parse(divisor)))


def test_a_divisor_of_zero_is_one() -> None:
    assert divided("1500m", "0") == 2
