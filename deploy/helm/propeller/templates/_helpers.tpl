{{- define "propeller.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "propeller.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 52 | trimSuffix "-" -}}
{{- else if contains (include "propeller.name" .) .Release.Name -}}
{{- .Release.Name | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "propeller.name" .) | trunc 52 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "propeller.account" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "propeller.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "propeller.selector" -}}
app.kubernetes.io/name: {{ include "propeller.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{/* metadata of an object: (list $ NAME NAMESPACE ANNOTATIONS) */}}
{{- define "propeller.metadata" -}}
name: {{ index . 1 }}
{{- with index . 2 }}
namespace: {{ . }}
{{- end }}
{{ include "propeller.marks" (list (index . 0) (index . 3)) }}
{{- end -}}

{{/* labels and annotations: (list $ ANNOTATIONS) */}}
{{- define "propeller.marks" -}}
{{- $ := index . 0 -}}
{{- $chart := printf "%s-%s" $.Chart.Name ($.Chart.Version | replace "+" "_") -}}
{{- $own := include "propeller.selector" $ | fromYaml -}}
{{- $helm := dict "helm.sh/chart" $chart "app.kubernetes.io/version" $.Chart.AppVersion "app.kubernetes.io/managed-by" $.Release.Service -}}
labels:
  {{- merge (dict) $own $helm $.Values.commonLabels | toYaml | nindent 2 }}
{{- with merge (dict) (index . 1) $.Values.commonAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* The settings file. */}}
{{- define "propeller.settings" -}}
{{ toYaml .Values.config }}
{{- end -}}

{{- define "propeller.lease" -}}
{{ default .Release.Namespace .Values.leaderElection.namespace }}/{{ .Values.leaderElection.name }}
{{- end -}}

{{/* The rules of files/rules.yaml for the given parts, and the chart's own: (list $ PART...) */}}
{{- define "propeller.rules" -}}
{{- $ := index . 0 -}}
{{- $all := $.Files.Get "files/rules.yaml" | fromYaml -}}
{{- $rules := list -}}
{{- range rest . -}}
{{- $rules = concat $rules (index $all .) -}}
{{- end -}}
{{- toYaml $rules -}}
{{- end -}}

{{/* The rules of files/rules.yaml for what the operators of config.operators.enabled make, without repetitions. */}}
{{- define "propeller.operatorRules" -}}
{{- $all := index ($.Files.Get "files/rules.yaml" | fromYaml) "operators" -}}
{{- $rules := list -}}
{{- range dig "operators" "enabled" list .Values.config -}}
{{- $rules = concat $rules (index $all .) -}}
{{- end -}}
{{- with uniq $rules -}}{{- toYaml . -}}{{- end -}}
{{- end -}}

{{/* The parts that the settings need, as JSON. */}}
{{- define "propeller.parts" -}}
{{- $config := .Values.config -}}
{{- $parts := list "tasks" -}}
{{- if eq .Values.mode "control" -}}
{{- $parts = list "workflows" "tasks" -}}
{{- if ne (toString (dig "events" "enabled" true $config)) "false" -}}{{- $parts = append $parts "events" -}}{{- end -}}
{{- end -}}
{{- if ne (toString (dig "launches" "quotas" true $config)) "false" -}}{{- $parts = append $parts "quotas" -}}{{- end -}}
{{- if and (eq .Values.mode "control") (not .Values.watchNamespace) -}}
{{- if ne (toString (dig "resources" "fair_queues" true $config)) "false" -}}{{- $parts = append $parts "fairQueues" -}}{{- end -}}
{{- if dig "routing" "table" "" $config -}}{{- $parts = append $parts "routingTables" -}}{{- end -}}
{{- $routed := or (dig "routing" "table" "" $config) (dig "routing" "file" "" $config) -}}
{{- if and $routed (not (dig "clusters" "control" "" $config)) -}}{{- $parts = append $parts "clusters" -}}{{- end -}}
{{- end -}}
{{- toJson $parts -}}
{{- end -}}

{{/* Whether several controllers divide the workflows. */}}
{{- define "propeller.sharded" -}}
{{- or (gt (int (dig "shards" "count" 0 .Values.config)) 0) (gt (int .Values.processes) 1) -}}
{{- end -}}

{{/* How the workflows are divided: the number of shards, "processes" for their default, or 0; and the clusters that
have shards of their own, in their order, which numbers these shards. */}}
{{- define "propeller.division" -}}
{{- $count := int (dig "shards" "count" 0 .Values.config) -}}
{{- if gt $count 0 -}}{{ $count }}{{- else if gt (int .Values.processes) 1 -}}processes{{- else -}}0{{- end -}}
{{- with dig "shards" "clusters" list .Values.config }} and those of clusters {{ join ", " . }}{{- end -}}
{{- end -}}

{{/* Replicas that divide the workflows otherwise must not act at the same time: a rolling update would let them. */}}
{{- define "propeller.checkDivision" -}}
{{- $running := lookup "apps/v1" "Deployment" .Release.Namespace (include "propeller.fullname" .) -}}
{{- if and $running (ne .Values.strategy.type "Recreate") -}}
{{- $before := dig "metadata" "annotations" "propeller.dev/shards" "0" $running -}}
{{- if and (ne $before (include "propeller.division" .)) (gt (int (dig "status" "replicas" 0 $running)) 0) -}}
{{- fail (printf "shards change from %s to %s, and replicas of both kinds must not run at the same time: set strategy.type=Recreate, or stop the running ones before: kubectl -n %s scale deployment/%s --replicas=0" $before (include "propeller.division" .) .Release.Namespace (include "propeller.fullname" .)) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "propeller.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ default .Chart.AppVersion .Values.image.tag }}
{{- end -}}
{{- end -}}

{{/* Values that fit the schema each, and not together. */}}
{{- define "propeller.check" -}}
{{- if eq .Values.mode "control" -}}
{{- $byEnv := false -}}
{{- range .Values.extraEnv -}}{{- if eq .name "PROPELLER_STORAGE__METADATA_PREFIX" -}}{{- $byEnv = true -}}{{- end -}}{{- end -}}
{{- if not (or (dig "storage" "metadata_prefix" "" .Values.config) $byEnv) -}}
{{- fail "config.storage.metadata_prefix is needed: where inputs and outputs live, such as s3://bucket/metadata" -}}
{{- end -}}
{{- if not .Values.leaderElection.enabled -}}
{{- if or (gt (int .Values.replicas) 1) (ne .Values.strategy.type "Recreate") -}}
{{- fail "leaderElection.enabled=false needs replicas=1 and strategy.type=Recreate: two controllers would act at the same time" -}}
{{- end -}}
{{- end -}}
{{- if eq (include "propeller.sharded" .) "true" -}}
{{- if not .Values.leaderElection.enabled -}}
{{- fail "shards are held by Leases: leaderElection.enabled=false cannot be with config.shards.count or processes" -}}
{{- end -}}
{{- if and (dig "resources" "pools" list .Values.config) (not (dig "redis" "url" "" .Values.config)) -}}
{{- fail "config.resources.pools with shards needs config.redis.url: each process would grant the pools by itself" -}}
{{- end -}}
{{- if and (gt (int .Values.replicas) 1) (not (dig "shards" "count" 0 .Values.config)) -}}
{{- fail "processes with several replicas need config.shards.count, the same for all" -}}
{{- end -}}
{{- end -}}
{{- if and .Values.secrets.redis.name (not (dig "redis" "url" "" .Values.config)) -}}
{{- fail "secrets.redis.name is set, but config.redis.url is not" -}}
{{- end -}}
{{- if dig "election" "lease_namespace" "" .Values.config -}}
{{- fail "config.election.lease_namespace: say leaderElection.namespace, which grants the rights on it as well" -}}
{{- end -}}
{{- if dig "election" "lease_name" "" .Values.config -}}
{{- fail "config.election.lease_name: say leaderElection.name" -}}
{{- end -}}
{{- else if .Values.config.storage -}}
{{- fail "mode=execution runs no controller: config.storage has no effect" -}}
{{- end -}}
{{- end -}}
