{{/* Variables of a container: takes the root, and one of the components. */}}
{{- define "isthmus.env" -}}
{{- $values := .root.Values -}}
- {name: ISTHMUS_TRANSPORTS, value: {{ .one.transports | quote }}}
- {name: ISTHMUS_DRAIN__NOTICE_S, value: {{ $values.drain.noticeSeconds | quote }}}
- {name: ISTHMUS_DRAIN__DEADLINE_S, value: {{ $values.drain.deadlineSeconds | quote }}}
{{- with $values.gitlab.url }}
- {name: AIGW_GITLAB_URL, value: {{ . | quote }}}
{{- end }}
{{- with $values.gitlab.apiUrl }}
- {name: AIGW_GITLAB_API_URL, value: {{ . | quote }}}
{{- end }}
{{- if $values.config }}
- {name: ISTHMUS_CONFIG, value: /etc/isthmus/config/isthmus.yml}
{{- end }}
{{- if and (not (include "isthmus.sqlite" .root)) $values.migrations.enabled }}
- {name: ISTHMUS_DATABASE__MIGRATE, value: "false"}
{{- end }}
{{- if and .one.http (not .one.grpc) }}
- {name: ISTHMUS_PLATFORM__URL, value: "{{ include "isthmus.fullname" .root }}-platform:{{ $values.service.grpc }}"}
- {name: ISTHMUS_PLATFORM__SECURE, value: {{ not (empty $values.tls.secretName) | quote }}}
{{- end }}
{{- if $values.tls.secretName }}
{{- range list "AIGW_FASTAPI__" "DUO_WORKFLOW_" }}
- {name: {{ . }}TLS__ENABLED, value: "true"}
- {name: {{ . }}TLS__CERT_FILE, value: /etc/isthmus/tls/tls.crt}
- {name: {{ . }}TLS__KEY_FILE, value: /etc/isthmus/tls/tls.key}
{{- end }}
{{- end }}
{{- with $values.certificateAuthority }}{{ if or .configMap .secretName }}
- {name: ISTHMUS_OUTBOUND__CA_FILE, value: {{ printf "/etc/isthmus/authority/%s" .key | quote }}}
{{- end }}{{ end }}
- {name: ISTHMUS_RUNNERS__KIND, value: {{ ternary "kubernetes" "none" $values.runners.enabled }}}
{{- if $values.runners.enabled }}
- {name: ISTHMUS_RUNNERS__KUBERNETES__NAMESPACE, value: {{ $values.runners.namespace | quote }}}
- {name: ISTHMUS_RUNNERS__KUBERNETES__IMAGE, value: {{ default (include "isthmus.image" .root) $values.runners.image | quote }}}
{{- end }}
{{- include "isthmus.secretEnv" (dict "root" .root "migrating" false) }}
{{- with $values.extraEnvironmentVariables }}
{{ toYaml . }}
{{- end }}
{{- end -}}
