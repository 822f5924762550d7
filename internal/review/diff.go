package review

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"k8s.io/apimachinery/pkg/types"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/internal/access"
	"github.com/m2m-operator/m2m-operator/internal/scope"
)

// Signs of changes.
const (
	Gains   = "+"
	Loses   = "-"
	Differs = "~"
)

// What changes are about.
const (
	// KindScope: a scope of an API that a client gains or loses, or has on other terms.
	KindScope = "scope"
	// KindTokens: all tokens of a client for an API: how long they live, and how their scopes are read.
	KindTokens = "tokens"
	// KindAuthentication: what a client is proved by, and which of its secrets and tokens are refused.
	KindAuthentication = "authentication"
	// KindClaims: what all tokens for an API tell.
	KindClaims = "claims"
	// KindIssuer: what a TokenIssuer believes, revokes, and lets ApiResources claim.
	KindIssuer = "issuer"
)

// Change is one line of a Diff.
type Change struct {
	// Sign is "+" for what a client gains, "-" for what it loses, and "~" for what is otherwise than it was.
	Sign string `json:"sign"`
	// Kind is what the change is about: "scope", "tokens", "authentication", "claims" or "issuer".
	Kind string `json:"kind"`
	// Client is the client_id; not there for claims and issuers.
	Client string `json:"client,omitempty"`
	// Issuer is the name of the TokenIssuer, for issuers.
	Issuer string `json:"issuer,omitempty"`
	// Scope that the change is about, as it is spelled in the grant, or in the ApiResource.
	Scope string `json:"scope,omitempty"`
	// API is namespace/name of the ApiResource; not there for authentication and issuers.
	API string `json:"api,omitempty"`
	// Audience is the identifier of the API; not there for authentication and issuers.
	Audience string `json:"audience,omitempty"`
	// Detail says for people what changes, or why. Its wording may change.
	Detail string `json:"detail,omitempty"`
	// Before are the ways in which the client had the scope; none for what is gained.
	Before []Way `json:"before,omitempty"`
	// After are the ways in which it has the scope; none for what is lost.
	After []Way `json:"after,omitempty"`
	// Widens is true if somebody could do afterwards what could not be done before, or for longer, or on fewer
	// conditions, or if that cannot be told.
	Widens bool `json:"widens"`
}

// Subject is whom or what the change concerns.
func (c Change) Subject() string {
	switch c.Kind {
	case KindClaims:
		return "ApiResource " + c.API
	case KindIssuer:
		return "TokenIssuer " + c.Issuer
	}
	return c.Client
}

// Diff is what a change of objects does to what clients may do.
type Diff struct {
	// Changes by client, then those of APIs and of TokenIssuers; none if nothing changes.
	Changes []Change `json:"changes"`
	// Widens is true if one of the changes does.
	Widens bool `json:"widens"`
	// Notes say what could not be seen, what was assumed, and which objects come to nothing.
	Notes []string `json:"notes,omitempty"`
}

// Compare says what becomes of everybody's access.
func Compare(before, after World) Diff {
	out := Diff{Changes: []Change{}}
	c := comparison{before: before, after: after, known: map[pair][]finding{}}
	for _, key := range clientsOf(before, after) {
		out.Changes = append(append(out.Changes, c.client(key)...), c.authentication(key)...)
	}
	out.Changes = append(append(out.Changes, c.claims()...), c.issuers()...)
	out.Widens = slices.ContainsFunc(out.Changes, func(c Change) bool { return c.Widens })
	return out
}

func clientsOf(worlds ...World) []types.NamespacedName {
	keys := map[types.NamespacedName]bool{}
	for _, w := range worlds {
		for _, ref := range w.Refs(access.KindM2MClient) {
			keys[types.NamespacedName{Namespace: ref.Namespace, Name: ref.Name}] = true
		}
	}
	return slices.SortedFunc(maps.Keys(keys), func(a, b types.NamespacedName) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
}

// comparison keeps what was found: clients that had the same and have the same differ in their names only.
type comparison struct {
	before, after World
	known         map[pair][]finding
}

// pair is what clients had and have of one audience.
type pair struct {
	had, has *timeline // nil: nothing, and no grant matches
	// issuer of the client afterwards.
	issuer string
	// gone is true for a client that can have nothing afterwards, whatever grants say.
	gone bool
}

// finding is a change without its client.
type finding struct {
	Change
	// why a scope is lost, if that is not due to the client.
	why string
}

func (c comparison) client(key types.NamespacedName) []Change {
	var out []Change
	gone := c.gone(key)
	p := pair{gone: gone != ""}
	now := c.after.Client(key)
	if now != nil {
		p.issuer = issuerOf(now.Spec.IssuerRef)
	}
	had, has := c.before.everything.of(key), c.after.everything.of(key)
	for len(had)+len(has) > 0 {
		p.had, p.has = nil, nil
		if len(has) == 0 || (len(had) > 0 && had[0].Audience <= has[0].Audience) {
			p.had = had[0]
		}
		if len(had) == 0 || (len(has) > 0 && has[0].Audience <= had[0].Audience) {
			p.has, has = has[0], has[1:]
		}
		if p.had != nil {
			had = had[1:]
		}
		found, known := c.known[p]
		if !known {
			found = c.compare(p, now)
			c.known[p] = found
		}
		for _, f := range found {
			f.Client = key.Namespace + "." + key.Name
			if f.Sign == Loses {
				f.Detail += "; " + cmp.Or(gone, f.why)
			}
			out = append(out, f.Change)
		}
	}
	return out
}

// compare finds the changes of clients at one audience, of which one is at hand.
func (c comparison) compare(p pair, client *v1alpha1.M2MClient) []finding {
	had, has := cmp.Or(p.had, &timeline{}), cmp.Or(p.has, &timeline{})
	about := Change{API: cmp.Or(has.API, had.API), Audience: cmp.Or(has.Audience, had.Audience)}
	var out []finding
	for _, h := range compareScopes(had, has) {
		f := finding{Change: about}
		f.Kind, f.Scope, f.Before, f.After, f.Widens = KindScope, h.name, h.before, h.after, h.widens
		switch {
		case len(h.before) == 0:
			f.Sign, f.Detail = Gains, describeWays(h.after, nil, has.Rules)
		case len(h.after) == 0:
			f.Sign, f.Detail = Loses, grantsOf(h.before)
		default:
			f.Sign = Differs
			f.Detail = describeWays(h.after, h.before, has.Rules) + "; was: " + describeWays(h.before, h.after, had.Rules)
		}
		out = append(out, f)
	}
	if !p.gone {
		c.explain(out, p, client)
	}
	tokens := func(widens bool, format string, args ...any) {
		f := finding{Change: about}
		f.Sign, f.Kind, f.Detail, f.Widens = Differs, KindTokens, fmt.Sprintf(format, args...), widens
		out = append(out, f)
	}
	if len(had.Scopes) == 0 || len(has.Scopes) == 0 {
		return out
	}
	if had.TokenLifetime != has.TokenLifetime {
		tokens(duration(has.TokenLifetime) > duration(had.TokenLifetime), "tokens live %s; was: %s", has.TokenLifetime, had.TokenLifetime)
	}
	if had.syntax != has.syntax {
		tokens(has.syntax == scope.Hierarchical, "scopes are read as %s; was: %s", syntaxName(has.syntax), syntaxName(had.syntax))
	}
	return out
}

func syntaxName(s scope.Syntax) v1alpha1.ScopeSyntax {
	if s == scope.Hierarchical {
		return v1alpha1.ScopeSyntaxHierarchical
	}
	return v1alpha1.ScopeSyntaxExact
}
