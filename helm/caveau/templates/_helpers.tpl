{{- define "caveau.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "caveau.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" }}
{{- else if contains (include "caveau.name" .) .Release.Name }}
{{- .Release.Name | trunc 63 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name (include "caveau.name" .) | trunc 63 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "caveau.selector" -}}
app.kubernetes.io/name: {{ include "caveau.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "caveau.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{ include "caveau.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "caveau.serviceAccount" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "caveau.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "caveau.scheme" -}}
{{- if .Values.tls.enabled }}https{{ else }}http{{ end }}
{{- end }}

{{- define "caveau.host" -}}
{{- printf "%s.%s.svc" (include "caveau.fullname" .) .Release.Namespace }}
{{- end }}

{{- define "caveau.check" -}}
{{- if and .Values.tls.enabled (not .Values.tls.secretName) }}
{{- fail "tls.secretName is needed: a Secret with tls.crt and tls.key (or tls.enabled=false with tls.allowClearText=true)" }}
{{- end }}
{{- if and (not .Values.tls.enabled) (not .Values.tls.allowClearText) }}
{{- fail "without TLS tokens and secrets can be read on the way: set tls.allowClearText=true if something else encrypts" }}
{{- end }}
{{- end }}
