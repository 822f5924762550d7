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

// Change is one line of a Diff.
type Change struct {
	// Sign is Gains, Loses or Differs.
	Sign   string `json:"sign"`
	Client string `json:"client"`
	// Scope that the change is about; "" if it is about all tokens of the client for the API.
	Scope    string `json:"scope,omitempty"`
	API      string `json:"api"`
	Audience string `json:"audience"`
	// Detail says what changes, or why.
	Detail string `json:"detail,omitempty"`
	// Before and After are the ways in which the client has the scope.
	Before []Way `json:"before,omitempty"`
	After  []Way `json:"after,omitempty"`
	// Widens is true if somebody could do afterwards what could not be done before, or for longer, or on fewer conditions.
	Widens bool `json:"widens"`
}

// Diff is what a change of objects does to what clients may do.
type Diff struct {
	Changes []Change `json:"changes"`
	// Widens is true if one of the changes does.
	Widens bool     `json:"widens"`
	Notes  []string `json:"notes,omitempty"`
}

// Compare says what becomes of everybody's access.
func Compare(before, after World) Diff {
	out := Diff{Changes: []Change{}}
	c := comparison{before: before, after: after, known: map[pair][]finding{}}
	for _, key := range clientsOf(before, after) {
		out.Changes = append(out.Changes, c.client(key)...)
	}
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
		f.Scope, f.Before, f.After, f.Widens = h.name, h.before, h.after, h.widens
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
		f.Sign, f.Detail, f.Widens = Differs, fmt.Sprintf(format, args...), widens
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
