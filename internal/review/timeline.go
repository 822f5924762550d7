package review

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/internal/access"
)

// question narrows down what is asked about a client.
type question struct {
	api    types.NamespacedName // zero: all
	scopes []string             // none: all that it has
}

// instants are now and every later instant at which what the client has may change by time alone.
func (w World) instants(client types.NamespacedName) []time.Time {
	out := []time.Time{w.Now}
	for at := w.Now; ; {
		v, ok := w.Index.ClientVerdict(client, at)
		if !ok || v.NextChange.IsZero() || !v.NextChange.After(at) {
			return out
		}
		at = v.NextChange
		out = append(out, at)
	}
}

// accessOf says what a client has, now and later, by audience.
func (w World) accessOf(client *v1alpha1.M2MClient, q question) []Access {
	key := keyOf(client, client.Name)
	found := map[types.NamespacedName]*timeline{}
	instants := w.instants(key)
	for n, at := range instants {
		v, _ := w.Index.ClientVerdict(key, at)
		for _, a := range v.Access {
			if q.api.Name != "" && a.ApiResource != q.api {
				continue
			}
			d := w.Index.Decide(access.Request{
				Issuer: issuerOf(client.Spec.IssuerRef), ClientID: client.ClientID(), Audience: a.Audience, Scopes: q.scopes,
				Standing: true,
			}, at)
			if d.Outcome != access.OutcomeGranted {
				continue
			}
			if found[a.ApiResource] == nil {
				found[a.ApiResource] = &timeline{
					audience: a.Audience, lifetime: d.Lifetime, rules: d.Rules, scopes: map[string]map[types.NamespacedName][]stretch{},
				}
			}
			found[a.ApiResource].take(n, d.Granted)
		}
	}
	out := make([]Access, 0, len(found))
	for api, t := range found {
		out = append(out, w.told(api, t, instants))
	}
	slices.SortFunc(out, func(a, b Access) int { return cmp.Compare(a.Audience, b.Audience) })
	return out
}

// timeline is what a client has of one API, interval by interval.
type timeline struct {
	audience string
	lifetime time.Duration
	rules    []string
	// scopes by name, and by the grant that gives them: none where the API gives its scopes to any client.
	scopes map[string]map[types.NamespacedName][]stretch
}

// stretch is a run of intervals, by their places, in which a grant gives a scope.
type stretch struct {
	first, last int
	giver       access.Giver
}

func (t *timeline) take(interval int, granted []access.GrantedScope) {
	for _, scope := range granted {
		if t.scopes[scope.Name] == nil {
			t.scopes[scope.Name] = map[types.NamespacedName][]stretch{}
		}
		givers := scope.Givers
		if len(givers) == 0 {
			givers = []access.Giver{{}}
		}
		for _, giver := range givers {
			t.extend(scope.Name, interval, giver)
		}
	}
}

func (t *timeline) extend(scope string, interval int, giver access.Giver) {
	stretches := t.scopes[scope][giver.Grant]
	if n := len(stretches); n > 0 && stretches[n-1].last == interval-1 {
		stretches[n-1].last = interval
		return
	}
	t.scopes[scope][giver.Grant] = append(stretches, stretch{interval, interval, giver})
}

// told is the timeline as an answer.
func (w World) told(api types.NamespacedName, t *timeline, instants []time.Time) Access {
	out := Access{API: api.String(), Audience: t.audience, Rules: t.rules, TokenLifetime: t.lifetime.String()}
	for _, name := range sortedKeys(t.scopes) {
		scope := Scope{Name: name}
		for _, stretches := range t.scopes[name] {
			for _, s := range stretches {
				scope.Ways = append(scope.Ways, w.way(s, instants))
			}
		}
		slices.SortFunc(scope.Ways, func(a, b Way) int { return cmp.Or(a.From.Compare(b.From), cmp.Compare(a.Grant, b.Grant)) })
		out.Scopes = append(out.Scopes, scope)
	}
	return out
}

func (w World) way(s stretch, instants []time.Time) Way {
	way := Way{Role: s.giver.Role, Conditions: s.giver.Conditions}
	if s.giver.Grant.Name != "" {
		way.Grant, way.Subject = s.giver.Grant.String(), w.subject(s.giver)
	}
	if s.first == 0 {
		way.Since = w.since(s.giver.Grant)
	} else {
		way.From = instants[s.first].UTC()
	}
	if s.last+1 < len(instants) {
		way.Until = instants[s.last+1].UTC()
	}
	return way
}

// since is when a grant that is in force came to be so.
func (w World) since(key types.NamespacedName) time.Time {
	grant := w.Grant(key)
	if grant == nil {
		return time.Time{}
	}
	since := grant.CreationTimestamp.Time
	if from := grant.Spec.NotBefore; from != nil && from.After(since) {
		since = from.Time
	}
	if since.IsZero() {
		return since
	}
	return since.UTC()
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
