// Package access says who may have which scope, and is the only place where that is written. It is an in-memory index
// over all TokenIssuers, ApiResources, M2MClients and ScopeGrants, fed by Upsert and Delete in any order, and it answers
// the same whichever way it came to hold what it holds. The issuer asks Decide, the controllers ask the verdicts and
// Affected, tools ask both to explain and to preview. It decides from specs alone, does no I/O, and knows no time but
// the one that it is given.
package access
