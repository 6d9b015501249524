{{- define "dbtask.volumes" -}}
- name: config
  {{- if eq .Values.configFrom.kind "Secret" }}
  secret:
    secretName: {{ default (include "dbtask.fullname" .) .Values.configFrom.existing }}
    defaultMode: 0440
  {{- else }}
  configMap:
    name: {{ default (include "dbtask.fullname" .) .Values.configFrom.existing }}
  {{- end }}
- name: journal
  {{- if .Values.persistence.enabled }}
  persistentVolumeClaim:
    claimName: {{ include "dbtask.claimName" . }}
  {{- else }}
  emptyDir: {}
  {{- end }}
{{- if or .Values.credentials .Values.registration.existingSecret }}
- name: secrets
  projected:
    defaultMode: 0440
    sources:
    {{- range $name, $entry := include "dbtask.credentials" . | fromYaml }}
      - secret:
          name: {{ $entry.existingSecret }}
          items:
          {{- range $key, $in := $entry.keys }}
            - key: {{ $in }}
              path: credentials/{{ $name }}/{{ $key }}
          {{- end }}
    {{- end }}
    {{- with .Values.registration.existingSecret }}
      - secret:
          name: {{ . }}
          items:
            - key: {{ $.Values.registration.key }}
              path: registration/token
    {{- end }}
{{- end }}
{{- with include "dbtask.webSecretName" . }}
- name: web
  projected:
    defaultMode: 0440
    sources:
      - secret:
          name: {{ . }}
    {{- with $.Values.web.tls }}
    {{- if .existingSecret }}
      - secret:
          name: {{ .existingSecret }}
          items:
            - key: tls.crt
              path: tls.crt
            - key: tls.key
              path: tls.key
            {{- with .clientCaKey }}
            - key: {{ . }}
              path: client-ca.crt
            {{- end }}
    {{- end }}
    {{- end }}
{{- end }}
{{- with .Values.workloadIdentity.huawei }}
{{- if .idpId }}
- name: huawei-identity
  projected:
    defaultMode: 0440
    sources:
      - serviceAccountToken:
          path: token
          audience: {{ .audience }}
          expirationSeconds: {{ int .tokenExpiration }}
{{- end }}
{{- end }}
{{- with .Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "dbtask.volumeMounts" -}}
- name: config
  mountPath: /etc/dbtask-exporter/config
  readOnly: true
- name: journal
  mountPath: /var/lib/dbtask-exporter
{{- if or .Values.credentials .Values.registration.existingSecret }}
- name: secrets
  mountPath: /etc/dbtask-exporter/secrets
  readOnly: true
{{- end }}
{{- if include "dbtask.webSecretName" . }}
- name: web
  mountPath: /etc/dbtask-exporter/web
  readOnly: true
{{- end }}
{{- if .Values.workloadIdentity.huawei.idpId }}
- name: huawei-identity
  mountPath: /var/run/secrets/huawei-identity
  readOnly: true
{{- end }}
{{- with .Values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end -}}
