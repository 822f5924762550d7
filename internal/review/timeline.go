package review

import (
	"maps"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/m2m-operator/m2m-operator/internal/access"
	"github.com/m2m-operator/m2m-operator/internal/scope"
)

// timelines says what clients have of APIs, now and later. Those for whom the same grants count share what is said.
type timelines struct {
	world    World
	forecast *access.Forecast
	told     map[*access.Outlook]*timeline
}

// timeline is what clients have of one API.
type timeline struct {
	Access
	key    types.NamespacedName
	syntax scope.Syntax
}

// asking is about one API, or about all; and about these scopes, or about all that each client has.
func (w World) asking(api types.NamespacedName, scopes ...string) *timelines {
	return &timelines{world: w, forecast: w.Index.Forecast(api, scopes, w.Now), told: map[*access.Outlook]*timeline{}}
}

// of are the timelines of a client, by audience. One without scopes is of an API of which grants that match the client
// give it nothing.
func (t *timelines) of(client types.NamespacedName) []*timeline {
	outlooks := t.forecast.Client(client)
	out := make([]*timeline, 0, len(outlooks))
	for _, outlook := range outlooks {
		told := t.told[outlook]
		if told == nil {
			told = t.world.timeline(outlook)
			t.told[outlook] = told
		}
		out = append(out, told)
	}
	return out
}

// access is what a client has, by audience.
func (t *timelines) access(client types.NamespacedName) []Access {
	out := []Access{}
	for _, told := range t.of(client) {
		if len(told.Scopes) > 0 {
			out = append(out, told.Access)
		}
	}
	return out
}

func (w World) timeline(o *access.Outlook) *timeline {
	out := &timeline{key: o.ApiResource, syntax: o.Syntax, Access: Access{
		API: o.ApiResource.String(), Audience: o.Audience, Rules: o.Rules, TokenLifetime: o.Lifetime.String(),
	}}
	for _, p := range o.Scopes {
		s := Scope{Name: p.Name, Ways: make([]Way, 0, len(p.Terms))}
		for _, term := range p.Terms {
			s.Ways = append(s.Ways, w.way(term))
		}
		out.Scopes = append(out.Scopes, s)
	}
	return out
}

func (w World) way(term access.Term) Way {
	way := Way{Role: term.Giver.Role, Conditions: term.Giver.Conditions}
	if term.Giver.Grant.Name != "" {
		way.Grant, way.Subject = term.Giver.Grant.String(), w.subject(term.Giver)
	}
	if term.From.IsZero() {
		way.Since = w.since(term.Giver.Grant)
	} else {
		way.From = term.From.UTC()
	}
	if !term.Until.IsZero() {
		way.Until = term.Until.UTC()
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
