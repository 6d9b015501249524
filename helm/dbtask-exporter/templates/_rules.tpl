{{/* The rules of the repository. */}}
{{- define "dbtask.rules" -}}
{{- .Files.Get "files/dbtask.rules.yml" -}}
{{- end -}}

{{/* The number in an alert's expression that is its threshold, and enough of what is before it to
     find it. The README says what each of them means. */}}
{{- define "dbtask.thresholds" -}}
DbtaskTaskFailuresIncreased: "> 0"
DbtaskTaskStuck: "_interval_seconds, 1800"
DbtaskTaskOverdue: "clamp_min(2"
DbtaskPlannedWorkNear: "< 86400"
DbtaskSourceStale: "_interval_seconds[5m])), 600"
DbtaskApiThrottled: "> 0"
DbtaskCoverageGap: "> 0"
DbtaskTasksTruncated: "> 0"
{{- end -}}

{{/* Changes that name no alert, or a threshold of one that has none. */}}
{{- define "dbtask.alertProblems" -}}
{{- $alerts := list -}}
{{- range $group := (include "dbtask.rules" . | fromYaml).groups -}}
  {{- range $rule := $group.rules -}}
    {{- if $rule.alert -}}
      {{- $alerts = append $alerts $rule.alert -}}
    {{- end -}}
  {{- end -}}
{{- end -}}
{{- $problems := list -}}
{{- $thresholds := include "dbtask.thresholds" . | fromYaml -}}
{{- range $name, $change := .Values.prometheusRule.alerts -}}
  {{- if not (has $name $alerts) -}}
    {{- $problems = append $problems (printf "prometheusRule.alerts.%s is not an alert; there are: %s" $name (sortAlpha $alerts | join ", ")) -}}
  {{- else if and (hasKey $change "threshold") (not (hasKey $thresholds $name)) -}}
    {{- $problems = append $problems (printf "prometheusRule.alerts.%s has no threshold that could be changed; these have: %s" $name (keys $thresholds | sortAlpha | join ", ")) -}}
  {{- end -}}
{{- end -}}
{{- toYaml $problems -}}
{{- end -}}

{{/* One alert with its changes. Called with a dict: `root`, `rule`. */}}
{{- define "dbtask.alert" -}}
{{- $v := .root.Values.prometheusRule -}}
{{- $rule := deepCopy .rule -}}
{{- $change := default dict (get $v.alerts $rule.alert) -}}
{{- $_ := set $rule "labels" (mergeOverwrite (default dict $rule.labels) (deepCopy $v.alertLabels) (deepCopy (default dict $change.labels))) -}}
{{- $_ := set $rule "annotations" (mergeOverwrite (default dict $rule.annotations) (deepCopy (default dict $change.annotations))) -}}
{{- with $change.severity -}}
  {{- $_ := set $rule.labels "severity" . -}}
{{- end -}}
{{- with $change.for -}}
  {{- $_ := set $rule "for" . -}}
{{- end -}}
{{- if hasKey $change "threshold" -}}
  {{- $usual := get (include "dbtask.thresholds" . | fromYaml) $rule.alert -}}
  {{- $changed := printf "%s%v" (regexReplaceAll "[0-9]+$" $usual "") $change.threshold -}}
  {{- $_ := set $rule "expr" (replace $usual $changed $rule.expr) -}}
{{- end -}}
{{/* The job is what the label that `jobLabel` names holds. */}}
{{- $job := printf "job=%q" (include "dbtask.name" .root) -}}
{{- $_ := set $rule "expr" (replace "job=\"dbtask-exporter\"" $job $rule.expr) -}}
{{- if and $v.runbookBaseUrl (not (dig "runbook_url" "" (default dict $change.annotations))) -}}
  {{- $page := regexFind "[^/]*$" (default "" $rule.annotations.runbook_url) -}}
  {{- $_ := set $rule.annotations "runbook_url" (printf "%s/%s" (trimSuffix "/" $v.runbookBaseUrl) $page) -}}
{{- end -}}
{{- toYaml $rule -}}
{{- end -}}
