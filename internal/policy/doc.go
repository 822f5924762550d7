// Package policy evaluates the expressions of the Common Expression Language (CEL) in ScopeGrants and ApiResources:
// conditions, which are boolean, and claims, which are any JSON value. What an expression may look at, what it may cost
// and how large its answer may be is bounded: most of it when the expression is compiled, the rest for each request.
//
// The package is pure: the same input has the same answer. An expression that fails has no answer but an error, and
// whoever asks must refuse.
package policy
