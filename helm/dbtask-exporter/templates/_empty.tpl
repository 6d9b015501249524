{{/* Puts the chart's own values where a key was left empty or is null: helm then has no such key. Every
     template begins with it; what is done is not done again. Renders nothing. */}}
{{- define "dbtask.complete" -}}
{{- include "dbtask.fill" (dict "values" .Values "usual" (.Files.Get "files/values.yaml" | fromYaml) "path" "") -}}
{{- end -}}

{{/* Called with a dict: `values`, `usual`, and `path`, the keys that lead there. */}}
{{- define "dbtask.fill" -}}
{{/* What may be wanted not to be there at all. */}}
{{- $unset := list ".startupProbe" ".livenessProbe" ".readinessProbe" ".resources" ".podSecurityContext" ".securityContext" ".podDisruptionBudget.maxUnavailable" -}}
{{/* What is the user's as a whole: a key in it that is null was taken out. */}}
{{- $whole := append $unset ".dashboards.grafanaOperator.instanceSelector" -}}
{{- range $key, $usual := .usual -}}
  {{- $path := printf "%s.%s" $.path $key -}}
  {{- $value := index $.values $key -}}
  {{- if kindIs "invalid" $value -}}
    {{- if not (or (kindIs "invalid" $usual) (has $path $unset)) -}}
      {{- $_ := set $.values $key (deepCopy $usual) -}}
    {{- end -}}
  {{- else if and (kindIs "map" $value) (kindIs "map" $usual) (not (has $path $whole)) -}}
    {{- include "dbtask.fill" (dict "values" $value "usual" $usual "path" $path) -}}
  {{- end -}}
{{- end -}}
{{- end -}}
