{{- define "exporter.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/* 52 characters leave room for the suffixes of pods and dashboards. */}}
{{- define "exporter.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 52 | trimSuffix "-" -}}
{{- else if contains (include "exporter.name" .) .Release.Name -}}
{{- .Release.Name | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "exporter.name" .) | trunc 52 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "exporter.selectorLabels" -}}
app.kubernetes.io/name: {{ include "exporter.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "exporter.labels" -}}
{{ include "exporter.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/part-of: marketing-messages
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "exporter.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end -}}

{{- define "exporter.configMapName" -}}
{{- .Values.existingConfigMap | default (include "exporter.fullname" .) -}}
{{- end -}}

{{- define "exporter.tokensName" -}}
{{- .Values.tokens.existingSecret | default (printf "%s-tokens" (include "exporter.fullname" .)) -}}
{{- end -}}

{{/* Name of the Secret with the web config file; empty without one. */}}
{{- define "exporter.webConfigName" -}}
{{- if .Values.existingWebConfigSecret -}}
{{- .Values.existingWebConfigSecret -}}
{{- else if .Values.webConfig -}}
{{- printf "%s-web" (include "exporter.fullname" .) -}}
{{- end -}}
{{- end -}}

{{- define "exporter.isOpenShift" -}}
{{- if or (eq .Values.openshift "always") (and (eq .Values.openshift "auto") (.Capabilities.APIVersions.Has "security.openshift.io/v1")) -}}
true
{{- end -}}
{{- end -}}

{{/* Action of a probe. Arguments: the root context and the path. */}}
{{- define "exporter.probe" -}}
{{- $root := index . 0 -}}
{{- if $root.Values.probes.healthPort -}}
httpGet:
  path: {{ index . 1 }}
  port: health
{{- else if include "exporter.webConfigName" $root -}}
exec:
  command:
    - /marketing-messages-exporter
    - healthcheck
    - --web.listen-address=:{{ $root.Values.service.port }}
    - --web.config.file=/etc/marketing-messages-exporter-web/web.yaml
{{- else -}}
httpGet:
  path: {{ index . 1 }}
  port: metrics
{{- end -}}
{{- end -}}
