package access_test

import (
	"fmt"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/internal/access"
)

const (
	manyClients = 50_000
	manyAPIs    = 5_000
	manyGrants  = 50_000
)

// large is the index of a large company: every client has a grant of its own, and every hundredth grant is one for all
// labelled clients of a namespace besides.
func large() *access.Index {
	index := access.NewIndex("m2m-system")
	index.Upsert(&v1alpha1.TokenIssuer{ObjectMeta: metav1.ObjectMeta{Name: "default"}})
	for i := range manyAPIs {
		api := anAPI(fmt.Sprintf("team-%d", i%500), fmt.Sprintf("api-%d", i), 1, "read", "write")
		api.Spec.Identifier = fmt.Sprintf("https://api-%d.example.com", i)
		index.Upsert(api)
	}
	for i := range manyClients {
		index.Upsert(largeClient(i))
	}
	for i := range manyGrants {
		subject := v1alpha1.GrantSubject{Namespace: v1alpha1.NamespaceName(largeClient(i).Namespace), Name: v1alpha1.ObjectName(largeClient(i).Name)}
		if i%100 == 0 {
			subject.Name, subject.Selector = "", &v1alpha1.ClientSelector{MatchLabels: map[string]string{"kind": "sensor"}}
		}
		n := i % manyAPIs
		grant := aGrant(anAPI(fmt.Sprintf("team-%d", n%500), fmt.Sprintf("api-%d", n), 1), subject, "read")
		grant.Name = fmt.Sprintf("grant-%d", i)
		index.Upsert(grant)
	}
	return index
}

func largeClient(i int) *v1alpha1.M2MClient {
	client := aClient(map[string]string{"kind": "sensor"})
	client.Namespace, client.Name = fmt.Sprintf("jobs-%d", i%1000), fmt.Sprintf("job-%d", i)
	return client
}

func BenchmarkDecide(b *testing.B) {
	index := large()
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		n := i*7%(manyClients/100)*100 + 1 // a client with a grant of its own
		d := index.Decide(access.Request{
			Issuer: "default", ClientID: fmt.Sprintf("jobs-%d.job-%d", n%1000, n),
			Audience: fmt.Sprintf("https://api-%d.example.com", n%manyAPIs), Scopes: []string{"read"},
		}, epoch)
		if d.Outcome != access.OutcomeGranted {
			b.Fatalf("%+v", d)
		}
	}
}

func BenchmarkUpsertClient(b *testing.B) {
	index := large()
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		index.Upsert(largeClient(i % manyClients))
	}
}

func BenchmarkBuild(b *testing.B) {
	for b.Loop() {
		large()
	}
}
