package access

import (
	"maps"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
)

// wish is one of a client's spec.requests. It grants nothing.
type wish struct {
	api    types.NamespacedName
	scopes []string // sorted
}

func newWishes(requests []v1alpha1.AccessRequest) []wish {
	var out []wish
	for _, r := range requests {
		w := wish{api: types.NamespacedName{Namespace: string(r.ApiResource.Namespace), Name: string(r.ApiResource.Name)}}
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

// judge says what has become of the wish. It looks at what grants give and not at whether the client is suspended: its
// owner may wish for more meanwhile. The second result is when that may change by time alone; zero: never.
func (x *Index) judge(c *client, w wish, now time.Time) (WishVerdict, time.Time) {
	v := WishVerdict{ApiResource: w.api, State: v1alpha1.AccessRequestPending, Missing: w.scopes}
	api, issuer := live(x, x.apis, w.api), x.issuers[c.issuer]
	if api == nil || issuer == nil || api.audience.issuer != c.issuer || !x.apiFitness(api).Fit() {
		return v, time.Time{}
	}
	grants := x.grantsFor(api.key, c)
	d := decide(parties{issuer, c, api}, grants, Request{Scopes: w.scopes, Standing: true}, now)
	v.Missing = nil
	for _, rejected := range d.Rejected {
		v.Missing = append(v.Missing, rejected.Name)
	}
	switch {
	case d.Outcome == OutcomeAccessDenied:
		v.Missing = w.scopes
	case len(v.Missing) == 0:
		v.State = v1alpha1.AccessRequestGranted
	case len(v.Missing) < len(w.scopes):
		v.State = v1alpha1.AccessRequestPartial
	}
	return v, nextActivity(grants, now)
}

// pending counts who wishes for what he does not have of the API, by namespace, sorted.
func (x *Index) pending(a *apiResource, now time.Time) ([]Pending, time.Time) {
	counts, next := map[string]int{}, time.Time{}
	for c := range x.byWish[a.key] {
		if x.gone(c.key.Namespace) || c.issuer != a.audience.issuer {
			continue // whom no grant of the API could serve does not wait for its owner
		}
		waits := false
		for _, w := range c.wishes {
			if w.api != a.key {
				continue
			}
			v, changes := x.judge(c, w, now)
			next = earlier(next, changes)
			waits = waits || len(v.Missing) > 0
		}
		if waits {
			counts[c.key.Namespace]++
		}
	}
	var out []Pending
	for _, namespace := range slices.Sorted(maps.Keys(counts)) {
		out = append(out, Pending{namespace, counts[namespace]})
	}
	return out, next
}
