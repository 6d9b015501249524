{{/* What the schema cannot see: settings that contradict each other, or would do harm. Every
     message says what to do. Renders nothing. */}}
{{- define "dbtask.refuse" -}}
{{- $v := .Values -}}
{{- $problems := list -}}
{{- if and (not $v.configFrom.existing) (not $v.config.sources) -}}
  {{- $problems = append $problems "config.sources is empty: list what to watch, such as {name: mysql, api: tencent_cdb, region: ap-guangzhou}, or name a configuration that is already there in configFrom.existing" -}}
{{- end -}}
{{- if and $v.configFrom.existing $v.config -}}
  {{- $problems = append $problems "config and configFrom.existing are both given: only one of them can be the configuration" -}}
{{- end -}}
{{- if and $v.configFrom.existing $v.tasksFiles -}}
  {{- $problems = append $problems "tasksFiles and configFrom.existing are both given: put the files beside the configuration that is already there" -}}
{{- end -}}
{{- if hasKey $v.tasksFiles $v.configFrom.key -}}
  {{- $problems = append $problems (printf "tasksFiles.%s has the name of the configuration itself: call it something else" $v.configFrom.key) -}}
{{- end -}}
{{- if gt (int $v.replicas) 1 -}}
  {{- $problems = append $problems "replicas is more than 1: each pod polls, and counts, by itself; split the sources over several releases instead" -}}
{{- end -}}
{{- if and $v.persistence.enabled (ne $v.strategy.type "Recreate") -}}
  {{- $problems = append $problems "strategy.type must be Recreate with persistence: a second pod cannot open the journal while the first has it" -}}
{{- end -}}
{{- if and $v.persistence.existingClaim (not $v.persistence.enabled) -}}
  {{- $problems = append $problems "persistence.existingClaim is not used without persistence.enabled: set it to true" -}}
{{- end -}}
{{- $roles := or $v.workloadIdentity.alibaba.roleName $v.workloadIdentity.tencent.roleArn -}}
{{- if and $roles (not $v.serviceAccount.create) -}}
  {{- $problems = append $problems "workloadIdentity annotates the service account, which serviceAccount.create leaves to somebody else: annotate it there, or set it to true" -}}
{{- end -}}
{{- with $v.workloadIdentity.huawei -}}
  {{- if and .idpId (not .audience) -}}
    {{- $problems = append $problems "workloadIdentity.huawei.audience is missing: the client id that the identity provider has been given" -}}
  {{- end -}}
{{- end -}}
{{- if and $v.serviceMonitor.enabled $v.podMonitor.enabled -}}
  {{- $problems = append $problems "serviceMonitor and podMonitor are both enabled: the pod would be scraped twice; enable one of them" -}}
{{- end -}}
{{- if and $v.web.config $v.web.existingSecret -}}
  {{- $problems = append $problems "web.config and web.existingSecret are both given: only one of them can be the web configuration" -}}
{{- end -}}
{{- if and $v.web.tls.clientCaKey (not $v.web.tls.existingSecret) -}}
  {{- $problems = append $problems "web.tls.clientCaKey is a key of web.tls.existingSecret, which is not given" -}}
{{- end -}}
{{- if and (not (kindIs "invalid" $v.podDisruptionBudget.minAvailable)) $v.podDisruptionBudget.maxUnavailable -}}
  {{- $problems = append $problems "podDisruptionBudget has minAvailable and maxUnavailable: set maxUnavailable to null" -}}
{{- end -}}
{{- with $v.podDisruptionBudget -}}
  {{- if and .enabled (kindIs "invalid" .minAvailable) (kindIs "invalid" .maxUnavailable) -}}
    {{- $problems = append $problems "podDisruptionBudget has neither minAvailable nor maxUnavailable: set one of them" -}}
  {{- end -}}
{{- end -}}
{{- if and $v.ingress.enabled (not $v.ingress.hosts) -}}
  {{- $problems = append $problems "ingress.hosts is empty: name a host, such as {host: dbtask.example.com}" -}}
{{- end -}}
{{- $problems = concat $problems (include "dbtask.credentialProblems" . | fromYamlArray) -}}
{{- $problems = concat $problems (include "dbtask.alertProblems" . | fromYamlArray) -}}
{{- if $problems -}}
  {{- fail (printf "\n\n  %s\n" (join "\n  " $problems)) -}}
{{- end -}}
{{- end -}}

{{- define "dbtask.credentialProblems" -}}
{{- $v := .Values -}}
{{- $problems := list -}}
{{- $known := keys $v.credentials -}}
{{- $words := include "dbtask.allKeys" . | fromYaml -}}
{{- range $name, $entry := $v.credentials -}}
  {{- range $key, $_ := $entry.keys -}}
    {{- if not (has $key (get $words $entry.cloud)) -}}
      {{- $problems = append $problems (printf "credentials.%s.keys.%s is not what %s calls a key: there are %s" $name $key $entry.cloud (get $words $entry.cloud | join ", ")) -}}
    {{- end -}}
  {{- end -}}
{{- end -}}
{{- range $entry := $v.config.credentials -}}
  {{- if hasKey $v.credentials $entry.name -}}
    {{- $problems = append $problems (printf "credentials.%s and an entry of config.credentials have the same name: rename one" $entry.name) -}}
  {{- end -}}
  {{- $known = append $known $entry.name -}}
  {{- range $key := get $words $entry.cloud -}}
    {{- if and (hasKey $entry $key) (ne $v.configFrom.kind "Secret") -}}
      {{- $problems = append $problems (printf "config.credentials holds %s of %s, which anybody could read in a ConfigMap: use credentials.%s.existingSecret, or set configFrom.kind to Secret" $key $entry.name $entry.name) -}}
    {{- end -}}
  {{- end -}}
{{- end -}}
{{- range $source := $v.config.sources -}}
  {{- if and $source.credentials (not (has $source.credentials $known)) -}}
    {{- $problems = append $problems (printf "source %s wants the credentials %s, which are not there: add credentials.%s" $source.name $source.credentials $source.credentials) -}}
  {{- end -}}
{{- end -}}
{{- toYaml $problems -}}
{{- end -}}
