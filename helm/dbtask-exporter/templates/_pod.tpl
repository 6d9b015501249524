{{- define "dbtask.args" -}}
- --config.file=/etc/dbtask-exporter/config/{{ .Values.configFrom.key }}
{{- if .Values.autoReload }}
- --config.enable-auto-reload
{{- end }}
- --storage.path=/var/lib/dbtask-exporter
- --web.listen-address=:10118
- --web.telemetry-path={{ .Values.web.telemetryPath }}
{{- if include "dbtask.webSecretName" . }}
- --web.config.file=/etc/dbtask-exporter/web/{{ .Values.web.key }}
{{- end }}
- --log.level={{ .Values.log.level }}
- --log.format={{ .Values.log.format }}
{{- with .Values.extraArgs }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "dbtask.env" -}}
{{- with .Values.workloadIdentity.huawei }}
{{- if .idpId }}
- name: HUAWEICLOUD_SDK_IDP_ID
  value: {{ .idpId | quote }}
- name: HUAWEICLOUD_SDK_ID_TOKEN_FILE
  value: /var/run/secrets/huawei-identity/token
{{- end }}
{{- end }}
{{- with .Values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* A probe with the handler that it has, or one that asks `path`. No kubelet shows a certificate:
     where clients must, it is seen only whether the port answers. Called with a dict: `root`,
     `probe`, `path`. */}}
{{- define "dbtask.probe" -}}
{{- $probe := deepCopy .probe -}}
{{- if not (or $probe.httpGet $probe.tcpSocket $probe.exec $probe.grpc) -}}
  {{- $tls := dig "tls_server_config" (dict) (include "dbtask.webConfig" .root | fromYaml) -}}
  {{- if hasPrefix "Require" (default "" $tls.client_auth_type) -}}
    {{- $_ := set $probe "tcpSocket" (dict "port" "http") -}}
  {{- else -}}
    {{- $_ := set $probe "httpGet" (dict "path" .path "port" "http" "scheme" (include "dbtask.scheme" .root | upper)) -}}
  {{- end -}}
{{- end -}}
{{- toYaml $probe -}}
{{- end -}}

{{- define "dbtask.topologySpread" -}}
{{- $selector := dict "matchLabels" (include "dbtask.selector" . | fromYaml) -}}
{{- $constraints := list -}}
{{- range .Values.topologySpreadConstraints -}}
  {{- $constraint := deepCopy . -}}
  {{- if not $constraint.labelSelector -}}
    {{- $_ := set $constraint "labelSelector" $selector -}}
  {{- end -}}
  {{- $constraints = append $constraints $constraint -}}
{{- end -}}
{{- toYaml $constraints -}}
{{- end -}}
