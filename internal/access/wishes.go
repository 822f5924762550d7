package access

import (
	"maps"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/internal/policy"
)

// wish is one of a client's spec.requests. It grants nothing.
type wish struct {
	api    types.NamespacedName
	scopes []string // sorted
}

func newWishes(requests []v1alpha1.AccessRequest) []wish {
	var out []wish
	for _, r := range requests {
		w := wish{api: apiKey(string(r.ApiResource.Namespace), string(r.ApiResource.Name))}
		for _, s := range r.Scopes {
			w.scopes = append(w.scopes, string(s))
		}
		slices.Sort(w.scopes)
		w.scopes = slices.Compact(w.scopes)
		out = append(out, w)
	}
	return out
}

// WishVerdict is what has become of one of a client's spec.requests.
type WishVerdict struct {
	ApiResource types.NamespacedName
	State       v1alpha1.AccessRequestState
	Missing     []string // sorted
}

// Pending counts the clients of a namespace that wish for what they do not have.
type Pending struct {
	Namespace string
	Clients   int
}

// hope is a wish with those whom it concerns, and the grants between them. It is judged without the lock, since records
// are never changed: expressions need not keep anybody waiting.
type hope struct {
	wish
	parties
	grants []*grant
	vain   bool // its API can have no tokens, or not by the client's issuer
}

// hopeOf gathers what a wish of the client depends on.
func (x *Index) hopeOf(c *client, w wish) hope {
	h := hope{wish: w, parties: parties{issuer: x.issuers[c.issuer], client: c, api: live(x, x.apis, w.api)}}
	h.vain = h.parties.api == nil || h.issuer == nil || h.parties.api.audience.issuer != c.issuer || !x.apiFitness(h.parties.api).Fit()
	if !h.vain {
		h.grants = x.grantsFor(w.api, c)
	}
	return h
}

// judge says what has become of the wish. It looks at what grants give and not at whether the client is suspended: its
// owner may wish for more meanwhile. The second result is when that may change by time alone; zero: never.
func (h hope) judge(budget *policy.Budget, now time.Time) (WishVerdict, time.Time) {
	v := WishVerdict{ApiResource: h.wish.api, State: v1alpha1.AccessRequestPending, Missing: h.scopes}
	if h.vain {
		return v, time.Time{}
	}
	d := decideWithin(budget, h.parties, h.grants, Request{Scopes: h.scopes, Standing: true}, now)
	v.Missing = nil
	for _, rejected := range d.Rejected {
		v.Missing = append(v.Missing, rejected.Name)
	}
	switch {
	case d.Outcome == OutcomeAccessDenied:
		v.Missing = h.scopes
	case len(v.Missing) == 0:
		v.State = v1alpha1.AccessRequestGranted
	case len(v.Missing) < len(h.scopes):
		v.State = v1alpha1.AccessRequestPartial
	}
	return v, nextActivity(h.grants, now)
}

// hopesFor gathers the wishes for scopes of the ApiResource, sorted by client.
func (x *Index) hopesFor(a *apiResource) []hope {
	var out []hope
	for c := range x.byWish.of(a.key) {
		if x.gone(c.key.Namespace) || c.issuer != a.audience.issuer {
			continue // whom no grant of the API could serve does not wait for its owner
		}
		for _, w := range c.wishes {
			if w.api == a.key {
				out = append(out, x.hopeOf(c, w))
			}
		}
	}
	slices.SortStableFunc(out, func(a, b hope) int { return compareKeys(a.client.key, b.client.key) })
	return out
}

// pendingRequests is how many requests' expressions counting those who wait may cost: what a request costs is its asker's
// matter, but everybody may wish for scopes of a costly API.
const pendingRequests = 10

// pending counts who wishes for what he does not have of one API, by namespace, sorted. If expressions cost too much,
// those for whom there is nothing left count as waiting.
func pending(hopes []hope, now time.Time) ([]Pending, time.Time) {
	counts, next, budget := map[string]int{}, time.Time{}, policy.NewBudgetOf(pendingRequests)
	var last *client
	for _, h := range hopes {
		v, changes := h.judge(budget, now)
		next = earlier(next, changes)
		if len(v.Missing) > 0 && h.client != last {
			last = h.client
			counts[h.client.key.Namespace]++
		}
	}
	var out []Pending
	for _, namespace := range slices.Sorted(maps.Keys(counts)) {
		out = append(out, Pending{namespace, counts[namespace]})
	}
	return out, next
}
