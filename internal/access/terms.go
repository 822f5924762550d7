package access

import (
	"cmp"
	"maps"
	"slices"
	"time"
)

// term is when the grant gives its scopes, from an instant on; false if it never does.
func (g *grant) term(now time.Time) (t Term, ever bool) {
	t.Until = g.expiresAt
	begin := now
	if now.Before(g.notBefore) {
		t.From, begin = g.notBefore, g.notBefore
	}
	return t, !g.suspended && len(g.invalidConditions) == 0 && (t.Until.IsZero() || begin.Before(t.Until))
}

// both is when two terms overlap; false if they do not.
func (t Term) both(other Term) (Term, bool) {
	t.Until = earlier(t.Until, other.Until)
	if other.From.After(t.From) {
		t.From = other.From
	}
	return t, t.Until.IsZero() || t.From.Before(t.Until)
}

// join makes one of terms that overlap or follow each other, whoever gives them.
func join(terms []Term) []Term {
	slices.SortFunc(terms, func(a, b Term) int { return a.From.Compare(b.From) })
	var out []Term
	for _, t := range terms {
		last := len(out) - 1
		switch {
		case last < 0 || (!out[last].Until.IsZero() && t.From.After(out[last].Until)):
			out = append(out, Term{From: t.From, Until: t.Until})
		case out[last].Until.IsZero():
		case t.Until.IsZero() || t.Until.After(out[last].Until):
			out[last].Until = t.Until
		}
	}
	return out
}

// fill works out the scopes of an outlook, grant by grant.
func (f *Forecast) fill(out *Outlook, p parties, matches []match, unmet []bool) {
	if p.api.anyClient {
		names := f.scopes
		if len(names) == 0 {
			names = p.api.declared.names
		}
		for _, name := range names {
			if p.api.declared.gives(p.api.syntax, p.api.read(name)) {
				out.Scopes = append(out.Scopes, Prospect{name, []Term{{}}})
			}
		}
		return
	}
	named := f.asked(p.api, matches)
	given := map[string][]Term{}
	for i, m := range matches {
		if unmet[i] {
			continue
		}
		whole, _ := m.term(f.now)
		whole.Giver = Giver{Grant: m.key, Subject: m.subject, Conditions: left(m.conditions)}
		for _, name := range f.given(p.api, m.grant, named) {
			asked := p.api.read(name)
			role, ok := m.gives(p.api, asked)
			if !ok || !p.api.declares(asked) {
				continue
			}
			whole.Giver.Role = role
			for _, when := range named[name] {
				if t, overlap := whole.both(when); overlap {
					given[name] = append(given[name], t)
				}
			}
		}
	}
	out.take(given)
}

// asked are the scopes in question, each with the times in which it is: those that were asked about always; else what a
// grant names while that is in force, whether or not its conditions are met.
func (f *Forecast) asked(a *apiResource, matches []match) map[string][]Term {
	out := map[string][]Term{}
	for _, name := range f.scopes {
		out[name] = []Term{{}}
	}
	if len(f.scopes) > 0 {
		return out
	}
	for _, m := range matches {
		when, _ := m.term(f.now)
		for _, set := range m.sets(a) {
			for _, name := range set.names {
				out[name] = append(out[name], when)
			}
		}
	}
	for name, terms := range out {
		out[name] = join(terms)
	}
	return out
}

// given are the scopes in question that the grant may give: where scopes cover only themselves, those that it names.
func (f *Forecast) given(a *apiResource, g *grant, named map[string][]Term) []string {
	var out []string
	if a.hierarchical() || len(f.scopes) > 0 {
		return slices.AppendSeq(out, maps.Keys(named))
	}
	for _, set := range g.sets(a) {
		out = append(out, set.names...)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// step works out the scopes of an outlook by a decision for each instant at which time changes something.
func (f *Forecast) step(out *Outlook, p parties, matches []match) {
	var grants []*grant
	for _, m := range matches {
		grants = append(grants, m.grant)
	}
	given := map[string][]Term{}
	at, from := f.now, time.Time{}
	for {
		next := nextActivity(grants, at)
		if d := decide(p, grants, f.request(), at); d.Outcome == OutcomeGranted {
			for _, s := range d.Granted {
				given[s.Name] = extend(given[s.Name], s.Givers, from, next)
			}
		}
		if next.IsZero() {
			out.take(given)
			return
		}
		at, from = next, next
	}
}

// extend adds what is given between two instants to the terms that end where it begins.
func extend(terms []Term, givers []Giver, from, until time.Time) []Term {
	if len(givers) == 0 {
		givers = []Giver{{}}
	}
	for _, giver := range givers {
		at := slices.IndexFunc(terms, func(t Term) bool { return t.Giver.Grant == giver.Grant && !from.IsZero() && t.Until.Equal(from) })
		if at < 0 {
			terms = append(terms, Term{giver, from, until})
		} else {
			terms[at].Until = until
		}
	}
	return terms
}

func (o *Outlook) take(given map[string][]Term) {
	for _, name := range slices.Sorted(maps.Keys(given)) {
		terms := given[name]
		slices.SortFunc(terms, func(a, b Term) int {
			return cmp.Or(a.From.Compare(b.From), compareKeys(a.Giver.Grant, b.Giver.Grant))
		})
		o.Scopes = append(o.Scopes, Prospect{name, terms})
	}
}
