package review

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/types"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/internal/access"
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
	for _, key := range clientsOf(before, after) {
		old, now := before.Client(key), after.Client(key)
		had, has := map[string]Access{}, map[string]Access{}
		if old != nil {
			had = byAudience(before.accessOf(old, question{}))
		}
		if now != nil {
			has = byAudience(after.accessOf(now, question{}))
		}
		audiences := slices.Compact(slices.Sorted(slices.Values(append(sortedKeys(had), sortedKeys(has)...))))
		for _, audience := range audiences {
			out.Changes = append(out.Changes, compare(key, had[audience], has[audience], after)...)
		}
	}
	out.Widens = slices.ContainsFunc(out.Changes, func(c Change) bool { return c.Widens })
	return out
}

func clientsOf(worlds ...World) []types.NamespacedName {
	keys := map[types.NamespacedName]bool{}
	for _, w := range worlds {
		for _, client := range w.Clients() {
			keys[keyOf(client, client.Name)] = true
		}
	}
	return slices.SortedFunc(maps.Keys(keys), func(a, b types.NamespacedName) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
}

func byAudience(list []Access) map[string]Access {
	out := map[string]Access{}
	for _, a := range list {
		out[a.Audience] = a
	}
	return out
}

func waysOf(a Access) map[string][]Way {
	out := map[string][]Way{}
	for _, s := range a.Scopes {
		out[s.Name] = s.Ways
	}
	return out
}

// compare finds the changes of one client at one audience.
func compare(client types.NamespacedName, had, has Access, after World) []Change {
	about := Change{Client: client.Namespace + "." + client.Name, API: cmp.Or(has.API, had.API), Audience: cmp.Or(has.Audience, had.Audience)}
	var out []Change
	old, now := waysOf(had), waysOf(has)
	for _, scope := range slices.Compact(slices.Sorted(slices.Values(append(sortedKeys(old), sortedKeys(now)...)))) {
		c := about
		c.Scope, c.Before, c.After = scope, old[scope], now[scope]
		switch before, afterwards := spansOf(c.Before, had.Rules), spansOf(c.After, has.Rules); {
		case len(before) == 0:
			c.Sign, c.Widens, c.Detail = Gains, true, describeWays(c.After, has.Rules)
		case len(afterwards) == 0:
			c.Sign, c.Detail = Loses, lost(client, c, after)
		case covered(before, afterwards) && covered(afterwards, before):
			continue
		default:
			c.Sign, c.Widens = Differs, !covered(afterwards, before)
			c.Detail = describeWays(c.After, has.Rules) + "; was: " + describeWays(c.Before, had.Rules)
		}
		out = append(out, c)
	}
	if had.TokenLifetime != has.TokenLifetime && had.TokenLifetime != "" && has.TokenLifetime != "" {
		c := about
		c.Sign, c.Detail = Differs, fmt.Sprintf("tokens live %s; was: %s", has.TokenLifetime, had.TokenLifetime)
		c.Widens = duration(has.TokenLifetime) > duration(had.TokenLifetime)
		out = append(out, c)
	}
	return out
}

// lost says why a scope that a client had is gone.
func lost(client types.NamespacedName, c Change, after World) string {
	by := grantsOf(c.Before)
	now := after.Client(client)
	if now == nil {
		return by + "; M2MClient " + client.String() + " is gone"
	}
	namespace, name, _ := strings.Cut(c.API, "/")
	for _, lack := range after.lacking(now, types.NamespacedName{Namespace: namespace, Name: name}, []string{c.Scope}) {
		if lack.Reason != access.ReasonNotGranted {
			return by + "; " + lack.Message
		}
	}
	if gone := goneOf(c.Before, after); gone != "" {
		return by + "; " + gone
	}
	return by + "; it gives it no longer"
}

// goneOf says which of the grants are not there any more.
func goneOf(ways []Way, after World) string {
	for _, way := range ways {
		namespace, name, _ := strings.Cut(way.Grant, "/")
		if way.Grant != "" && after.Grant(types.NamespacedName{Namespace: namespace, Name: name}) == nil {
			return "ScopeGrant " + way.Grant + " is gone"
		}
	}
	return ""
}

// grantsOf is "grant courses/nightly-publisher", or "grants ..., ...".
func grantsOf(ways []Way) string {
	var names []string
	for _, way := range ways {
		if way.Grant != "" && !slices.Contains(names, way.Grant) {
			names = append(names, way.Grant)
		}
	}
	switch len(names) {
	case 0:
		return "authorization: " + string(v1alpha1.AuthorizationAnyClient)
	case 1:
		return "grant " + names[0]
	}
	return "grants " + strings.Join(names, ", ")
}
