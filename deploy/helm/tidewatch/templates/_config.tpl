{{/*
What services are told by ConfigMap: {root, name} > lines of data. `common`, `kafka` and `store` are shared by those
services that know these settings; every service has one of its own besides.
*/}}

{{/* The settings of a map; a number stays as it was written, however large. */}}
{{- define "tidewatch.settings" -}}
{{- range $name, $value := . }}
{{ $name }}: {{ if kindIs "float64" $value }}{{ $value | int64 | toString | quote }}{{ else }}{{ $value | toString | quote }}{{ end }}
{{- end }}
{{- end -}}

{{- define "tidewatch.config" -}}
{{- $v := .root.Values -}}
{{- $full := include "tidewatch.fullname" .root -}}
{{- if eq .name "common" -}}
RUST_LOG: {{ $v.log.level | quote }}
TIDEWATCH_LOG_FORMAT: {{ $v.log.format | quote }}
TIDEWATCH_DRAIN_TIMEOUT: {{ $v.drainTimeout | quote }}
TIDEWATCH_ADMIN_LISTEN: {{ printf "%s:9090" $v.listenAddress | quote }}
{{- else if eq .name "kafka" -}}
TIDEWATCH_KAFKA_BROKERS: {{ join "," $v.kafka.brokers | quote }}
TIDEWATCH_TOPIC_PREFIX: {{ $v.kafka.topicPrefix | quote }}
TIDEWATCH_KAFKA_SECURITY: {{ $v.kafka.security | quote }}
TIDEWATCH_KAFKA_SESSION_TIMEOUT: {{ $v.kafka.sessionTimeout | quote }}
{{- if $v.kafka.ca.secret }}
TIDEWATCH_KAFKA_CA: /etc/tidewatch/kafka-ca/ca.crt
{{- end }}
{{- if hasPrefix "sasl" $v.kafka.security }}
TIDEWATCH_KAFKA_SASL_MECHANISM: {{ $v.kafka.sasl.mechanism | quote }}
{{- end }}
{{- else if eq .name "store" -}}
{{- with $v.postgresql.url }}
TIDEWATCH_POSTGRES_URL: {{ . | quote }}
{{- end }}
{{- with $v.redis.url }}
TIDEWATCH_REDIS_URL: {{ . | quote }}
{{- end }}
{{- include "tidewatch.settings" $v.postgresql.settings }}
{{- include "tidewatch.settings" $v.redis.settings }}
{{- else if eq .name "ingest" -}}
TIDEWATCH_INGEST_LISTEN: {{ printf "%s:8081" $v.listenAddress | quote }}
TIDEWATCH_INGEST_COLLECT: "false"
{{- include "tidewatch.settings" $v.ingest.settings }}
{{- else if eq .name "collector" -}}
# The node's network is shared: a door that only the node itself can reach, at any free port.
TIDEWATCH_INGEST_LISTEN: "127.0.0.1:0"
TIDEWATCH_INGEST_COLLECT: "true"
TIDEWATCH_INGEST_PROC_ROOT: /host/proc
TIDEWATCH_INGEST_SYS_ROOT: /host/sys
TIDEWATCH_INGEST_HOST_ROOT: /host/root
{{- include "tidewatch.settings" $v.collector.settings }}
{{- else if eq .name "stream-processor" -}}
{{- if $v.streamProcessor.filters }}
TIDEWATCH_WINDOW_FILTERS: /etc/tidewatch/filters/filters.yaml
{{- end }}
{{- include "tidewatch.settings" $v.streamProcessor.settings }}
{{- else if eq .name "analyzer" -}}
{{- if $v.analyzer.rules }}
TIDEWATCH_ANALYZER_RULES: /etc/tidewatch/rules/rules.yaml
{{- end }}
{{- include "tidewatch.settings" $v.analyzer.settings }}
{{- else if eq .name "notify" -}}
{{- with $v.notify.alertmanagers }}
TIDEWATCH_NOTIFY_ALERTMANAGER: {{ join "," . | quote }}
{{- end }}
{{- $ingress := printf "%s://%s" (ternary "https" "http" (ne $v.ingress.tlsSecret "")) $v.ingress.host }}
{{- with $v.notify.link | default (ternary $ingress "" $v.ingress.enabled) }}
TIDEWATCH_NOTIFY_LINK: {{ . | quote }}
{{- end }}
{{- include "tidewatch.settings" $v.notify.settings }}
{{- else if eq .name "sink" -}}
{{- include "tidewatch.settings" $v.sink.settings }}
{{- else if eq .name "visualizer" -}}
TIDEWATCH_VISUALIZER_LISTEN: {{ printf "%s:8082" $v.listenAddress | quote }}
{{- include "tidewatch.settings" $v.visualizer.settings }}
{{- else if eq .name "gateway" -}}
TIDEWATCH_GATEWAY_LISTEN: {{ printf "%s:8080" $v.listenAddress | quote }}
TIDEWATCH_KEYS: {{ printf "/etc/tidewatch/keys/%s" (include "tidewatch.keysFile" .root) }}
# Headless Services: their names stand for the addresses of all instances, which the gateway balances over itself.
TIDEWATCH_INGEST_UPSTREAMS: {{ printf "%s-ingest:8081" $full | quote }}
TIDEWATCH_VISUALIZER_UPSTREAMS: {{ printf "%s-visualizer:8082" $full | quote }}
{{- include "tidewatch.settings" $v.gateway.settings }}
{{- end -}}
{{- end -}}

{{- define "tidewatch.keysFile" -}}
{{- if .Values.gateway.keys.secret }}{{ .Values.gateway.keys.key }}{{ else }}keys.yaml{{ end -}}
{{- end -}}

{{/* Whether alerts are sent to somebody; nothing = no. */}}
{{- define "tidewatch.notifies" -}}
{{- if or .Values.notify.alertmanagers .Values.notify.webhooks.secret }}true{{ end -}}
{{- end -}}

{{/* Which services there are, and which shared settings each knows. */}}
{{- define "tidewatch.services" -}}
ingest: [common, kafka, ingest]
{{- if .Values.collector.enabled }}
collector: [common, kafka, collector]
{{- end }}
stream-processor: [common, kafka, stream-processor]
analyzer: [common, kafka, analyzer]
{{- if include "tidewatch.notifies" . }}
notify: [common, kafka, notify]
{{- end }}
sink: [common, kafka, store, sink]
visualizer: [common, kafka, store, visualizer]
gateway: [common, gateway]
{{- end -}}

{{/* What the schema can't say in words a person understands. */}}
{{- define "tidewatch.validate" -}}
{{- range $name := list "postgresql" "redis" -}}
{{- $peer := index $.Values $name -}}
{{- if and (not $peer.url) (not $peer.secret.name) }}{{ fail (printf "%s.url or %s.secret.name has to be set" $name $name) }}{{ end -}}
{{- if and $peer.url $peer.secret.name }}{{ fail (printf "%s.url and %s.secret.name are both set: choose one" $name $name) }}{{ end -}}
{{- end -}}
{{- with .Values.gateway -}}
{{- if and (not .keys.secret) (not .keys.entries) }}{{ fail "gateway.keys.secret or gateway.keys.entries has to be set: without a key nobody can come in" }}{{ end -}}
{{- if and .keys.secret .keys.entries }}{{ fail "gateway.keys.secret and gateway.keys.entries are both set: choose one" }}{{ end -}}
{{- if and (gt (int .replicas) 1) (not .sessionSecret.name) }}{{ fail "gateway.replicas above 1 need gateway.sessionSecret.name: otherwise a browser is signed in at one instance only" }}{{ end -}}
{{- end -}}
{{- with .Values.kafka -}}
{{- if and (hasPrefix "sasl" .security) (not .sasl.secret) }}{{ fail (printf "kafka.security %s needs kafka.sasl.secret" .security) }}{{ end -}}
{{- if and (not (hasPrefix "sasl" .security)) .sasl.secret }}{{ fail (printf "kafka.sasl.secret is set, but kafka.security is %s" .security) }}{{ end -}}
{{- if and .ca.secret (not (hasSuffix "ssl" .security)) }}{{ fail (printf "kafka.ca.secret is set, but kafka.security is %s" .security) }}{{ end -}}
{{- end -}}
{{- with .Values.streamProcessor.filters -}}
{{- $filters := fromYaml . -}}
{{- if $filters.Error }}{{ fail (printf "streamProcessor.filters is no YAML: %s" $filters.Error) }}{{ end -}}
{{- if not (kindIs "slice" $filters.rules) }}{{ fail "streamProcessor.filters has no list `rules`" }}{{ end -}}
{{- end -}}
{{- with .Values.analyzer.rules -}}
{{- $rules := fromYaml . -}}
{{- if $rules.Error }}{{ fail (printf "analyzer.rules is no YAML: %s" $rules.Error) }}{{ end -}}
{{- if not (kindIs "slice" $rules.rules) }}{{ fail "analyzer.rules has no list `rules`" }}{{ end -}}
{{- end -}}
{{- end -}}
