package v1alpha1_test

import "strings"

// publishedModulus is of the key of RFC 7517 appendix A.1, from where the fixture's EC key is too.
const publishedModulus = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3" +
	"oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5" +
	"hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw"

// fixtures are valid objects that use every field, without their names.
var fixtures = map[string]string{
	"TokenIssuer": `
spec:
  url: https://tokens.example.com/m2m
  signing:
    algorithms: [ES256, RS256]
    rotationInterval: 720h
    revision: "2026-11"
    revokedKeys: [NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs]
  tokens: {defaultLifetime: 1h, maxLifetime: 24h}
  tls: {secretName: tokens.example.com}
  identifiers:
    reserved: [{prefix: "https://pay.example.com/", namespaces: [payments]}]
    others: Allow
  trustedProxies: [10.0.0.0/8, "2001:db8::/32"]
  revokeTokensIssuedBefore: "2026-06-01T00:00:00Z"
  maxStaleness: 15m
  deployment:
    replicas: 3
    resources: {requests: {cpu: 100m}, limits: {memory: 1Gi}}
    nodeSelector: {kubernetes.io/os: linux}
    tolerations: [{key: dedicated, operator: Exists, effect: NoSchedule}]
    affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: [{matchExpressions: [{key: zone, operator: In, values: [a]}]}]}}}
    topologySpreadConstraints: [{maxSkew: 1, topologyKey: zone, whenUnsatisfiable: DoNotSchedule}]
    priorityClassName: system-cluster-critical
    podLabels: {team: platform}
    podAnnotations: {example.com/note: hello}
`,
	"ApiResource": `
spec:
  issuerRef: {name: default}
  identifier: https://courses.example.com/api
  displayName: Course management
  scopes:
  - {name: "courses:read", description: Read courses}
  - {name: "courses:publish"}
  scopeSyntax: Exact
  authorization: Required
  partialGrants: Allow
  roles:
  - {name: publisher, description: Publishes courses, scopes: ["courses:read", "courses:publish"]}
  - {name: reader, scopes: ["courses:read"]}
  rules: [{expression: "client.namespace != 'sandbox'", message: sandbox may not call this API}]
  claims: [{name: scp, expression: scopes}, {name: gty, expression: "'client-credentials'"}]
  token: {lifetime: 15m, signingAlgorithm: RS256}
`,
	"M2MClient": `
spec:
  issuerRef: {name: default}
  displayName: Course publisher
  description: Publishes approved courses every night
  suspend: false
  tokenLifetime: 10m
  defaultAudience: https://courses.example.com/api
  authentication: [ClientSecret, PrivateKeyJWT, ServiceAccount]
  jwks:
    keys:
    - kty: EC
      kid: "2026"
      alg: ES256
      use: sig
      key_ops: [verify]
      crv: P-256
      x: MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4
      "y": 4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM
    - {kty: RSA, e: AQAB, "n": "` + publishedModulus + `"}
  serviceAccountName: publisher
  revokeTokensIssuedBefore: "2026-06-01T00:00:00Z"
  requests: [{apiResource: {namespace: courses, name: course-api}, scopes: ["courses:publish"]}]
  credential:
    secretName: publisher-credentials
    rotation: {interval: 720h, overlap: 24h}
    revision: "2026-11"
    revokedIDs: [0123456789abcdef]
`,
	"ScopeGrant": `
spec:
  apiResourceRef: {name: course-api}
  subjects:
  - namespace: fleet
    selector:
      matchLabels: {kind: sensor}
      matchExpressions: [{key: site, operator: In, values: [north, south]}]
  - {namespace: jobs, name: publisher}
  scopes: ["courses:read", "courses:publish"]
  roles: [publisher]
  conditions: [{expression: "request.source != ''", message: only from somewhere}]
  notBefore: "2026-01-01T00:00:00Z"
  expiresAt: "2027-01-01T00:00:00Z"
  suspend: false
`,
}

// refusals are what must be refused, by kind.
var refusals = map[string][]refusal{
	"TokenIssuer": tokenIssuerRefusals(),
	"ApiResource": apiResourceRefusals(),
	"M2MClient":   m2mClientRefusals(),
	"ScopeGrant":  scopeGrantRefusals(),
}

func concat(tables ...[]refusal) []refusal {
	var out []refusal
	for _, table := range tables {
		out = append(out, table...)
	}
	return out
}

// refuse is a list of examples of one rule: values that must not be at its path.
func refuse(rule string, values ...string) []refusal {
	path, _, _ := strings.Cut(rule, " ")
	var out []refusal
	for _, value := range values {
		example := value
		if len(value) > 40 {
			example = value[:10] + "..."
		}
		out = append(out, refusal{rule: rule, example: example, change: set(at(path), value)})
	}
	return out
}

// tooLong has one character more than the field may hold.
func tooLong(path string, limit int) []refusal {
	return refuse(path+" maxLength", strings.Repeat("a", limit+1))
}

// missing is a refusal of an object without the field.
func missing(path string) []refusal {
	return []refusal{{rule: path + " required", example: "absent", change: unset(at(path))}}
}

// text is what every text for people refuses.
func text(path string, limit int) []refusal {
	return concat(refuse(path+" minLength", ""), tooLong(path, limit))
}

// label is what every name without dots refuses.
func label(path string, limit int) []refusal {
	return concat(
		refuse(path+" minLength", ""),
		tooLong(path, limit),
		refuse(path+" pattern", "Upper", "under_score", "-dash", "dash-", "a.b", "a b", "a/b", "a\n", "*"),
	)
}

// subdomain is what every name with dots refuses.
func subdomain(path string, limit int) []refusal {
	return concat(
		refuse(path+" minLength", ""),
		tooLong(path, limit),
		refuse(path+" pattern", "Upper", "under_score", "-dash", "dash-", "a..b", ".a", "a.", "a b", "../a", "*"),
	)
}

// period is what every duration refuses.
func period(path string) []refusal {
	return concat(
		refuse(path+" minLength", "", "1"),
		tooLong(path, 32),
		refuse(path+" pattern", "abc", "1.5h", "-1h", "10", "1500ms", "1h 30m", "30m1h", "1d", "+1h", "999999h", "١٠m"),
	)
}

// lifetime is what every lifetime of a token refuses.
func lifetime(path string) []refusal {
	return concat(
		period(path),
		refuse(path+" cel: must be between 10s and 24h", "5s", "9s", "0s", "25h", "24h1s", "86401s", "99999h"),
	)
}

// audience is what every identifier of an API refuses.
func audience(path string) []refusal {
	return concat(
		refuse(path+" minLength", "", "a:"),
		refuse(path+" maxLength", "https://"+strings.Repeat("a", 505)),
		refuse(path+" pattern", "courses", "/courses", "//courses.example.com", "https:", "https://a.example/api#fragment",
			"https://a.example/my api", "https://a.example/\n", "https://a.example/é", "https://a.example/\"",
			"https://a.example/\\", "https://a.example/%", "https://a.example/%zz", "1a:b", ":a:b"),
	)
}

// scopeName is what every scope refuses: RFC 6749 section 3.3 leaves out the space, the quote and the backslash.
func scopeName(path string) []refusal {
	return concat(
		refuse(path+" minLength", ""),
		tooLong(path, 128),
		refuse(path+" pattern", "courses read", `courses"read`, `courses\read`, "courses:läsa", " courses", "courses\n", "\t",
			"\x7f"),
	)
}
