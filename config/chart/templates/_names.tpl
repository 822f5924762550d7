{{- define "m2m-operator.image" -}}
{{- $tag := .Values.image.tag | default .Chart.AppVersion -}}
{{- with .Values.image.digest -}}
{{ $.Values.image.repository }}@{{ . }}
{{- else -}}
{{ .Values.image.repository }}:{{ $tag }}
{{- end -}}
{{- end -}}

{{- /* An object from files/, in the install namespace, and with the labels and the authorization of the values. */ -}}
{{- define "m2m-operator.file" -}}
{{- range $document := regexSplit "(?m)^---$" (.root.Files.Get .file) -1 -}}
{{- $object := fromYaml $document -}}
{{- with $object.metadata.namespace -}}
{{- $_ := set $object.metadata "namespace" $.root.Values.namespace -}}
{{- end -}}
{{- if has $object.kind $.labelled -}}
{{- $_ := set $object.metadata "labels" (merge (dict) $.labels ($object.metadata.labels | default dict)) -}}
{{- if $.authorization -}}
{{- range $object.spec.endpoints -}}
{{- if hasKey . "bearerTokenFile" -}}
{{- $_ := unset . "bearerTokenFile" -}}
{{- $_ := set . "authorization" $.authorization -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end }}
---
{{ toYaml $object }}
{{- end -}}
{{- end -}}
