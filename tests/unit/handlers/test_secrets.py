"""Secrets of tasks, compared with what Flyte's webhook makes of them (flytepropeller/pkg/webhook)."""

from __future__ import annotations

from typing import Any

import pytest

from propeller.config import PodDefaults, PodPolicy, SecretsBy
from propeller.errors import Invalid
from propeller.handlers.plugins import PodSettings
from tests.unit.handlers.test_pod import container_task, pod_of, pod_task

Json = dict[str, Any]


def given(*secrets: Json, of: Json | None = None, by: SecretsBy = "propeller", **policy: Any) -> Json:
    settings = PodSettings(raw_output_prefix="s3://raw", policy=PodPolicy(**policy), defaults=PodDefaults(secrets=by))
    return pod_of((of or container_task()) | {"securityContext": {"secrets": list(secrets)}}, settings=settings)


def secret(how: str = "ENV_VAR", **fields: Any) -> Json:
    return {"group": "Group", "key": "Key", "mountRequirement": how, **fields}


def variables_of(container: Json) -> dict[str, Json]:
    return {variable["name"]: variable for variable in container["env"]}


REFERENCE = {"secretKeyRef": {"name": "Group", "key": "Key", "optional": True}}


def test_a_secret_as_variable_has_flytes_name() -> None:
    spec = given(secret())["spec"]
    variables = variables_of(spec["containers"][0])
    assert variables["_FSEC_GROUP_KEY"]["valueFrom"] == REFERENCE
    assert variables["FLYTE_SECRETS_ENV_PREFIX"]["value"] == "_FSEC_"
    assert "volumes" not in spec


def test_a_secret_as_variable_may_have_another_name_too() -> None:
    variables = variables_of(given(secret(env_var="TOKEN"))["spec"]["containers"][0])
    assert variables["TOKEN"]["valueFrom"] == variables["_FSEC_GROUP_KEY"]["valueFrom"] == REFERENCE


@pytest.mark.parametrize("how", ["FILE", "ANY"])
def test_a_secret_as_file_is_where_flyte_mounts_it(how: str) -> None:
    spec = given(secret(how, env_var="PATH_OF_IT"))["spec"]
    (volume,) = spec["volumes"]
    items = [{"key": "Key", "path": "key"}]
    assert volume["secret"] == {"secretName": "Group", "items": items, "optional": True}
    (container,) = spec["containers"]
    assert container["volumeMounts"] == [
        {"name": volume["name"], "readOnly": True, "mountPath": "/etc/flyte/secrets/group"}
    ]
    variables = {name: one.get("value") for name, one in variables_of(container).items()}
    assert variables["FLYTE_SECRETS_DEFAULT_DIR"] == "/etc/flyte/secrets"
    assert variables["FLYTE_SECRETS_FILE_PREFIX"] == ""
    assert variables["PATH_OF_IT"] == "/etc/flyte/secrets/group/key"


def test_files_of_one_group_share_a_volume_and_its_name_is_the_webhooks() -> None:
    spec = given(secret("FILE"), secret("FILE", key="other"), secret("FILE", group="second"))["spec"]
    assert [volume["name"] for volume in spec["volumes"]] == ["i4zg54lql3", "onswg22omrpq"]
    assert [item["path"] for item in spec["volumes"][0]["secret"]["items"]] == ["key", "other"]


def test_a_long_group_still_gives_a_volume_of_a_name_that_kubernetes_takes() -> None:
    names = {given(secret("FILE", group="g" * length))["spec"]["volumes"][0]["name"] for length in (200, 201)}
    assert len(names) == 2
    assert all(len(name) <= 63 for name in names)


def test_all_containers_get_the_secrets() -> None:
    of = pod_task()
    of["k8sPod"]["podSpec"]["initContainers"] = [{"name": "init", "image": "i"}]
    spec = given(secret(), secret("FILE"), of=of)["spec"]
    for container in (*spec["containers"], *spec["initContainers"]):
        assert "_FSEC_GROUP_KEY" in variables_of(container)
        assert container["volumeMounts"][-1]["mountPath"] == "/etc/flyte/secrets/group"


def test_a_group_version_is_where_flytekit_looks_for_it() -> None:
    variables = variables_of(given(secret(groupVersion="v2"))["spec"]["containers"][0])
    assert variables["_FSEC_GROUP_V2_KEY"]["valueFrom"] == variables["_FSEC_GROUP_KEY"]["valueFrom"] == REFERENCE
    (volume,) = given(secret("FILE", groupVersion="V2"))["spec"]["volumes"]
    assert [item["path"] for item in volume["secret"]["items"]] == ["key", "v2/key"]


def test_a_containers_own_variable_wins_and_so_do_flytes() -> None:
    of = container_task(env=[{"key": "TOKEN", "value": "mine"}])
    container = given(secret(env_var="TOKEN"), secret(env_var="FLYTE_INTERNAL_EXECUTION_ID"), of=of)["spec"][
        "containers"
    ][0]
    assert variables_of(container)["TOKEN"]["value"] == "mine"
    assert variables_of(container)["FLYTE_INTERNAL_EXECUTION_ID"]["value"] == "e"


@pytest.mark.parametrize("missing", ["group", "key"])
def test_a_secret_without_group_or_key_is_refused(missing: str) -> None:
    with pytest.raises(Invalid, match=rf"secret_requests\[1\] has no {missing}"):
        given(secret(), secret(**{missing: ""}))


def test_more_secrets_than_a_task_may_request_are_refused() -> None:
    with pytest.raises(Invalid, match="requests 101 secrets, and may request 100"):
        given(*[secret(key=f"k{number}") for number in range(101)])


@pytest.mark.parametrize("how", ["ENV_VAR", "FILE"])
def test_the_policy_says_which_secrets_a_task_may_request(how: str) -> None:
    given(secret(how, group="team-a"), secrets=("team-*",))
    with pytest.raises(Invalid, match=r"(secretName|secretKeyRef\.name): .* setting pods\.secrets"):
        given(secret(how), secrets=("team-*",))


def test_flytes_webhook_finds_pods_by_its_label_and_annotations() -> None:
    pod = given({"group": ";':/\\"}, {"key": "my_key"}, by="webhook")
    assert pod["metadata"]["labels"]["inject-flyte-secrets"] == "true"
    found = {key: text for key, text in pod["metadata"]["annotations"].items() if key.startswith("flyte.secrets/")}
    # from flyteplugins' marshaler_test.go
    assert found == {"flyte.secrets/s0": "m4zg54lqhiqceozhhixvyxbcbi", "flyte.secrets/s1": "nnsxsoraejwxsx2lmv3secq"}
    assert "_FSEC_GROUP_KEY" not in variables_of(pod["spec"]["containers"][0])


@pytest.mark.parametrize("by", ["none", "propeller"])
def test_the_webhook_is_not_called_unless_it_is_to_inject(by: SecretsBy) -> None:
    assert "inject-flyte-secrets" not in given(secret(), by=by)["metadata"]["labels"]


def test_without_injection_a_pod_has_no_trace_of_its_secrets() -> None:
    assert given(secret(), secret("FILE"), by="none") == pod_of(container_task()) | {"spec": given(by="none")["spec"]}
