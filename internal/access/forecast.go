package access

import (
	"cmp"
	"encoding/binary"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/m2m-operator/m2m-operator/internal/policy"
	"github.com/m2m-operator/m2m-operator/internal/scope"
)

// Forecast says what clients may have from an instant on, as long as nothing changes but the time. It is what Decide says
// of standing requests at every instant to come, worked out at once: each grant is looked at once for each client, and
// what it comes to once for all clients for whom the same grants count. That is for whoever asks about everybody.
//
// It speaks of the index as it is when it is first asked: after a change, make another one. It is not safe for concurrent
// use.
type Forecast struct {
	index     *Index
	now       time.Time
	api       types.NamespacedName
	scopes    []string
	resumed   bool
	selecting map[string][]*grant
	fit       map[*apiResource]bool
	numbers   map[any]uint64
	known     map[string]*Outlook
}

// Outlook is what a client may have of one API, now and later. It is to be read only, since clients share it.
type Outlook struct {
	ApiResource types.NamespacedName
	Audience    string
	// Syntax in which the API's scopes are read.
	Syntax scope.Syntax
	// Lifetime of the client's tokens, and the rules that each request has to meet besides.
	Lifetime time.Duration
	Rules    []string
	// Scopes by name; none if time alone will not give it one.
	Scopes []Prospect
}

// Prospect is a scope with all the terms on which a client has it, the earliest first.
type Prospect struct {
	Name  string
	Terms []Term
}

// Term is a time in which somebody gives a scope.
type Term struct {
	// Giver is a ScopeGrant; zero if the ApiResource gives its scopes to any client.
	Giver Giver
	// From is zero for what is given already, and Until for what has no end.
	From, Until time.Time
}

// Forecast makes one. With an API it is about that one alone; with scopes it is about requests for these, and without
// about all that each client has.
func (x *Index) Forecast(api types.NamespacedName, scopes []string, now time.Time) *Forecast {
	return &Forecast{
		index: x, now: now, api: api, scopes: slices.Compact(slices.Sorted(slices.Values(scopes))),
		selecting: map[string][]*grant{}, fit: map[*apiResource]bool{}, numbers: map[any]uint64{}, known: map[string]*Outlook{},
	}
}

// Resumed makes it a forecast of what clients would have if none were suspended.
func (f *Forecast) Resumed() *Forecast {
	f.resumed = true
	return f
}

// match is a grant that matches a client, by one of its subjects.
type match struct {
	*grant
	subject int
}

// Client says what a client may have of each API that could give it something, sorted by audience: nothing if it is gone
// or suspended.
func (f *Forecast) Client(key types.NamespacedName) []*Outlook {
	p, reached := f.gather(key)
	out := make([]*Outlook, 0, len(reached))
	for api, matches := range reached {
		out = append(out, f.outlook(parties{p.issuer, p.client, api}, matches))
	}
	slices.SortFunc(out, func(a, b *Outlook) int { return cmp.Compare(a.Audience, b.Audience) })
	return out
}

// gather finds the APIs that a client can have tokens for, with the grants that match it and are not over.
func (f *Forecast) gather(key types.NamespacedName) (p parties, reached map[*apiResource][]match) {
	x := f.index
	x.mu.RLock()
	defer x.mu.RUnlock()
	c := live(x, x.clients, key)
	if c == nil || (c.suspended && !f.resumed) {
		return p, nil
	}
	reached = map[*apiResource][]match{}
	for _, m := range f.matching(c) {
		if a := live(x, x.apis, m.api); a != nil && a.audience.issuer == c.issuer && f.canServe(a) {
			reached[a] = append(reached[a], m)
		}
	}
	for a := range x.open.of(c.issuer) {
		if _, granted := reached[a]; !granted && (f.api.Name == "" || f.api == a.key) && !x.gone(a.key.Namespace) && f.canServe(a) {
			reached[a] = nil
		}
	}
	return parties{issuer: x.issuers[c.issuer], client: c}, reached
}

func (f *Forecast) canServe(a *apiResource) bool {
	fit, known := f.fit[a]
	if !known {
		fit = f.index.apiFitness(a).Fit()
		f.fit[a] = fit
	}
	return fit
}

// matching lists the grants that match the client, sorted.
func (f *Forecast) matching(c *client) []match {
	var out []match
	take := func(g *grant) {
		if _, ever := g.term(f.now); !ever || (f.api.Name != "" && f.api != g.api) {
			return
		}
		if subject, ok := g.subject(c); ok {
			out = append(out, match{g, subject})
		}
	}
	for _, g := range f.selectingIn(c.key.Namespace) {
		take(g)
	}
	selected := len(out)
	for g := range f.index.byClient.of(f.index.hash(apiClient{client: c.key})) {
		if _, both := g.selectors[c.key.Namespace]; !both {
			take(g)
		}
	}
	if len(out) > selected {
		slices.SortFunc(out, func(a, b match) int { return compareKeys(a.key, b.key) })
	}
	return out
}

// selectingIn lists the grants with selectors for a namespace, sorted.
func (f *Forecast) selectingIn(namespace string) []*grant {
	grants, known := f.selecting[namespace]
	if !known {
		grants = slices.Collect(f.index.byNamespace.of(namespace))
		sortGrants(grants)
		f.selecting[namespace] = grants
	}
	return grants
}

// outlook is what the grants come to, which is the same for all clients for whom the same ones count.
func (f *Forecast) outlook(p parties, matches []match) *Outlook {
	v := f.judge(p, matches)
	if v.exhausted { // what an expression comes to depends on which others are asked
		out := f.begin(p)
		f.step(out, p, matches)
		return out
	}
	key := binary.AppendUvarint(nil, f.number(p.api))
	key = binary.AppendVarint(key, int64(p.client.lifetime))
	key = append(key, flag(v.refused))
	for i, m := range matches {
		key = binary.AppendUvarint(key, f.number(m.grant))
		key = binary.AppendUvarint(key, uint64(m.subject))
		key = append(key, flag(v.unmet[i]))
	}
	out, known := f.known[string(key)]
	if !known {
		out = f.begin(p)
		if !v.refused {
			f.fill(out, p, matches, v.unmet)
		}
		f.known[string(key)] = out
	}
	return out
}

func (f *Forecast) begin(p parties) *Outlook {
	return &Outlook{
		ApiResource: p.api.key, Audience: p.api.audience.identifier, Syntax: p.api.syntax, Lifetime: p.lifetime(), Rules: left(p.api.rules),
	}
}

// number is what the record is called in keys.
func (f *Forecast) number(record any) uint64 {
	n, known := f.numbers[record]
	if !known {
		n = uint64(len(f.numbers))
		f.numbers[record] = n
	}
	return n
}

func flag(set bool) byte {
	if set {
		return 1
	}
	return 0
}

// verdict is what standing expressions say. They do not look at the time, so that it is one for all instants.
type verdict struct {
	unmet     []bool // by grant: a condition keeps it from giving anything
	refused   bool   // by a rule of the API
	exhausted bool   // they cost too much together
}

func (f *Forecast) judge(p parties, matches []match) verdict {
	v := verdict{unmet: make([]bool, len(matches))}
	rules := slices.ContainsFunc(p.api.rules, condition.standing)
	conditions := !p.api.anyClient && slices.ContainsFunc(matches, match.standing)
	if !rules && !conditions {
		return v
	}
	q := &inquiry{parties: p, request: f.request(), now: f.now, budget: policy.NewBudget()}
	for i, m := range matches {
		if conditions && m.standing() {
			_, met := q.meets(m.grant, nil)
			v.unmet[i] = !met
		}
	}
	if rules {
		d := Decision{Outcome: OutcomeGranted}
		q.check(&d)
		v.refused = d.Outcome != OutcomeGranted
	}
	v.exhausted = q.budget.Exhausted()
	return v
}

// standing reports whether one of the grant's conditions counts for requests of any kind.
func (m match) standing() bool { return slices.ContainsFunc(m.conditions, condition.standing) }

func (f *Forecast) request() Request { return Request{Scopes: f.scopes, Standing: true} }
