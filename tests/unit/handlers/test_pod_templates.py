"""PodTemplates as the base of tasks' pods, compared with FlytePropeller (flytek8s/pod_helper_test.go)."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from propeller.config import PodDefaults, PodPolicy
from propeller.errors import Invalid, Unavailable
from propeller.handlers.plugins import PodSettings, PodTemplate
from propeller.handlers.plugins.pod import build_pod, demand_of
from propeller.handlers.plugins.pod._merge import merge_onto_template
from propeller.workflow import Launch, Launched, Refused
from tests.unit.handlers.build import World, graph, literals, task
from tests.unit.handlers.test_act import Bench
from tests.unit.handlers.test_pod import container_task, pod_of, pod_task

Json = dict[str, Any]


class Found:
    """PodTemplates by namespace and name."""

    def __init__(self, *templates: tuple[str, Json]) -> None:
        self.templates = {name: self._template(name, pod) for name, pod in templates}

    def _template(self, name: str, pod: Json) -> PodTemplate:
        namespace = name.partition("/")[0]
        metadata = pod.get("metadata", {})
        return PodTemplate(
            namespace=namespace,
            version=name,
            labels=metadata.get("labels", {}),
            annotations=metadata.get("annotations", {}),
            spec=pod.get("spec", {}),
        )

    async def ready(self) -> None:
        """They are."""

    def find(self, namespace: str, name: str, /) -> PodTemplate | None:
        return self.templates.get(f"{namespace}/{name}")


def given(*templates: tuple[str, Json], of: Json, policy: PodPolicy = PodPolicy(), **fields: Any) -> Json:
    defaults = PodDefaults(template=fields.pop("default", ""))
    found = Found(*templates)
    settings = PodSettings(raw_output_prefix="s3://raw", policy=policy, defaults=defaults, templates=found)
    return pod_of(of, settings=settings, **fields)


def naming(name: str, of: Json | None = None) -> Json:
    return (of or container_task()) | {"metadata": {"podTemplateName": name}}


def pool(name: str) -> Json:
    return {"spec": {"nodeSelector": {"pool": name}}}


def test_the_template_that_a_task_names_is_its_base() -> None:
    pod = given(("ns/mine", pool("a")), ("ns/other", pool("b")), of=naming("mine"))
    assert pod["spec"]["nodeSelector"] == {"pool": "a"}


def test_the_executions_namespace_is_looked_at_before_the_platforms() -> None:
    shared, own = ("flyte/mine", pool("shared")), ("ns/mine", pool("own"))
    assert given(shared, own, of=naming("mine"))["spec"]["nodeSelector"] == {"pool": "own"}
    assert given(shared, of=naming("mine"))["spec"]["nodeSelector"] == {"pool": "shared"}


def test_a_task_that_names_none_has_the_default_one_if_there_is_one() -> None:
    default = ("flyte/default-template", pool("default"))
    assert given(default, of=container_task(), default="default-template")["spec"]["nodeSelector"] == {
        "pool": "default"
    }
    assert "nodeSelector" not in given(default, of=container_task())["spec"]
    assert "nodeSelector" not in given(of=container_task(), default="default-template")["spec"]


def test_a_template_that_there_is_not_is_named_with_where_it_was_looked_for() -> None:
    with pytest.raises(Invalid, match="names PodTemplate 'none', which is neither in namespace ns nor in flyte"):
        given(("ns/mine", pool("a")), of=naming("none"))


def test_labels_and_annotations_are_the_tasks_before_the_templates() -> None:
    metadata = {"labels": {"l": "template", "m": "template"}, "annotations": {"b": "template", "propeller/node": "x"}}
    of = naming("t", pod_task()) | {"metadata": {"podTemplateName": "t", "metadata": {"labels": {"l": "task"}}}}
    found = given(("ns/t", {"metadata": metadata}), of=of)["metadata"]
    assert (found["labels"]["l"], found["labels"]["m"], found["annotations"]["b"]) == ("task", "template", "template")
    assert found["annotations"]["propeller/node"] == "n0"


def test_another_version_of_a_template_is_used_by_the_next_pod() -> None:
    found = Found(("ns/t", pool("old")))
    settings = PodSettings(raw_output_prefix="s3://raw", templates=found)
    world = World(graph(task("n0")), {"t": naming("t")})
    assert build_pod(world.node("n0"), 0, literals(), settings)["spec"]["nodeSelector"] == {"pool": "old"}
    found.templates["ns/t"] = PodTemplate(namespace="ns", version="new", spec=pool("new")["spec"])
    assert build_pod(world.node("n0"), 1, literals(), settings)["spec"]["nodeSelector"] == {"pool": "new"}


def test_the_container_called_default_is_the_base_of_all_and_primary_of_the_primary_one() -> None:
    template = {
        "spec": {
            "containers": [
                {"name": "default", "image": "noop", "workingDir": "/d", "env": [{"name": "A", "value": "default"}]},
                {"name": "primary", "image": "noop", "workingDir": "/p", "env": [{"name": "B", "value": "primary"}]},
                {"name": "sidecar", "image": "noop", "tty": True},
                {"name": "unused", "image": "noop"},
            ]
        }
    }
    main, sidecar = given(("ns/t", template), of=naming("t", pod_task()))["spec"]["containers"]
    assert (main["name"], main["workingDir"], sidecar["name"], sidecar["workingDir"]) == ("main", "/p", "sidecar", "/d")
    assert [one["name"] for one in main["env"]][:2] == ["A", "B"]
    assert (sidecar["env"][0]["name"], sidecar["tty"]) == ("A", True)
    assert "noop" not in {main["image"], sidecar["image"]}


def test_the_container_of_a_container_task_keeps_its_name_and_its_image() -> None:
    template = {"spec": {"containers": [{"name": "primary", "image": "noop", "workingDir": "/p"}]}}
    (container,) = given(("ns/t", template), of=naming("t"))["spec"]["containers"]
    assert (container["name"], container["image"], container["workingDir"]) == ("e-n0-0", "image:1", "/p")


RESOURCES = {"requests": {"cpu": "2", "memory": "2Gi"}, "limits": {"memory": "4Gi"}}


def test_a_templates_resources_are_between_the_tasks_and_the_platforms() -> None:
    template = {"spec": {"containers": [{"name": "primary", "image": "noop", "resources": RESOURCES}]}}
    of = naming("t", container_task(resources={"requests": [{"name": "CPU", "value": "1"}]}))
    (container,) = given(("ns/t", template), of=of)["spec"]["containers"]
    assert container["resources"] == {
        "requests": {"cpu": "1", "memory": "2Gi"},
        "limits": {"cpu": "1", "memory": "4Gi"},
    }


def test_what_a_template_requests_counts_for_pools_too() -> None:
    template = {"spec": {"containers": [{"name": "primary", "image": "noop", "resources": RESOURCES}]}}
    settings = PodSettings(raw_output_prefix="s3://raw", templates=Found(("ns/t", template)))
    demand = demand_of(World(graph(task("n0")), {"t": naming("t")}).node("n0"), settings)
    assert demand.requests["cpu"] == 2


def test_init_containers_have_a_default_of_their_own() -> None:
    template = {"spec": {"initContainers": [{"name": "default-init", "image": "noop", "workingDir": "/i"}]}}
    of = naming("t", pod_task())
    of["k8sPod"]["podSpec"]["initContainers"] = [{"name": "setup", "image": "i"}]
    (init,) = given(("ns/t", template), of=of)["spec"]["initContainers"]
    assert (init["name"], init["image"], init["workingDir"]) == ("setup", "i", "/i")


def terms(*keys: str) -> Json:
    found = [{"matchExpressions": [{"key": key, "operator": "Exists"}]} for key in keys]
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": found}}}


def keys_of(spec: Json) -> list[list[str]]:
    required = spec["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    return [[one["key"] for one in term["matchExpressions"]] for term in required["nodeSelectorTerms"]]


@pytest.mark.parametrize(
    ("template", "own", "expected"),
    [
        ({"a": 1}, {}, {"a": 1}),
        ({"a": 1}, {"a": 2}, {"a": 2}),
        ({"hostNetwork": True}, {"hostNetwork": False}, {"hostNetwork": False}),
        ({"a": "template"}, {"a": "", "b": None}, {"a": "template"}),
        ({"nodeSelector": {"a": "1", "b": "1"}}, {"nodeSelector": {"b": "2"}}, {"nodeSelector": {"a": "1", "b": "2"}}),
        (
            {"tolerations": [{"key": "a"}]},
            {"tolerations": [{"key": "b"}]},
            {"tolerations": [{"key": "a"}, {"key": "b"}]},
        ),
        (
            {"volumes": [{"name": "a", "emptyDir": {}}, {"name": "b", "emptyDir": {}}]},
            {"volumes": [{"name": "b", "secret": {}}]},
            {"volumes": [{"name": "a", "emptyDir": {}}, {"name": "b", "secret": {}}]},
        ),
        (
            {"securityContext": {"runAsUser": 1, "fsGroup": 1}},
            {"securityContext": {"runAsUser": 2}},
            {"securityContext": {"runAsUser": 2, "fsGroup": 1}},
        ),
    ],
)
def test_the_tasks_values_win_objects_merge_and_lists_are_appended(template: Json, own: Json, expected: Json) -> None:
    before = repr((template, own))
    assert merge_onto_template(template, own, "main") == {**expected, "containers": []}
    assert repr((template, own)) == before


def test_required_terms_of_both_have_to_be_met() -> None:
    merged = merge_onto_template({"affinity": terms("a", "b")}, {"affinity": terms("x")}, "main")
    assert keys_of(merged) == [["a", "x"], ["b", "x"]]
    assert keys_of(merge_onto_template({"affinity": terms("a")}, {}, "main")) == [["a"]]
    assert keys_of(merge_onto_template({}, {"affinity": terms("x")}, "main")) == [["x"]]


PRIVILEGED = ("ns/t", {"spec": {"hostNetwork": True, "containers": []}})


def test_a_template_is_the_platforms_which_the_policy_does_not_concern() -> None:
    assert given(PRIVILEGED, of=naming("t"))["spec"]["hostNetwork"] is True


def test_a_template_of_a_namespace_that_is_not_trusted_is_checked_as_the_tasks_own() -> None:
    policy = PodPolicy(trusted_templates=("flyte",))
    with pytest.raises(Invalid, match=r"spec\.hostNetwork"):
        given(PRIVILEGED, of=naming("t"), policy=policy)
    shared = ("flyte/t", PRIVILEGED[1])
    assert given(shared, of=naming("t"), policy=policy)["spec"]["hostNetwork"] is True


def test_a_template_does_not_excuse_what_the_task_itself_asks_for() -> None:
    of = naming("t", pod_task())
    of["k8sPod"]["podSpec"]["hostPID"] = True
    with pytest.raises(Invalid, match=r"spec\.hostPID"):
        given(PRIVILEGED, of=of)


class Unreadable(Found):
    """PodTemplates that the controller may not read."""

    async def ready(self) -> None:
        raise Unavailable("PodTemplates may not be read: grant list and watch on podtemplates")


async def test_a_task_with_a_template_waits_until_templates_can_be_read_and_others_do_not() -> None:
    of = Bench(graph(task("n0")), {"t": naming("t")})
    found = Unreadable(("ns/t", pool("a")))
    settings = PodSettings(raw_output_prefix="memory://raw", templates=found)
    of.services = msgspec.structs.replace(of.services, pod_settings=settings)
    (refused,) = await of.do(Launch, 0)
    assert isinstance(refused, Refused)
    assert "grant list and watch on podtemplates" in refused.reason
    assert not of.server.requests
    other = Bench(graph(task("n0")), {"t": container_task()})
    other.services = msgspec.structs.replace(other.services, pod_settings=settings)
    assert await other.do(Launch, 0) == (Launched(0),)
