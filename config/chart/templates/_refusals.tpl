{{- /* What the schema of the values cannot say, and the manager would be told by the API server only. */ -}}
{{- define "m2m-operator.refusals" -}}
{{- $spec := .Values.tokenIssuer.spec -}}
{{- if and $spec (not .Values.tokenIssuer.create) -}}
{{- fail "tokenIssuer.spec is what tokenIssuer.create=true makes a TokenIssuer with: leave it out, or apply one with that spec yourself" -}}
{{- end -}}
{{- $tokens := $spec.tokens | default dict -}}
{{- $signing := $spec.signing | default dict -}}
{{- include "m2m-operator.between" (list "maxStaleness" $spec.maxStaleness "2m" "") -}}
{{- include "m2m-operator.between" (list "signing.rotationInterval" $signing.rotationInterval "1h" "8760h") -}}
{{- include "m2m-operator.between" (list "tokens.maxLifetime" $tokens.maxLifetime "10s" "24h") -}}
{{- include "m2m-operator.between" (list "tokens.defaultLifetime" $tokens.defaultLifetime "10s" ($tokens.maxLifetime | default "24h")) -}}
{{- end -}}

{{- /* A field of the spec, its value, and the shortest and the longest duration that it may have. */ -}}
{{- define "m2m-operator.between" -}}
{{- $field := index . 0 -}}
{{- with index . 1 -}}
{{- $value := include "m2m-operator.seconds" . | int64 -}}
{{- if lt $value (include "m2m-operator.seconds" (index $ 2) | int64) -}}
{{- printf "tokenIssuer.spec.%s: %s is shorter than %s" $field . (index $ 2) | fail -}}
{{- end -}}
{{- if and (index $ 3) (gt $value (include "m2m-operator.seconds" (index $ 3) | int64)) -}}
{{- printf "tokenIssuer.spec.%s: %s is longer than %s" $field . (index $ 3) | fail -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- /* There is no function for the length of a duration, but one for the time that it ends at. */ -}}
{{- define "m2m-operator.seconds" -}}
{{- toDate "2006-01-02" "2001-01-01" | mustDateModify . | unixEpoch -}}
{{- end -}}
