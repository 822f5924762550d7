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

type grant struct {
	key                  types.NamespacedName
	generation           int64
	api                  types.NamespacedName
	names                map[types.NamespacedName]struct{}
	selectors            map[string][]labels.Selector // by the namespace that they look in
	invalidSubjects      []string                     // what is wrong, subject by subject
	scopes               []string                     // sorted
	notBefore, expiresAt time.Time                    // zero: unbounded
	suspended            bool
}

func newGrant(o *v1alpha1.ScopeGrant) *grant {
	g := &grant{
		key:        keyOf(o),
		generation: o.Generation,
		// The grant's own namespace, always: nobody grants access to a stranger's API.
		api:       types.NamespacedName{Namespace: o.Namespace, Name: string(o.Spec.ApiResourceRef.Name)},
		names:     map[types.NamespacedName]struct{}{},
		selectors: map[string][]labels.Selector{},
		suspended: o.Spec.Suspend,
	}
	for i, subject := range o.Spec.Subjects {
		if err := g.addSubject(subject); err != nil {
			g.invalidSubjects = append(g.invalidSubjects, fmt.Sprintf("spec.subjects[%d]: %v", i, err))
		}
	}
	for _, s := range o.Spec.Scopes {
		g.scopes = append(g.scopes, string(s))
	}
	slices.Sort(g.scopes)
	g.notBefore, g.expiresAt = timeOf(o.Spec.NotBefore), timeOf(o.Spec.ExpiresAt)
	return g
}

// addSubject takes in one subject. One that is invalid matches nothing and leaves the others as they are.
func (g *grant) addSubject(s v1alpha1.GrantSubject) error {
	namespace := string(s.Namespace)
	switch {
	case (s.Name != "") == (s.Selector != nil):
		return errors.New("exactly one of name and selector must be set")
	case s.Selector == nil:
		g.names[types.NamespacedName{Namespace: namespace, Name: string(s.Name)}] = struct{}{}
		return nil
	}
	selector, err := compileSelector(s.Selector)
	if err != nil {
		return fmt.Errorf("selector: %w", err)
	}
	g.selectors[namespace] = append(g.selectors[namespace], selector)
	return nil
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
	for c := range g.names {
		x.byAPIClient.add(apiClient{g.api, c}, g)
		x.byClient.add(c, g)
	}
	for namespace := range g.selectors {
		x.byAPINamespace.add(apiNamespace{g.api, namespace}, g)
		x.byNamespace.add(namespace, g)
	}
}

func (g *grant) unlink(x *Index) {
	x.grants.remove(g.key)
	x.byAPI.remove(g.api, g)
	for c := range g.names {
		x.byAPIClient.remove(apiClient{g.api, c}, g)
		x.byClient.remove(c, g)
	}
	for namespace := range g.selectors {
		x.byAPINamespace.remove(apiNamespace{g.api, namespace}, g)
		x.byNamespace.remove(namespace, g)
	}
}

// selects says whether one of the grant's selectors matches the client.
func (g *grant) selects(c *client) bool {
	return slices.ContainsFunc(g.selectors[c.key.Namespace], func(s labels.Selector) bool { return s.Matches(c.labels) })
}

// gives says whether the scope is among those that the grant names.
func (g *grant) gives(scope string) bool {
	_, found := slices.BinarySearch(g.scopes, scope)
	return found
}

// activity is ReasonActive, or the reason why the grant gives nothing now.
func (g *grant) activity(now time.Time) string {
	switch {
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
	case g.suspended:
		return time.Time{}
	case now.Before(g.notBefore):
		return g.notBefore
	case now.Before(g.expiresAt):
		return g.expiresAt
	}
	return time.Time{}
}

// grantsFor lists the grants of one API that match the client, active or not, sorted.
func (x *Index) grantsFor(api types.NamespacedName, c *client) []*grant {
	return matching(c, x.byAPIClient[apiClient{api, c.key}], x.byAPINamespace[apiNamespace{api, c.key.Namespace}])
}

// grantsMatching lists the grants of all APIs that match the client, active or not, sorted.
func (x *Index) grantsMatching(c *client) []*grant {
	return matching(c, x.byClient[c.key], x.byNamespace[c.key.Namespace])
}

// matching lists the grants that name the client, and those of the others that select it.
func matching(c *client, naming, selecting map[*grant]struct{}) []*grant {
	out := make([]*grant, 0, len(naming))
	for g := range naming {
		out = append(out, g)
	}
	for g := range selecting {
		if _, named := naming[g]; !named && g.selects(c) {
			out = append(out, g)
		}
	}
	sortGrants(out)
	return out
}

// clientsOf calls visit with every client that the grant matches, once each, gone or not.
func (x *Index) clientsOf(g *grant, visit func(*client)) {
	for key := range g.names {
		if c := x.clients.get(key); c != nil {
			visit(c)
		}
	}
	for namespace := range g.selectors {
		for _, c := range x.clients[namespace] {
			if _, named := g.names[c.key]; !named && g.selects(c) {
				visit(c)
			}
		}
	}
}
