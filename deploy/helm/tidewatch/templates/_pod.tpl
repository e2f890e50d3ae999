{{/*
The pod of a service: {root, name, values, and where they differ: port, env, volumes, mounts, host}. The same for all:
who it runs as, what it may do, probes, and where settings come from.
*/}}

{{- define "tidewatch.podSecurity" -}}
runAsNonRoot: true
{{- with .Values.runAsUser }}
runAsUser: {{ . | int64 }}
runAsGroup: {{ . | int64 }}
fsGroup: {{ . | int64 }}
{{- end }}
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "tidewatch.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
runAsNonRoot: true
capabilities:
  drop: [ALL]
{{- end -}}

{{/* Variables that come from Secrets. */}}
{{- define "tidewatch.kafkaEnv" -}}
{{- if hasPrefix "sasl" .Values.kafka.security }}
- name: TIDEWATCH_KAFKA_USERNAME
  valueFrom:
    secretKeyRef: {name: {{ .Values.kafka.sasl.secret }}, key: {{ .Values.kafka.sasl.usernameKey }}}
- name: TIDEWATCH_KAFKA_PASSWORD
  valueFrom:
    secretKeyRef: {name: {{ .Values.kafka.sasl.secret }}, key: {{ .Values.kafka.sasl.passwordKey }}}
{{- end }}
{{- end -}}

{{- define "tidewatch.storeEnv" -}}
{{- with .Values.postgresql.secret }}{{ if .name }}
- name: TIDEWATCH_POSTGRES_URL
  valueFrom:
    secretKeyRef: {name: {{ .name }}, key: {{ .key }}}
{{- end }}{{ end }}
{{- with .Values.redis.secret }}{{ if .name }}
- name: TIDEWATCH_REDIS_URL
  valueFrom:
    secretKeyRef: {name: {{ .name }}, key: {{ .key }}}
{{- end }}{{ end }}
{{- end -}}

{{- define "tidewatch.caMounts" -}}
{{- if and (has "kafka" .needs) .root.Values.kafka.ca.secret }}
- {name: kafka-ca, mountPath: /etc/tidewatch/kafka-ca, readOnly: true}
{{- end }}
{{- if and (has "store" .needs) .root.Values.postgresql.ca.secret }}
- {name: postgresql-ca, mountPath: /etc/tidewatch/postgresql-ca, readOnly: true}
{{- end }}
{{- end -}}

{{- define "tidewatch.caVolumes" -}}
{{- if and (has "kafka" .needs) .root.Values.kafka.ca.secret }}
- name: kafka-ca
  secret:
    secretName: {{ .root.Values.kafka.ca.secret }}
    items: [{key: {{ .root.Values.kafka.ca.key }}, path: ca.crt}]
{{- end }}
{{- if and (has "store" .needs) .root.Values.postgresql.ca.secret }}
- name: postgresql-ca
  secret:
    secretName: {{ .root.Values.postgresql.ca.secret }}
    items: [{key: {{ .root.Values.postgresql.ca.key }}, path: ca.crt}]
{{- end }}
{{- end -}}

{{- define "tidewatch.probe" -}}
httpGet: {path: {{ . }}, port: admin}
timeoutSeconds: 3
{{- end -}}

{{- define "tidewatch.pod" -}}
{{- $root := .root -}}
{{- $needs := index (fromYaml (include "tidewatch.services" $root)) .name -}}
{{- $ca := dict "root" $root "needs" $needs -}}
{{- $config := "" -}}
{{- range $needs }}{{ $config = print $config (include "tidewatch.config" (dict "root" $root "name" .)) }}{{ end -}}
metadata:
  labels:
    {{- with .values.podLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
    {{- include "tidewatch.labels" $root | nindent 4 }}
    app.kubernetes.io/component: {{ .name }}
  annotations:
    {{- with .values.podAnnotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
    checksum/config: {{ sha256sum $config }}
spec:
  serviceAccountName: {{ include "tidewatch.serviceAccount" $root }}
  automountServiceAccountToken: false
  # Or the cluster would set variables such as TIDEWATCH_GATEWAY_PORT, named like settings.
  enableServiceLinks: false
  terminationGracePeriodSeconds: 45
  {{- with $root.Values.image.pullSecrets }}
  imagePullSecrets:
    {{- range . }}
    - name: {{ . }}
    {{- end }}
  {{- end }}
  securityContext:
    {{- include "tidewatch.podSecurity" $root | nindent 4 }}
  {{- if .host }}
  # /proc/net shows the network of who reads it: to see the node's, be in it.
  hostNetwork: true
  dnsPolicy: ClusterFirstWithHostNet
  {{- else }}
  topologySpreadConstraints:
    - maxSkew: 1
      topologyKey: kubernetes.io/hostname
      whenUnsatisfiable: ScheduleAnyway
      labelSelector:
        matchLabels:
          {{- include "tidewatch.selector" $root | nindent 10 }}
          app.kubernetes.io/component: {{ .name }}
  {{- end }}
  {{- with .values.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
  {{- with .values.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .values.tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .values.affinity }}
  affinity:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  containers:
    - name: {{ .name }}
      image: {{ include "tidewatch.image" $root | quote }}
      imagePullPolicy: {{ $root.Values.image.pullPolicy }}
      args: [{{ if .host }}ingest{{ else }}{{ .name }}{{ end }}]
      envFrom:
        {{- range $needs }}
        - configMapRef: {name: {{ include "tidewatch.fullname" $root }}-{{ . }}}
        {{- end }}
      {{- $env := "" }}
      {{- if has "kafka" $needs }}{{ $env = print $env (include "tidewatch.kafkaEnv" $root) }}{{ end }}
      {{- if has "store" $needs }}{{ $env = print $env (include "tidewatch.storeEnv" $root) }}{{ end }}
      {{- with .env }}{{ $env = printf "%s\n%s" $env (toYaml .) }}{{ end }}
      {{- with .values.extraEnv }}{{ $env = printf "%s\n%s" $env (toYaml .) }}{{ end }}
      {{- with trim $env }}
      env:
        {{- . | nindent 8 }}
      {{- end }}
      ports:
        {{- with .port }}
        - {name: http, containerPort: {{ . }}}
        {{- end }}
        - {name: admin, containerPort: {{ if .host }}{{ int .values.adminPort }}{{ else }}9090{{ end }}}
      {{- if eq .name "gateway" }}
      # Ready once there is an instance to hand requests to; later on a service that is away is answered for, with 503,
      # and takes no gateway out.
      startupProbe:
        {{- include "tidewatch.probe" "/readyz" | nindent 8 }}
        periodSeconds: 2
        failureThreshold: 150
      {{- end }}
      livenessProbe:
        {{- include "tidewatch.probe" "/healthz" | nindent 8 }}
        periodSeconds: 10
        failureThreshold: 3
      readinessProbe:
        {{- include "tidewatch.probe" (ternary "/healthz" "/readyz" (eq .name "gateway")) | nindent 8 }}
        periodSeconds: 5
        failureThreshold: 2
      {{- if .port }}
      # Time for those who still send here to hear that it goes.
      lifecycle:
        preStop:
          exec: {command: [sleep, "5"]}
      {{- end }}
      securityContext:
        {{- include "tidewatch.containerSecurity" $root | nindent 8 }}
      resources:
        {{- toYaml .values.resources | nindent 8 }}
      {{- $mounts := include "tidewatch.caMounts" $ca }}
      {{- with .mounts }}{{ $mounts = printf "%s\n%s" $mounts (toYaml .) }}{{ end }}
      {{- with trim $mounts }}
      volumeMounts:
        {{- . | nindent 8 }}
      {{- end }}
  {{- $volumes := include "tidewatch.caVolumes" $ca }}
  {{- with .volumes }}{{ $volumes = printf "%s\n%s" $volumes (toYaml .) }}{{ end }}
  {{- with trim $volumes }}
  volumes:
    {{- . | nindent 4 }}
  {{- end }}
{{- end -}}

{{/* The head of a Deployment, StatefulSet or DaemonSet. */}}
{{- define "tidewatch.workload" -}}
metadata:
  name: {{ include "tidewatch.fullname" .root }}-{{ .name }}
  labels:
    {{- include "tidewatch.labels" .root | nindent 4 }}
    app.kubernetes.io/component: {{ .name }}
spec:
  {{- if not .host }}
  replicas: {{ int .values.replicas }}
  {{- end }}
  selector:
    matchLabels:
      {{- include "tidewatch.selector" .root | nindent 6 }}
      app.kubernetes.io/component: {{ .name }}
  template:
    {{- include "tidewatch.pod" . | nindent 4 }}
{{- end -}}
