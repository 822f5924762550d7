package review

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/types"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/internal/access"
	"github.com/m2m-operator/m2m-operator/internal/scope"
)

// holding is a scope as it is compared: two spellings of one are the same.
type holding struct {
	item scope.Item
	name string // as it was spelled first
	ways []Way
}

// difference is what becomes of a scope. One that another covers is had in the ways of that one too.
type difference struct {
	name          string
	before, after []Way
	widens        bool
}

// compareScopes says of which scopes more or less is had than before, sorted by name. A scope that is covered by what was
// had is nothing new, and one that is covered by what is had is not lost.
func compareScopes(had, has *timeline) []difference {
	syntax := has.syntax
	switch {
	case len(has.Scopes) == 0:
		syntax = had.syntax
	case len(had.Scopes) > 0 && had.syntax != has.syntax:
		syntax = scope.Exact // scopes of two syntaxes have nothing in common but their names
	}
	old, now := holdings(had, syntax), holdings(has, syntax)
	items := map[scope.Item]string{}
	for _, h := range slices.Concat(old, now) {
		items[h.item] = h.name
	}
	var out []difference
	for item, name := range items {
		d := difference{name: name, before: waysTo(old, item), after: waysTo(now, item)}
		before, after := spansOf(d.before, had.Rules), spansOf(d.after, has.Rules)
		narrows := !covered(before, after)
		d.widens = !covered(after, before)
		switch {
		case !narrows && !d.widens:
			continue
		case !d.widens && !names(old, item), !narrows && !names(now, item):
			continue // that is told of the scope which covers it
		}
		out = append(out, d)
	}
	slices.SortFunc(out, func(a, b difference) int { return cmp.Compare(a.name, b.name) })
	return out
}

func holdings(t *timeline, syntax scope.Syntax) []holding {
	var out []holding
	places := map[scope.Item]int{}
	for _, s := range t.Scopes {
		item, err := scope.Parse(syntax, s.Name)
		if err != nil {
			continue // nobody has it
		}
		at, known := places[item]
		if !known {
			at = len(out)
			places[item] = at
			out = append(out, holding{item: item, name: s.Name})
		}
		out[at].ways = append(out[at].ways, s.Ways...)
	}
	return out
}

func names(held []holding, item scope.Item) bool {
	return slices.ContainsFunc(held, func(h holding) bool { return h.item == item })
}

// waysTo are the ways in which a scope is had: its own, and those of the scopes that cover it and say more.
func waysTo(held []holding, item scope.Item) []Way {
	var own, others []Way
	for _, h := range held {
		if h.item == item {
			own = h.ways
		} else if h.item.Covers(item) {
			others = append(others, h.ways...)
		}
	}
	if len(others) == 0 {
		return own
	}
	out := slices.Concat(own, others)
	seen := map[string]bool{}
	return slices.DeleteFunc(out, func(w Way) bool {
		key := w.Grant + limits(w)
		again := seen[key]
		seen[key] = true
		return again
	})
}

// kept are the scopes that a lost one covers and that are had still.
func kept(has *timeline, lost string) []string {
	wide, err := scope.Parse(has.syntax, lost)
	if err != nil {
		return nil
	}
	var out []string
	for _, s := range has.Scopes {
		if item, err := scope.Parse(has.syntax, s.Name); err == nil && wide.Covers(item) {
			out = append(out, s.Name)
		}
	}
	return out
}

// explain says why scopes are lost that grants would give, or gave.
func (c comparison) explain(found []finding, p pair, client *v1alpha1.M2MClient) {
	var lost []string
	for _, f := range found {
		if f.Sign == Loses {
			lost = append(lost, f.Scope)
		}
	}
	if len(lost) == 0 {
		return
	}
	lacks := map[string]Lack{}
	for _, lack := range c.after.lacking(client, p.had.key, lost) {
		lacks[lack.Scope] = lack
	}
	for i, f := range found {
		if f.Sign != Loses {
			continue
		}
		found[i].why = c.why(f.Change, lacks[f.Scope])
		if p.has == nil {
			continue
		}
		if keeps := kept(p.has, f.Scope); len(keeps) > 0 {
			found[i].why += "; it keeps " + few(keeps)
		}
	}
}

// why a scope that a client had is gone, if not since the client is.
func (c comparison) why(lost Change, lack Lack) string {
	for _, o := range lack.obstacles {
		if !slices.ContainsFunc(lost.Before, func(w Way) bool { return w.Grant == o.Grant.String() }) {
			continue
		}
		if o.Reason == access.ReasonConditionNotMet || o.Reason == access.ReasonExpressionFailed {
			return "ScopeGrant " + o.Grant.String() + ": " + o.Message
		}
		return "ScopeGrant " + o.Grant.String() + " is " + o.Message
	}
	switch lack.Reason {
	case "", access.ReasonNotGranted, access.ReasonConditionNotMet, access.ReasonExpressionFailed:
		// What is said of these names the client, and others like it lose the scope too.
	default:
		return lack.Message
	}
	for _, way := range lost.Before {
		namespace, name, _ := strings.Cut(way.Grant, "/")
		if way.Grant != "" && c.after.Grant(types.NamespacedName{Namespace: namespace, Name: name}) == nil {
			return "ScopeGrant " + way.Grant + " is gone"
		}
	}
	return "it gives it no longer"
}

// gone says why a client can have nothing afterwards; "" if it can.
func (c comparison) gone(key types.NamespacedName) string {
	now := c.after.Client(key)
	switch {
	case now == nil:
		return fmt.Sprintf("M2MClient %s is gone", key)
	case now.DeletionTimestamp != nil || c.after.Terminating[key.Namespace]:
		return fmt.Sprintf("M2MClient %s is being deleted", key)
	case now.Spec.Suspend:
		return fmt.Sprintf("M2MClient %s is suspended", key)
	}
	return ""
}

// few lists the first few.
func few(items []string) string {
	if more := len(items) - mostWays; more > 0 {
		return fmt.Sprintf("%s and %d more", strings.Join(items[:mostWays], ", "), more)
	}
	return strings.Join(items, ", ")
}
