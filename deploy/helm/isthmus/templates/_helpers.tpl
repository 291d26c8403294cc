{{- define "isthmus.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "isthmus.selector" -}}
app.kubernetes.io/name: {{ default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "isthmus.labels" -}}
{{ include "isthmus.selector" . }}
app.kubernetes.io/version: {{ default .Chart.AppVersion .Values.image.tag | trunc 63 | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "isthmus.image" -}}
{{- with .Values.image -}}
{{- if .digest }}{{ .repository }}@{{ .digest }}{{ else }}{{ .repository }}:{{ default $.Chart.AppVersion .tag }}{{ end -}}
{{- end -}}
{{- end -}}

{{- define "isthmus.serviceAccount" -}}
{{- with .Values.serviceAccount -}}
{{- ternary (default (include "isthmus.fullname" $) .name) (default "default" .name) .create -}}
{{- end -}}
{{- end -}}

{{- define "isthmus.sqlite" -}}
{{- if not .Values.database.existingSecret }}true{{ end -}}
{{- end -}}

{{- define "isthmus.signingSecret" -}}
{{- default (printf "%s-signing-key" (include "isthmus.fullname" .)) .Values.signingKey.existingSecret -}}
{{- end -}}

{{/* The deployments: their names, transports, values, and the listeners that each has. */}}
{{- define "isthmus.components" -}}
{{- if eq .Values.mode "split" -}}
- {name: gateway, suffix: -gateway, transports: http, values: gateway, http: true, grpc: false}
- {name: platform, suffix: -platform, transports: grpc, values: platform, http: false, grpc: true}
{{- else -}}
- {name: server, suffix: "", transports: "http,grpc", values: gateway, http: true, grpc: true}
{{- end -}}
{{- end -}}

{{/* What is wrong with the values as a whole; the schema looks at each alone. */}}
{{- define "isthmus.check" -}}
{{- if include "isthmus.sqlite" . -}}
{{- if eq .Values.mode "split" }}{{ fail "mode: split needs PostgreSQL: set database.existingSecret" }}{{ end -}}
{{- if gt (int .Values.gateway.replicas) 1 }}{{ fail "gateway.replicas: more than one needs PostgreSQL: set database.existingSecret" }}{{ end -}}
{{- if .Values.gateway.autoscaling.enabled }}{{ fail "gateway.autoscaling: needs PostgreSQL: set database.existingSecret" }}{{ end -}}
{{- end -}}
{{- end -}}

{{- define "isthmus.podSecurity" -}}
runAsNonRoot: true
seccompProfile: {type: RuntimeDefault}
{{- if .Values.podSecurityContext.fsGroup }}
# Else the key on the volume would be made writable for the group at each start.
fsGroupChangePolicy: OnRootMismatch
{{- end }}
{{- with .Values.podSecurityContext }}
{{- range $name, $value := . }}
{{- if not (kindIs "invalid" $value) }}
{{ $name }}: {{ toJson $value }}
{{- end }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "isthmus.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end -}}

{{/* Secret settings as files: variable, secret and key of each. Takes the root and who asks. */}}
{{- define "isthmus.secretFiles" -}}
{{- with .root.Values.database }}{{ if .existingSecret }}
- {variable: ISTHMUS_DATABASE__URL, secretName: {{ .existingSecret | quote }}, key: {{ .key | quote }}}
{{- end }}{{ end }}
{{- if not .migrating }}
{{- with .root.Values.valkey }}{{ if .existingSecret }}
- {variable: ISTHMUS_LIMITS__URL, secretName: {{ .existingSecret | quote }}, key: {{ .key | quote }}}
{{- end }}{{ end }}
- {variable: DUO_WORKFLOW_SELF_SIGNED_JWT__SIGNING_KEY, secretName: {{ include "isthmus.signingSecret" .root | quote }}, key: {{ .root.Values.signingKey.key | quote }}}
{{- range .root.Values.secrets }}
- {variable: {{ .variable | quote }}, secretName: {{ .secretName | quote }}, key: {{ .key | quote }}}
{{- end }}
{{- end }}
{{- end -}}

{{- define "isthmus.secretVolume" -}}
{{- $files := include "isthmus.secretFiles" . | fromYamlArray -}}
{{- if $files -}}
- name: secrets
  projected:
    defaultMode: 0440
    sources:
    {{- range $files }}
    - secret: {name: {{ .secretName | quote }}, items: [{key: {{ .key | quote }}, path: {{ .variable | quote }}}]}
    {{- end }}
{{- end -}}
{{- end -}}

{{- define "isthmus.secretEnv" -}}
{{- range include "isthmus.secretFiles" . | fromYamlArray }}
- {name: {{ .variable }}_FILE, value: /etc/isthmus/secrets/{{ .variable }}}
{{- end }}
{{- end -}}
