// Package conformance tests the token server from outside: a real server on a real TLS port, fed with objects as the
// API server would send them, asked over the wire. There is one test at least for every statement of the project's
// conformance checklist, which numbers what the OAuth standards ask of a token server, and its id is in the test's name:
// T transport, C client authentication, SA tokens of ServiceAccounts, S grants, scopes and resources, R responses,
// A access tokens, JWKS, M metadata, I introspection.
package conformance
