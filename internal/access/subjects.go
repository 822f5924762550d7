package access

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
)

// grant has memory of its own for the one client that most grants name, as client has for one credential.
type grant struct {
	key                  types.NamespacedName
	generation           int64
	api                  types.NamespacedName
	names                []named               // sorted by key, each once
	name                 [1]named              // what names are, if there is one
	selectors            map[string][]selector // by the namespace that they look in; nil if there are none
	invalidSubjects      []string              // what is wrong, subject by subject
	scopes               scopeSet
	roles                []string // sorted
	conditions           []condition
	invalidConditions    []string  // what is wrong, one by one
	notBefore, expiresAt time.Time // zero: unbounded
	suspended            bool
}

// named is a client that a subject names.
type named struct {
	key     types.NamespacedName
	subject int // the place of the first that names it
}

// selector matches clients by their labels.
type selector struct {
	labels.Selector
	subject int // its place
}

func newGrant(o *v1alpha1.ScopeGrant) *grant {
	g := &grant{
		key:        keyOf(o),
		generation: o.Generation,
		// The grant's own namespace, always: nobody grants access to a stranger's API.
		api:       apiKey(o.Namespace, string(o.Spec.ApiResourceRef.Name)),
		scopes:    newScopeSet(o.Spec.Scopes),
		suspended: o.Spec.Suspend,
	}
	g.names = g.name[:0]
	for i, subject := range o.Spec.Subjects {
		if err := g.addSubject(i, subject); err != nil {
			g.invalidSubjects = append(g.invalidSubjects, fmt.Sprintf("spec.subjects[%d]: %v", i, err))
		}
	}
	for _, role := range o.Spec.Roles {
		g.roles = append(g.roles, string(role))
	}
	slices.Sort(g.roles)
	g.conditions, g.invalidConditions = compileConditions("spec.conditions", o.Spec.Conditions)
	g.notBefore, g.expiresAt = timeOf(o.Spec.NotBefore), timeOf(o.Spec.ExpiresAt)
	return g
}

// addSubject takes in one subject. One that is invalid matches nothing and leaves the others as they are.
func (g *grant) addSubject(place int, s v1alpha1.GrantSubject) error {
	namespace := shared(string(s.Namespace))
	switch {
	case (s.Name != "") == (s.Selector != nil):
		return errors.New("exactly one of name and selector must be set")
	case s.Selector == nil:
		key := types.NamespacedName{Namespace: namespace, Name: string(s.Name)}
		if at, found := g.find(key); !found {
			g.names = slices.Insert(g.names, at, named{key, place})
		}
		return nil
	}
	compiled, err := compileSelector(s.Selector)
	if err != nil {
		return fmt.Errorf("selector: %w", err)
	}
	if g.selectors == nil {
		g.selectors = map[string][]selector{}
	}
	g.selectors[namespace] = append(g.selectors[namespace], selector{compiled, place})
	return nil
}

// find looks for a client among those that are named.
func (g *grant) find(key types.NamespacedName) (at int, found bool) {
	return slices.BinarySearchFunc(g.names, key, func(n named, key types.NamespacedName) int { return compareKeys(n.key, key) })
}

// named says whether one of the grant's subjects names the client.
func (g *grant) named(client types.NamespacedName) bool {
	_, found := g.find(client)
	return found
}

// compileSelector compiles label by label, in the order of the keys: compiled as a whole, a selector with two mistakes
// names either, and a status that quotes it would change for ever.
func compileSelector(s *v1alpha1.ClientSelector) (labels.Selector, error) {
	whole := s.LabelSelector()
	var parts []metav1.LabelSelector
	for _, key := range slices.Sorted(maps.Keys(whole.MatchLabels)) {
		parts = append(parts, metav1.LabelSelector{MatchLabels: map[string]string{key: whole.MatchLabels[key]}})
	}
	for _, e := range whole.MatchExpressions {
		parts = append(parts, metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{e}})
	}
	if len(parts) == 0 {
		// Without a requirement a label selector matches everything; here it must never.
		return nil, errors.New("it is empty, and an empty selector matches nothing: name at least one label")
	}
	out := labels.NewSelector()
	for i := range parts {
		part, err := metav1.LabelSelectorAsSelector(&parts[i])
		if err != nil {
			return nil, err
		}
		requirements, _ := part.Requirements()
		out = out.Add(requirements...)
	}
	return out, nil
}

func (g *grant) link(x *Index) {
	x.grants.put(g.key, g)
	x.byAPI.add(g.api, g)
	for _, n := range g.names {
		x.byAPIClient.add(x.hash(apiClient{g.api, n.key}), g)
		x.byClient.add(x.hash(apiClient{client: n.key}), g)
	}
	for namespace := range g.selectors {
		x.byAPINamespace.add(apiNamespace{g.api, namespace}, g)
		x.byNamespace.add(namespace, g)
	}
}

func (g *grant) unlink(x *Index) {
	x.grants.remove(g.key)
	x.byAPI.remove(g.api, g)
	for _, n := range g.names {
		x.byAPIClient.remove(x.hash(apiClient{g.api, n.key}), g)
		x.byClient.remove(x.hash(apiClient{client: n.key}), g)
	}
	for namespace := range g.selectors {
		x.byAPINamespace.remove(apiNamespace{g.api, namespace}, g)
		x.byNamespace.remove(namespace, g)
	}
}

// selects says whether one of the grant's selectors matches the client.
func (g *grant) selects(c *client) bool {
	return slices.ContainsFunc(g.selectors[c.key.Namespace], func(s selector) bool { return s.Matches(&c.labels) })
}

// subject is the place of the first subject that matches the client; false if none does.
func (g *grant) subject(c *client) (place int, ok bool) {
	at, found := g.find(c.key)
	for _, s := range g.selectors[c.key.Namespace] {
		if (!found || s.subject < g.names[at].subject) && s.Matches(&c.labels) {
			return s.subject, true
		}
	}
	if !found {
		return 0, false
	}
	return g.names[at].subject, true
}

// gives reports whether the grant gives the scope, and by which of its roles, "" if by none.
func (g *grant) gives(a *apiResource, wanted readScope) (role string, ok bool) {
	if g.scopes.gives(a.syntax, wanted) {
		return "", true
	}
	for _, role := range g.roles {
		if a.roles[role].gives(a.syntax, wanted) {
			return role, true
		}
	}
	return "", false
}

// sets are the scopes that the grant gives: those it names, and those of its roles.
func (g *grant) sets(a *apiResource) []scopeSet {
	out := []scopeSet{g.scopes}
	for _, role := range g.roles {
		out = append(out, a.roles[role])
	}
	return out
}

// activity is ReasonActive, or the reason why the grant gives nothing now.
func (g *grant) activity(now time.Time) string {
	switch {
	case len(g.invalidConditions) > 0: // what a condition would refuse is not known
		return v1alpha1.ReasonInvalidExpression
	case g.suspended:
		return v1alpha1.ReasonSuspended
	case now.Before(g.notBefore):
		return v1alpha1.ReasonNotYetActive
	case !g.expiresAt.IsZero() && !now.Before(g.expiresAt):
		return v1alpha1.ReasonExpired
	}
	return v1alpha1.ReasonActive
}

// nextActivity is the next instant at which activity changes, zero if it never does.
func (g *grant) nextActivity(now time.Time) time.Time {
	switch {
	case g.suspended, len(g.invalidConditions) > 0:
		return time.Time{}
	case now.Before(g.notBefore):
		return g.notBefore
	case now.Before(g.expiresAt):
		return g.expiresAt
	}
	return time.Time{}
}

// nextActivity is the next instant at which the activity of one of the grants changes, zero if none ever does.
func nextActivity(grants []*grant, now time.Time) (next time.Time) {
	for _, g := range grants {
		next = earlier(next, g.nextActivity(now))
	}
	return next
}

// grantsFor lists the grants of one API that match the client, active or not, sorted.
func (x *Index) grantsFor(api types.NamespacedName, c *client) []*grant {
	out := matching(c, x.byAPIClient[x.hash(apiClient{api, c.key})], x.byAPINamespace[apiNamespace{api, c.key.Namespace}])
	return slices.DeleteFunc(out, func(g *grant) bool { return g.api != api })
}

// grantsMatching lists the grants of all APIs that match the client, active or not, sorted.
func (x *Index) grantsMatching(c *client) []*grant {
	return matching(c, x.byClient[x.hash(apiClient{client: c.key})], x.byNamespace[c.key.Namespace])
}

// matching lists the grants that name the client, of those that may, and those of the others that select it.
func matching(c *client, naming, selecting members[*grant]) []*grant {
	out := make([]*grant, 0, naming.len())
	naming.each(func(g *grant) {
		if g.named(c.key) {
			out = append(out, g)
		}
	})
	selecting.each(func(g *grant) {
		if !g.named(c.key) && g.selects(c) {
			out = append(out, g)
		}
	})
	sortGrants(out)
	return out
}

// clientsOf calls visit with every client that the grant matches, once each, gone or not.
func (x *Index) clientsOf(g *grant, visit func(*client)) {
	for _, n := range g.names {
		if c := x.clients.get(n.key); c != nil {
			visit(c)
		}
	}
	for namespace := range g.selectors {
		for _, c := range x.clients[namespace] {
			if !g.named(c.key) && g.selects(c) {
				visit(c)
			}
		}
	}
}
