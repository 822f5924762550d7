package access_test

import (
	"fmt"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/internal/access"
)

var toSensors = v1alpha1.GrantSubject{Namespace: "jobs", Selector: &v1alpha1.ClientSelector{MatchLabels: map[string]string{"kind": "sensor"}}}

// sensors is an index of an API and so many clients with the same label.
func sensors(n int) (*access.Index, *v1alpha1.ApiResource) {
	api := anAPI("courses", "api", 1, "read", "write")
	index := indexOf(&v1alpha1.TokenIssuer{ObjectMeta: metav1.ObjectMeta{Name: "default"}}, api)
	for i := range n {
		client := aClient(map[string]string{"kind": "sensor"})
		client.Name = fmt.Sprintf("job-%d", i)
		index.Upsert(client)
	}
	return index, api
}

// TestGrantOfManyClientsIsOneOfFew: what it costs to take in a grant and to take it away is the same for 10 clients that
// it selects and for 10,000.
func TestGrantOfManyClientsIsOneOfFew(t *testing.T) {
	type cost struct {
		entries     int
		allocations float64
	}
	costs := map[int]cost{}
	for _, n := range []int{10, 10_000} {
		index, api := sensors(n)
		grant := aGrant(api, toSensors, "read")
		before := index.Entries()
		index.Upsert(grant)
		if got := outcomeOf(index, fmt.Sprintf("jobs.job-%d", n-1)); got != access.OutcomeGranted {
			t.Fatalf("the last of %d clients: %s", n, got)
		}
		c := cost{entries: index.Entries() - before}
		index.Delete(access.RefOf(grant))
		if left := index.Entries(); left != before {
			t.Errorf("with %d clients a deleted grant leaves %d entries, there were %d", n, left, before)
		}
		c.allocations = testing.AllocsPerRun(100, func() {
			index.Upsert(grant)
			index.Delete(access.RefOf(grant))
		})
		costs[n] = c
	}
	if costs[10] != costs[10_000] || costs[10].entries == 0 {
		t.Errorf("entries and allocations are %v for 10 clients and %v for 10,000", costs[10], costs[10_000])
	}
}

// TestDecisionLooksAtGrantsThatCanNameTheClient, and neither at those of other APIs, nor at those of the same API for
// others.
func TestDecisionLooksAtGrantsThatCanNameTheClient(t *testing.T) {
	index, api := sensors(1)
	mine := aGrant(api, v1alpha1.GrantSubject{Namespace: "jobs", Name: "job-0"}, "read")
	selecting := aGrant(api, toSensors, "write")
	selecting.Name = "selecting"
	index.Upsert(mine)
	index.Upsert(selecting)
	decide := func() float64 {
		return testing.AllocsPerRun(100, func() {
			if got := outcomeOf(index, "jobs.job-0"); got != access.OutcomeGranted {
				t.Fatal(got)
			}
		})
	}
	alone := decide()
	for i := range 1000 {
		named := aGrant(api, v1alpha1.GrantSubject{Namespace: "jobs", Name: v1alpha1.ObjectName(fmt.Sprintf("other-%d", i))}, "read")
		named.Name = fmt.Sprintf("named-%d", i)
		elsewhere := aGrant(api, v1alpha1.GrantSubject{Namespace: "others", Selector: toSensors.Selector}, "read")
		elsewhere.Name = fmt.Sprintf("elsewhere-%d", i)
		other := aGrant(anAPI("grades", "api", 1), v1alpha1.GrantSubject{Namespace: "jobs", Name: "job-0"}, "read")
		other.Name = fmt.Sprintf("other-%d", i)
		for _, grant := range []*v1alpha1.ScopeGrant{named, elsewhere, other} {
			index.Upsert(grant)
		}
	}
	considered := index.Considered(types.NamespacedName{Namespace: "courses", Name: "api"}, types.NamespacedName{Namespace: "jobs", Name: "job-0"})
	if considered != 2 {
		t.Errorf("a decision looks at %d grants, want the two that can name the client", considered)
	}
	if among := decide(); among != alone {
		t.Errorf("a decision allocates %.0f times among 3,000 other grants, %.0f times alone", among, alone)
	}
}

func outcomeOf(index *access.Index, clientID string) access.Outcome {
	return index.Decide(access.Request{Issuer: "default", ClientID: clientID, Audience: "https://one.example.com"}, epoch).Outcome
}

// BenchmarkGrantOfMany takes a grant in and away again that selects many clients, or few.
func BenchmarkGrantOfMany(b *testing.B) {
	for _, n := range []int{10, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			index, api := sensors(n)
			grant := aGrant(api, toSensors, "read")
			for b.Loop() {
				index.Upsert(grant)
				index.Delete(access.RefOf(grant))
			}
		})
	}
}
