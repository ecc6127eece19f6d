"""The schema of the chart's values: names that it does not have are refused, and so are settings that there are not."""

from __future__ import annotations

from typing import Any

import msgspec

Schema = dict[str, Any]

NOT_OF_A_CONTROLLER = ("kubelet", "api_server")
"""Sections of settings that `propeller controller` does not read."""

TEXT: Schema = {"type": "string"}
FLAG: Schema = {"type": "boolean"}
WHOLE: Schema = {"type": "integer", "minimum": 0}
TABLE: Schema = {"type": "object"}
"""Whatever Kubernetes takes there: its API server checks it."""
LIST: Schema = {"type": "array", "items": {"type": "object"}}
STRINGS: Schema = {"type": "array", "items": TEXT}
PAIRS: Schema = {"type": "object", "additionalProperties": TEXT}
NAME: Schema = {"type": "string", "pattern": "^([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?)?$"}
"""Of an object, or empty."""
LABEL: Schema = {"type": "string", "pattern": "^([a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)?$"}
"""Of a namespace, or empty."""
PORT: Schema = {"type": "integer", "minimum": 1, "maximum": 65535}
DURATION: Schema = {"type": "string", "pattern": "^([0-9]+(ms|s|m|h))+$"}
COUNT_OR_SHARE: Schema = {"anyOf": [WHOLE, {"type": "string", "pattern": "^[0-9]+%$"}]}


def one_of(*values: str) -> Schema:
    return {"type": "string", "enum": list(values)}


def table(**properties: Schema) -> Schema:
    """An object with these properties and no others."""
    return {"type": "object", "properties": properties, "additionalProperties": False}


def schema(settings: type) -> Schema:
    """The whole schema; `config` is checked by the types of the settings."""
    (top,), definitions = msgspec.json.schema_components([settings], ref_template="#/definitions/{name}")
    name = top["$ref"].rpartition("/")[2]
    for section in NOT_OF_A_CONTROLLER:
        gone = definitions[name]["properties"].pop(section)
        del definitions[gone["$ref"].rpartition("/")[2]]
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        **values({"$ref": f"#/definitions/{name}"}),
        "definitions": {key: _bare(value) for key, value in definitions.items()},
    }


def _bare(definition: Any) -> Any:
    """Without titles, texts and defaults, which docs/settings.md has."""
    if isinstance(definition, dict):
        return {
            key: {name: _bare(one) for name, one in value.items()} if key == "properties" else _bare(value)
            for key, value in definition.items()
            if key not in {"title", "description", "default"}
        }
    return [_bare(one) for one in definition] if isinstance(definition, list) else definition


def values(config: Schema) -> Schema:
    monitor = table(enabled=FLAG, interval=DURATION, labels=PAIRS, relabelings=LIST, metricRelabelings=LIST)
    times = table(
        initialDelaySeconds=WHOLE,
        periodSeconds=WHOLE,
        timeoutSeconds=WHOLE,
        failureThreshold=WHOLE,
        successThreshold=WHOLE,
    )
    return table(
        **{"global": TABLE},
        mode=one_of("control", "execution"),
        nameOverride=LABEL,
        fullnameOverride=LABEL,
        commonLabels=PAIRS,
        commonAnnotations=PAIRS,
        image=table(
            repository={"type": "string", "minLength": 1},
            tag=TEXT,
            digest={"type": "string", "pattern": "^(sha256:[0-9a-f]{64})?$"},
            pullPolicy=one_of("Always", "IfNotPresent", "Never"),
        ),
        imagePullSecrets={"type": "array", "items": {**table(name=NAME), "required": ["name"]}},
        config=config,
        watchNamespace=LABEL,
        replicas=WHOLE,
        processes={"type": "integer", "minimum": 1, "maximum": 33},
        leaderElection=table(enabled=FLAG, namespace=LABEL, name={**NAME, "minLength": 1}),
        log=table(level=one_of("debug", "info", "warning", "error"), format=one_of("human", "json")),
        metrics=table(
            port=PORT,
            host={"type": "string", "minLength": 1},
            service=table(enabled=FLAG, annotations=PAIRS),
            serviceMonitor=monitor,
            podMonitor=monitor,
        ),
        serviceAccount=table(create=FLAG, name=NAME, annotations=PAIRS, tokenSecret=FLAG),
        identity=table(
            awsRoleArn={"type": "string", "pattern": "^(arn:aws[a-z-]*:iam::[0-9]{12}:role/.+)?$"},
            gcpServiceAccount={"type": "string", "pattern": "^([^@]+@[^@]+)?$"},
            azureClientId=TEXT,
        ),
        secrets=table(
            s3=table(name=NAME, accessKeyId=TEXT, secretAccessKey=TEXT),
            redis=table(name=NAME, password=TEXT),
            clusters={"type": "array", "items": {**NAME, "minLength": 1}},
        ),
        rbac=table(
            create=FLAG,
            taskResources={
                "type": "array",
                "items": {**table(group=TEXT, resource=TEXT), "required": ["group", "resource"]},
            },
            extraRules=LIST,
        ),
        crds=table(flyteWorkflows=FLAG, fairQueues=FLAG, routingTables=FLAG, keep=FLAG),
        podDisruptionBudget=table(enabled=FLAG, maxUnavailable=COUNT_OR_SHARE),
        probes=table(startup=times, liveness=times, readiness=times),
        networkPolicy=table(enabled=FLAG, **{"from": LIST}, egress=LIST),
        resources=table(requests=TABLE, limits=TABLE, claims=LIST),
        priorityClassName=NAME,
        nodeSelector=PAIRS,
        tolerations=LIST,
        affinity=TABLE,
        topologySpreadConstraints={"anyOf": [{"type": "null"}, LIST]},
        strategy=table(
            type=one_of("RollingUpdate", "Recreate"),
            rollingUpdate=table(maxSurge=COUNT_OR_SHARE, maxUnavailable=COUNT_OR_SHARE),
        ),
        revisionHistoryLimit=WHOLE,
        terminationGracePeriodSeconds=WHOLE,
        podLabels=PAIRS,
        podAnnotations=PAIRS,
        podSecurityContext=TABLE,
        securityContext=TABLE,
        extraArgs=STRINGS,
        extraEnv={"type": "array", "items": {"type": "object", "required": ["name"]}},
        extraEnvFrom=LIST,
        extraVolumes=LIST,
        extraVolumeMounts=LIST,
    )
