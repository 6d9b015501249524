{{/* The secret keys of each cloud, in the vendor's words; the first two are what is usual. */}}
{{- define "dbtask.allKeys" -}}
alibaba: [access_key_id, access_key_secret, security_token]
huawei: [access_key, secret_key, security_token, auth_token, password]
tencent: [secret_id, secret_key, token]
{{- end -}}

{{/* The entries of `credentials`, with the keys each of them has, as YAML. */}}
{{- define "dbtask.credentials" -}}
{{- $words := include "dbtask.allKeys" . | fromYaml -}}
{{- range $name, $entry := .Values.credentials }}
{{- $usual := dict }}
{{- range slice (get $words $entry.cloud) 0 2 }}
{{- $_ := set $usual . . }}
{{- end }}
{{ $name }}:
  existingSecret: {{ $entry.existingSecret }}
  keys:
    {{- toYaml (default $usual $entry.keys) | nindent 4 }}
{{- end }}
{{- end -}}

{{/* The configuration file: `config`, with what `credentials` and `registration` add. */}}
{{- define "dbtask.config" -}}
{{- $config := deepCopy .Values.config -}}
{{- $secrets := "/etc/dbtask-exporter/secrets" -}}
{{- $entries := default list $config.credentials -}}
{{- $mounted := include "dbtask.credentials" . | fromYaml -}}
{{- range $name, $entry := .Values.credentials -}}
  {{- $added := merge (dict "name" $name "cloud" $entry.cloud) (deepCopy (default dict $entry.settings)) -}}
  {{- range $key, $_ := (get $mounted $name).keys -}}
    {{- $_ := set $added (printf "%s_file" $key) (printf "%s/credentials/%s/%s" $secrets $name $key) -}}
  {{- end -}}
  {{- $entries = append $entries $added -}}
{{- end -}}
{{- with $entries -}}
  {{- $_ := set $config "credentials" . -}}
{{- end -}}
{{- if .Values.registration.existingSecret -}}
  {{- $token := dict "token_file" (printf "%s/registration/token" $secrets) -}}
  {{- $_ := set $config "registration" (mergeOverwrite (default dict $config.registration) $token) -}}
{{- end -}}
{{- toYaml $config -}}
{{- end -}}

{{/* The web configuration: `web.config`, with the certificate of `web.tls`. Empty without either. */}}
{{- define "dbtask.webConfig" -}}
{{- $config := deepCopy .Values.web.config -}}
{{- if and .Values.web.tls.existingSecret (not .Values.web.existingSecret) -}}
  {{- $tls := dict "cert_file" "tls.crt" "key_file" "tls.key" -}}
  {{- if .Values.web.tls.clientCaKey -}}
    {{- $_ := set $tls "client_ca_file" "client-ca.crt" -}}
    {{- $_ := set $tls "client_auth_type" "RequireAndVerifyClientCert" -}}
  {{- end -}}
  {{- $_ := set $config "tls_server_config" (merge (default dict $config.tls_server_config) $tls) -}}
{{- end -}}
{{- if $config -}}
{{- toYaml $config -}}
{{- end -}}
{{- end -}}

{{- define "dbtask.webSecretName" -}}
{{- if .Values.web.existingSecret -}}
{{- .Values.web.existingSecret -}}
{{- else if include "dbtask.webConfig" . -}}
{{- include "dbtask.fullname" . }}-web
{{- end -}}
{{- end -}}

{{- define "dbtask.scheme" -}}
{{- $tls := dig "tls_server_config" (dict) (include "dbtask.webConfig" . | fromYaml) -}}
{{- default (empty $tls | ternary "http" "https") .Values.web.scheme -}}
{{- end -}}
