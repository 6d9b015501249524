{{- define "dbtask.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/* At most 50 characters: what is added to it must fit into 63. */}}
{{- define "dbtask.fullname" -}}
{{- $name := include "dbtask.name" . -}}
{{- $both := contains $name .Release.Name | ternary .Release.Name (printf "%s-%s" .Release.Name $name) -}}
{{- default $both .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- end -}}

{{- define "dbtask.serviceAccountName" -}}
{{- $usual := .Values.serviceAccount.create | ternary (include "dbtask.fullname" .) "default" -}}
{{- default $usual .Values.serviceAccount.name -}}
{{- end -}}

{{- define "dbtask.claimName" -}}
{{- default (include "dbtask.fullname" .) .Values.persistence.existingClaim -}}
{{- end -}}

{{/* What finds the pod of this release, and no other's. */}}
{{- define "dbtask.selector" -}}
app.kubernetes.io/name: {{ include "dbtask.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{/* Name, namespace, labels and annotations of an object. Called with a dict: `root`, and what the
     object has of its own: `suffix`, `namespace`, `labels`, `annotations`, and `selector`, the labels that find
     it. */}}
{{- define "dbtask.metadata" -}}
{{- $root := .root -}}
{{- $labels := dict
    "helm.sh/chart" (printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-")
    "app.kubernetes.io/version" ($root.Chart.AppVersion | replace "+" "_")
    "app.kubernetes.io/managed-by" $root.Release.Service -}}
{{- $labels = mergeOverwrite $labels (deepCopy $root.Values.commonLabels) (deepCopy (default dict .labels)) (default (include "dbtask.selector" $root | fromYaml) .selector) -}}
name: {{ include "dbtask.fullname" $root }}{{ with .suffix }}-{{ . }}{{ end }}
namespace: {{ default $root.Release.Namespace .namespace }}
labels:
  {{- toYaml $labels | nindent 2 }}
{{- with mergeOverwrite (deepCopy $root.Values.commonAnnotations) (deepCopy (default dict .annotations)) }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "dbtask.image" -}}
{{- $image := .Values.image -}}
{{- with default $image.registry .Values.global.imageRegistry }}{{ . }}/{{ end -}}
{{ $image.repository }}
{{- with $image.digest }}@{{ . }}{{ else }}:{{ default .Chart.AppVersion $image.tag }}{{ end -}}
{{- end -}}

{{- define "dbtask.pullSecrets" -}}
{{- with concat .Values.global.imagePullSecrets .Values.image.pullSecrets -}}
imagePullSecrets:
{{- range . }}
  - name: {{ kindIs "map" . | ternary (dig "name" "" (kindIs "map" . | ternary . dict)) (toString .) | quote }}
{{- end }}
{{- end }}
{{- end -}}

{{/* The pod of `helm test` is not one of the exporter's. */}}
{{- define "dbtask.testLabels" -}}
app.kubernetes.io/name: {{ include "dbtask.name" . | trunc 58 }}-test
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}
