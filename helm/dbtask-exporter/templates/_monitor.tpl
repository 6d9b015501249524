{{/* What an endpoint of a ServiceMonitor and one of a PodMonitor have in common. Called with a dict:
     `root`, `monitor`. */}}
{{- define "dbtask.endpoint" -}}
{{- $scheme := include "dbtask.scheme" .root -}}
port: http
path: {{ .root.Values.web.telemetryPath }}
scheme: {{ $scheme }}
{{- with .monitor.interval }}
interval: {{ . }}
{{- end }}
{{- with .monitor.scrapeTimeout }}
scrapeTimeout: {{ . }}
{{- end }}
honorLabels: {{ .monitor.honorLabels }}
honorTimestamps: {{ .monitor.honorTimestamps }}
{{- range $key := list "tlsConfig" "basicAuth" "authorization" "relabelings" "metricRelabelings" }}
{{- with get $.monitor $key }}
{{ $key }}:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
{{- end -}}

{{/* What the specifications of both have in common. `jobLabel` names a label, whose value becomes
     the job. Called with a dict: `root`, `monitor`, and `podLabels`, those of the pod that series always get. */}}
{{- define "dbtask.monitor" -}}
jobLabel: app.kubernetes.io/name
namespaceSelector:
  matchNames: [{{ .root.Release.Namespace }}]
selector:
  matchLabels:
    {{- include "dbtask.selector" .root | nindent 4 }}
{{- range $key := list "sampleLimit" "targetLimit" "labelLimit" "labelNameLengthLimit" "labelValueLengthLimit" }}
{{- with get $.monitor $key }}
{{ $key }}: {{ . | int64 }}
{{- end }}
{{- end }}
{{- with .monitor.targetLabels }}
targetLabels:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with concat (default list .podLabels) (default list .monitor.podTargetLabels) | uniq }}
podTargetLabels:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}
