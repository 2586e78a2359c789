{{/* Names are fixed: admission policies, RBAC and the programs know each other by name, and there is one operator in a cluster. docs/adr/0031 says why. */}}

{{/* Labels of every object. */}}
{{- define "restic-manager.labels" -}}
app.kubernetes.io/name: restic-manager
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Values.image.tag | default .Chart.AppVersion | trunc 63 | trimSuffix "-" | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "restic-manager.crdAnnotations" -}}
{{- if .Values.crds.keep }}helm.sh/resource-policy: keep{{ end }}
{{- end }}

{{- define "restic-manager.webhookAnnotations" -}}
{{- if eq .Values.webhook.certificate.mode "certManager" }}cert-manager.io/inject-ca-from: {{ .Release.Namespace }}/restic-manager-webhook{{ end }}
{{- end }}

{{- define "restic-manager.serviceMonitorLabels" -}}
{{- with .Values.monitoring.serviceMonitor.labels }}{{ toYaml . }}{{ end }}
{{- end }}

{{- define "restic-manager.serviceMonitorEndpoint" -}}
{{- with .Values.monitoring.serviceMonitor.interval }}interval: {{ . }}{{ end }}
{{- end }}

{{- define "restic-manager.prometheusRuleLabels" -}}
{{- with .Values.monitoring.prometheusRule.labels }}{{ toYaml . }}{{ end }}
{{- end }}

{{/* Labels of the Pods of a component, given as a list of the root and its name. */}}
{{- define "restic-manager.podMetadata" -}}
{{- $root := index . 0 }}{{ $name := index . 1 }}{{ $values := index $root.Values $name }}
labels:
  app.kubernetes.io/name: restic-manager
  app.kubernetes.io/component: {{ $name }}
  {{- with $root.Values.commonLabels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
  {{- with $values.podLabels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
annotations:
  kubectl.kubernetes.io/default-container: {{ $name }}
  {{- with $values.podAnnotations }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}

{{/* What the Pods of both components say of scheduling, given as a list of the root and the component's name. */}}
{{- define "restic-manager.scheduling" -}}
{{- $root := index . 0 }}{{ $name := index . 1 }}{{ $values := index $root.Values $name }}
{{- with $root.Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with $values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.topologySpreadConstraints }}
topologySpreadConstraints:
  {{- range . }}
  - {{ toYaml . | nindent 4 | trim }}
    {{- if not .labelSelector }}
    labelSelector:
      matchLabels:
        app.kubernetes.io/name: restic-manager
        app.kubernetes.io/component: {{ $name }}
    {{- end }}
  {{- end }}
{{- end }}
{{- end }}

{{- define "restic-manager.image" -}}
{{- $path := printf "%s/%s" .Values.image.registry .Values.image.repository | trimPrefix "/" }}
{{- if .Values.image.digest }}{{ $path }}@{{ .Values.image.digest }}{{ else }}{{ $path }}:{{ .Values.image.tag | default .Chart.AppVersion }}{{ end }}
{{- end }}

{{- define "restic-manager.probes" -}}
# A minute until it answers at all; it is not ready before its caches are synced, nor once it is told to stop.
startupProbe:
  httpGet: {path: /healthz, port: probes}
  periodSeconds: 2
  failureThreshold: 30
livenessProbe:
  httpGet: {path: /healthz, port: probes}
  timeoutSeconds: 5
readinessProbe:
  httpGet: {path: /readyz, port: probes}
  periodSeconds: 5
  timeoutSeconds: 5
{{- end }}

{{/* The host of gatewayURL, without its port. */}}
{{- define "restic-manager.gatewayHost" -}}
{{- regexReplaceAll ":[0-9]+$" (regexReplaceAll "/?$" (trimPrefix "https://" .Values.gatewayURL) "") "" | trimPrefix "[" | trimSuffix "]" }}
{{- end }}

{{/* The Secret with the gateway's certificate. */}}
{{- define "restic-manager.gatewaySecret" -}}
{{- $tls := .Values.gateway.tls }}
{{- if eq $tls.mode "selfManaged" }}restic-manager-gateway-tls
{{- else if eq $tls.mode "certManager" }}{{ $tls.secretName | default "restic-manager-gateway-cert-manager" }}
{{- else }}{{ $tls.secretName }}
{{- end }}
{{- end }}

{{/* Whether ca.crt of that Secret is the authority that machines pin. */}}
{{- define "restic-manager.pinned" -}}
{{- if or (eq .Values.gateway.tls.mode "selfManaged") .Values.gateway.tls.pinAuthority }}true{{ end }}
{{- end }}

{{/* Why the values cannot be installed; nothing when they can. */}}
{{- define "restic-manager.check" -}}
{{- $gateway := .Values.gateway }}
{{- if not .Values.gatewayURL }}
{{- fail "\n\ngatewayURL is required: where machines find the gateway, for instance --set gatewayURL=https://backup-gateway.example.com\n" }}
{{- end }}
{{- if and (eq $gateway.tls.mode "secret") (not $gateway.tls.secretName) }}
{{- fail "\n\ngateway.tls.mode is secret: set gateway.tls.secretName to a Secret of type kubernetes.io/tls in the release's namespace\n" }}
{{- end }}
{{- if and (eq $gateway.tls.mode "selfManaged") (or $gateway.tls.secretName $gateway.tls.pinAuthority) }}
{{- fail "\n\ngateway.tls.mode is selfManaged: leave gateway.tls.secretName and gateway.tls.pinAuthority out, or choose the mode secret or certManager\n" }}
{{- end }}
{{- if and (eq $gateway.tls.mode "certManager") (not $gateway.tls.certManager.issuerRef.name) }}
{{- fail "\n\ngateway.tls.mode is certManager: set gateway.tls.certManager.issuerRef.name to an Issuer or ClusterIssuer\n" }}
{{- end }}
{{- if include "restic-manager.pinned" . }}
{{- if $gateway.httpRoute.enabled }}
{{- fail "\n\ngateway.httpRoute ends TLS in the proxy, but machines pin the gateway's own authority and would refuse the proxy's certificate: use gateway.tlsRoute (passthrough), or a publicly trusted certificate (gateway.tls.mode secret or certManager, pinAuthority false)\n" }}
{{- end }}
{{- if and $gateway.ingress.enabled (eq $gateway.ingress.tlsMode "reencrypt") }}
{{- fail "\n\ngateway.ingress.tlsMode reencrypt ends TLS in the proxy, but machines pin the gateway's own authority and would refuse the proxy's certificate: use passthrough, or a publicly trusted certificate (gateway.tls.mode secret or certManager, pinAuthority false)\n" }}
{{- end }}
{{- end }}
{{- if and $gateway.ingress.enabled (eq $gateway.ingress.tlsMode "reencrypt") (not $gateway.ingress.tlsSecretName) }}
{{- fail "\n\ngateway.ingress.tlsMode is reencrypt: set gateway.ingress.tlsSecretName to the Secret with the proxy's certificate\n" }}
{{- end }}
{{- range tuple "httpRoute" "tlsRoute" }}
{{- $route := index $gateway . }}
{{- if and $route.enabled (not $route.parentRefs) }}
{{- fail (printf "\n\ngateway.%s.enabled is true: set gateway.%s.parentRefs to the Gateway that it joins\n" . .) }}
{{- end }}
{{- end }}
{{- end }}

{{/* What Pods may reach. */}}
{{- define "restic-manager.dnsEgress" -}}
# DNS
- ports:
  {{- range .Values.networkPolicy.dns.ports }}
  - {port: {{ . }}, protocol: UDP}
  - {port: {{ . }}, protocol: TCP}
  {{- end }}
  {{- with .Values.networkPolicy.dns.peers }}
  to:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}

{{- define "restic-manager.apiServerEgress" -}}
# API server
- ports:
  {{- range .Values.networkPolicy.apiServer.ports }}
  - port: {{ . }}
  {{- end }}
  {{- with .Values.networkPolicy.apiServer.cidrs }}
  to:
  {{- range . }}
  - ipBlock:
      cidr: {{ . }}
  {{- end }}
  {{- end }}
{{- end }}

{{- define "restic-manager.metricsIngress" -}}
{{- with .Values.networkPolicy.metrics }}
- ports:
  - port: 8080
  from:
    {{- toYaml . | nindent 4 }}
{{- end }}
{{- end }}
