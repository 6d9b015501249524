{{/* The rules of the repository. */}}
{{- define "dbtask.rules" -}}
{{- .Files.Get "files/dbtask.rules.yml" -}}
{{- end -}}

{{/* What an expression with a threshold looks like: it ends with a comparison with a number, which
     is the threshold. */}}
{{- define "dbtask.threshold" -}}
^((?s).*(?:>|<|>=|<=)\s*)([0-9]+(?:\.[0-9]+)?(?:e-?[0-9]+)?)\s*$
{{- end -}}

{{/* Changes that name no alert, or a threshold of one that has none. */}}
{{- define "dbtask.alertProblems" -}}
{{- $alerts := dict -}}
{{- range $group := (include "dbtask.rules" . | fromYaml).groups -}}
  {{- range $rule := $group.rules -}}
    {{- if $rule.alert -}}
      {{- $_ := set $alerts $rule.alert $rule -}}
    {{- end -}}
  {{- end -}}
{{- end -}}
{{- $problems := list -}}
{{- $pattern := include "dbtask.threshold" . -}}
{{- range $name, $change := .Values.prometheusRule.alerts -}}
  {{- if not (hasKey $alerts $name) -}}
    {{- $problems = append $problems (printf "prometheusRule.alerts.%s is not an alert; there are: %s" $name (keys $alerts | sortAlpha | join ", ")) -}}
  {{- else if and (hasKey $change "threshold") (not (regexMatch $pattern (get $alerts $name).expr)) -}}
    {{- $problems = append $problems (printf "prometheusRule.alerts.%s has no threshold: its expression does not end with a comparison with a number" $name) -}}
  {{- end -}}
{{- end -}}
{{- toYaml $problems -}}
{{- end -}}

{{/* One alert with its changes. Called with a dict: `root`, `rule`. */}}
{{- define "dbtask.alert" -}}
{{- $v := .root.Values.prometheusRule -}}
{{- $rule := deepCopy .rule -}}
{{- $change := default dict (get $v.alerts $rule.alert) -}}
{{- $labels := mergeOverwrite (default dict $rule.labels) (deepCopy $v.alertLabels) (deepCopy (default dict $change.labels)) -}}
{{- with $change.severity -}}
  {{- $_ := set $labels "severity" . -}}
{{- end -}}
{{- $_ := set $rule "labels" $labels -}}
{{- with $change.for -}}
  {{- $_ := set $rule "for" . -}}
{{- end -}}
{{- if hasKey $change "threshold" -}}
  {{- $_ := set $rule "expr" (regexReplaceAll (include "dbtask.threshold" .) $rule.expr (printf "${1}%v" $change.threshold)) -}}
{{- end -}}
{{- if and $v.runbookBaseUrl (dig "annotations" "runbook_url" "" $rule) -}}
  {{- $page := regexFind "[^/]*$" $rule.annotations.runbook_url -}}
  {{- $_ := set $rule.annotations "runbook_url" (printf "%s/%s" (trimSuffix "/" $v.runbookBaseUrl) $page) -}}
{{- end -}}
{{- toYaml $rule -}}
{{- end -}}
