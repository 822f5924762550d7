package access_test

import (
	"slices"
	"sync"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/internal/access"
)

// The objects of the simplest scenario: client jobs.job may have the scopes at https://one.example.com.

func anIssuer() *v1alpha1.TokenIssuer {
	return &v1alpha1.TokenIssuer{ObjectMeta: metav1.ObjectMeta{Name: "default"}}
}

func anAPI(namespace, name string, age int, declared ...v1alpha1.ScopeName) *v1alpha1.ApiResource {
	api := &v1alpha1.ApiResource{ObjectMeta: metav1.ObjectMeta{
		Namespace: namespace, Name: name, CreationTimestamp: metav1.Time{Time: hour(-age)},
	}}
	api.Spec.IssuerRef.Name, api.Spec.Identifier = "default", "https://one.example.com"
	for _, scope := range declared {
		api.Spec.Scopes = append(api.Spec.Scopes, v1alpha1.ApiScope{Name: scope})
	}
	return api
}

func aClient(labels map[string]string) *v1alpha1.M2MClient {
	client := &v1alpha1.M2MClient{ObjectMeta: metav1.ObjectMeta{Namespace: "jobs", Name: "job", Labels: labels}}
	client.Spec.IssuerRef.Name = "default"
	return client
}

func aGrant(api *v1alpha1.ApiResource, subject v1alpha1.GrantSubject, scopes ...v1alpha1.ScopeName) *v1alpha1.ScopeGrant {
	grant := &v1alpha1.ScopeGrant{ObjectMeta: metav1.ObjectMeta{Namespace: api.Namespace, Name: "grant"}}
	grant.Spec.ApiResourceRef.Name = v1alpha1.ObjectName(api.Name)
	grant.Spec.Subjects = []v1alpha1.GrantSubject{subject}
	grant.Spec.Scopes = scopes
	return grant
}

var toJob = v1alpha1.GrantSubject{Namespace: "jobs", Name: "job"}

func indexOf(objects ...metav1.Object) *access.Index {
	index := access.NewIndex("m2m-system")
	for _, object := range objects {
		index.Upsert(object)
	}
	return index
}

// granted are the scopes that jobs.job gets.
func granted(index *access.Index, asked ...string) []string {
	d := index.Decide(access.Request{
		Issuer: "default", ClientID: "jobs.job", Audience: "https://one.example.com", Scopes: asked,
	}, epoch)
	var out []string
	for _, scope := range d.Granted {
		out = append(out, scope.Name)
	}
	return out
}

func TestRef(t *testing.T) {
	for want, object := range map[string]metav1.Object{
		"TokenIssuer default": anIssuer(),
		"ApiResource a/x":     anAPI("a", "x", 1),
		"M2MClient jobs/job":  aClient(nil),
		"ScopeGrant a/grant":  aGrant(anAPI("a", "x", 1), toJob),
	} {
		if got := access.RefOf(object).String(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	defer func() {
		if recover() == nil {
			t.Error("a kind that is not ours was taken")
		}
	}()
	access.RefOf(&metav1.ObjectMeta{})
}

func TestClientIDEndsNamespaceAtFirstDot(t *testing.T) {
	client := aClient(nil)
	client.Name = "job.v2"
	index := indexOf(client)
	got, ok := index.Client("jobs.job.v2")
	if !ok || got.Namespace != "jobs" || got.Name != "job.v2" || got.ID != client.ClientID() {
		t.Errorf("got %+v, %v", got, ok)
	}
	for _, id := range []string{"", ".", "jobs", "jobs.", ".job.v2", "jobs.job", "jobs/job.v2", "jobs.job.v2."} {
		if got, ok := index.Client(id); ok {
			t.Errorf("client_id %q finds %+v", id, got)
		}
	}
}

func TestWhoHoldsAnIdentifier(t *testing.T) {
	preview := anAPI("a", "preview", 0)
	preview.CreationTimestamp = metav1.Time{}
	for name, tc := range map[string]struct{ winner, loser *v1alpha1.ApiResource }{
		"the older, whatever its name":            {anAPI("b", "y", 2), anAPI("a", "x", 1)},
		"of one age, the first namespace":         {anAPI("a", "y", 1), anAPI("b", "x", 1)},
		"of one age and namespace, the first":     {anAPI("a", "x", 1), anAPI("a", "y", 1)},
		"what exists, before what is only a plan": {anAPI("b", "y", 1), preview},
	} {
		t.Run(name, func(t *testing.T) {
			for _, order := range [][]metav1.Object{{tc.winner, tc.loser}, {tc.loser, tc.winner}} {
				index := indexOf(append(order, anIssuer())...)
				if got := acceptance(t, index, tc.winner); got != v1alpha1.ReasonAccepted {
					t.Errorf("the winner is %s", got)
				}
				if got := acceptance(t, index, tc.loser); got != v1alpha1.ReasonConflicted {
					t.Errorf("the loser is %s", got)
				}
				index.Delete(access.RefOf(tc.winner))
				if got := acceptance(t, index, tc.loser); got != v1alpha1.ReasonAccepted {
					t.Errorf("with the winner gone, the loser is %s", got)
				}
			}
		})
	}
}

func TestTerminatingNamespaceIsReversible(t *testing.T) {
	old, young := anAPI("a", "x", 2), anAPI("b", "x", 1)
	index := indexOf(anIssuer(), young, old)
	index.SetNamespaceTerminating("a", true)
	if _, ok := index.ApiResourceVerdict(keyed("a", "x"), epoch); ok || acceptance(t, index, young) != v1alpha1.ReasonAccepted {
		t.Error("the ApiResource of a terminating namespace still counts")
	}
	index.SetNamespaceTerminating("a", false)
	if got := acceptance(t, index, young); got != v1alpha1.ReasonConflicted {
		t.Errorf("the namespace is back, and the younger is %s", got)
	}
}

func acceptance(t *testing.T, index *access.Index, api *v1alpha1.ApiResource) string {
	t.Helper()
	v, ok := index.ApiResourceVerdict(keyed(api.Namespace, api.Name), epoch)
	if !ok {
		t.Fatalf("%s is gone", access.RefOf(api))
	}
	return v.Accepted.Reason
}

// A default URL is as much the issuer's own as one that is written down.
func TestIdentifierMustNotBeTheIssuersURL(t *testing.T) {
	api := anAPI("a", "x", 1, "read")
	api.Spec.Identifier = "https://m2m-issuer-default.m2m-system.svc"
	if got := acceptance(t, indexOf(anIssuer(), api), api); got != v1alpha1.ReasonIdentifierInvalid {
		t.Errorf("it is %s", got)
	}
}

// What somebody could take for the URL of the issuer, or of its token endpoint, is nobody's identifier.
func TestIdentifierMustNotPoseAsTheIssuer(t *testing.T) {
	for _, test := range []struct {
		issuer string
		poses  []string
		others []string
	}{
		{
			"https://t.example.com",
			[]string{
				"https://t.example.com", "https://t.example.com/", "https://t.example.com//", "https://T.Example.COM", "HTTPS://t.example.com",
				"https://t.example.com:443", "https://t.example.com:443/", "https://t.example.com/oauth2/token", "https://T.example.com:443/oauth2/token/",
				"https://t.example.com/oauth/token", "https://t.example.com/oidc/token", "https://t.example.com/service/oauth/token",
				"https://t.example.com/services/oauth/token", "https://t.example.com/token",
			},
			[]string{
				"https://t.example.com:8443", "https://t.example.co", "https://t.example.com.example.org", "https://x.t.example.com",
				"https://t.example.com/api", "https://t.example.com/tokens", "https://t.example.com/OAUTH2/token", "https://t.example.com/oauth2",
				"http://t.example.com", "urn:t.example.com", "https:t.example.com",
			},
		}, {
			"https://t.example.com:443/a/",
			[]string{"https://t.example.com/a", "https://t.example.com/a/", "https://t.example.com:443/a", "https://t.example.com/a/oauth2/token", "https://t.example.com/a/token"},
			[]string{"https://t.example.com", "https://t.example.com/A", "https://t.example.com/ab", "https://t.example.com/oauth2/token", "https://t.example.com/a/b"},
		}, {
			"https://[2001:db8::1]:8443",
			[]string{"https://[2001:DB8::1]:8443/"},
			[]string{"https://[2001:db8::1]", "https://[2001:db8::1]:443"},
		},
	} {
		issuer := anIssuer()
		issuer.Spec.URL = test.issuer
		for want, identifiers := range map[string][]string{v1alpha1.ReasonIdentifierInvalid: test.poses, v1alpha1.ReasonAccepted: test.others} {
			for _, identifier := range identifiers {
				api := anAPI("a", "x", 1, "read")
				api.Spec.Identifier = identifier
				if got := acceptance(t, indexOf(issuer, api), api); got != want {
					t.Errorf("%s is %s at %s, want %s", identifier, got, test.issuer, want)
				}
			}
		}
	}
}

// Manifests that no API server has defaulted mean what they will mean once one has.
func TestAbsentIssuerRef(t *testing.T) {
	api, client := anAPI("a", "x", 1, "read"), aClient(nil)
	api.Spec.IssuerRef.Name, client.Spec.IssuerRef.Name = "", ""
	index := indexOf(anIssuer(), api, client, aGrant(api, toJob, "read"))
	if got := granted(index); !slices.Equal(got, []string{"read"}) {
		t.Errorf("granted %v", got)
	}
}

func TestExactScopesHaveNoWildcards(t *testing.T) {
	api := anAPI("a", "x", 1, "*", "book", "book:*", "book:read", "BOOK")
	index := indexOf(anIssuer(), api, aClient(nil), aGrant(api, toJob, "*", "book", "book:*"))
	if got := granted(index, "book:read", "BOOK"); got != nil {
		t.Errorf("granted %v", got)
	}
	if got, want := granted(index), []string{"*", "book", "book:*"}; !slices.Equal(got, want) {
		t.Errorf("granted %v, want %v", got, want)
	}
}

func TestMovedLabel(t *testing.T) {
	api := anAPI("a", "x", 1, "read")
	sensors := v1alpha1.GrantSubject{
		Namespace: "jobs", Selector: &v1alpha1.ClientSelector{MatchLabels: map[string]string{"kind": "sensor"}},
	}
	index := indexOf(anIssuer(), api, aGrant(api, sensors, "read"))
	for _, tc := range []struct {
		labels map[string]string
		want   []string
	}{
		{map[string]string{"kind": "sensor"}, []string{"read"}},
		{map[string]string{"kind": "gate"}, nil},
		{nil, nil},
		{map[string]string{"kind": "sensor", "site": "north"}, []string{"read"}},
	} {
		index.Upsert(aClient(tc.labels))
		if got := granted(index); !slices.Equal(got, tc.want) {
			t.Errorf("with labels %v: granted %v, want %v", tc.labels, got, tc.want)
		}
	}
}

// The generation is that of the last Upsert, whatever its number, and none for what is gone.
func TestGeneration(t *testing.T) {
	api := anAPI("a", "x", 1, "read")
	for _, object := range []metav1.Object{api, aGrant(api, toJob, "read"), aClient(nil)} {
		ref, index := access.RefOf(object), access.NewIndex("m2m-system")
		want := func(generation int64, when string) {
			if got := index.Generation(ref); got != generation {
				t.Errorf("%s %s: generation %d, want %d", ref, when, got, generation)
			}
		}
		want(0, "before it is known")
		for _, generation := range []int64{7, 8, 1} { // 1: deleted and created anew
			object.SetGeneration(generation)
			index.Upsert(object)
			want(generation, "after Upsert")
		}
		index.SetNamespaceTerminating(ref.Namespace, true)
		want(0, "in a terminating namespace")
		index.SetNamespaceTerminating(ref.Namespace, false)
		index.Delete(ref)
		want(0, "after Delete")
	}
}

// An index from which everything was deleted holds nothing: memory follows the objects, not their history.
func TestIndexForgets(t *testing.T) {
	afterEachChange(t, func(t *testing.T, h *history) {
		if h.step < changes-1 {
			return
		}
		if h.index.Remains() == 0 {
			t.Error("there was nothing to forget")
		}
		for ref := range h.world.objects {
			h.index.Delete(ref)
		}
		for _, ns := range namespaces {
			h.index.SetNamespaceTerminating(ns, false)
		}
		if n := h.index.Remains(); n != 0 {
			t.Errorf("%d entries remain", n)
		}
	})
}

// While a grant changes from one scope to another there is no instant with neither and none with both. The other calls
// are there for the race detector.
func TestConcurrentUse(t *testing.T) {
	api := anAPI("a", "x", 1, "read", "write")
	index := indexOf(anIssuer(), api, aClient(nil), aGrant(api, toJob, "read"))
	done := make(chan struct{})
	var readers sync.WaitGroup
	for range 2 {
		readers.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				if got := granted(index); len(got) != 1 {
					t.Errorf("granted %v", got)
					return
				}
				index.Client("jobs.job")
				index.ClientVerdict(keyed("jobs", "job"), epoch)
				index.GrantVerdict(keyed("a", "grant"), epoch)
				index.Affected(access.RefOf(api))
			}
		})
	}
	for range 500 {
		index.Upsert(aGrant(api, toJob, "write"))
		index.Upsert(aClient(map[string]string{"kind": "sensor"}))
		index.Upsert(anAPI("b", "y", 0, "read"))
		index.Upsert(aGrant(api, toJob, "read"))
		index.Delete(access.Ref{Kind: access.KindApiResource, Namespace: "b", Name: "y"})
	}
	close(done)
	readers.Wait()
}

// Names are compared character by character: a dot is a dot.
func TestServiceAccountNamesAreCompared(t *testing.T) {
	client := aClient(nil)
	client.Spec.Authentication = []v1alpha1.AuthenticationMethod{v1alpha1.AuthenticateByServiceAccount}
	client.Spec.ServiceAccountName = "a.b"
	index := indexOf(client)
	if got, ok := index.ClientByServiceAccount("default", "jobs", "a.b"); !ok || got.ID != "jobs.job" {
		t.Errorf("got %+v, %v", got, ok)
	}
	for _, other := range [][3]string{
		{"default", "jobs", "axb"}, {"default", "jobs", "a.bc"}, {"default", "jobs", "a"}, {"default", "jobs", "A.b"},
		{"default", "jobs", ""}, {"default", "job", "a.b"}, {"edge", "jobs", "a.b"}, {"default", "jobs.a", "b"},
	} {
		if got, ok := index.ClientByServiceAccount(other[0], other[1], other[2]); ok {
			t.Errorf("%q proves %+v", other, got)
		}
	}
	index.SetNamespaceTerminating("jobs", true)
	if got, ok := index.ClientByServiceAccount("default", "jobs", "a.b"); ok {
		t.Errorf("in a terminating namespace it proves %+v", got)
	}
}

// TestRevokedCredentials: authentication never sees what the spec revokes, whatever status says.
func TestRevokedCredentials(t *testing.T) {
	job := aClient(nil)
	job.Status.Credentials = []v1alpha1.CredentialStatus{{ID: "0000000000000001"}, {ID: "0000000000000002"}}
	job.Spec.Credential.RevokedIDs = []v1alpha1.CredentialID{"0000000000000001", "0000000000000003"}
	index := indexOf(job)
	if client, _ := index.Client("jobs.job"); len(client.Credentials) != 1 || client.Credentials[0].ID != "0000000000000002" {
		t.Errorf("the index shows %v", client.Credentials)
	}
	job.Spec.Credential.RevokedIDs = append(job.Spec.Credential.RevokedIDs, "0000000000000002")
	index.Upsert(job)
	if client, known := index.Client("jobs.job"); len(client.Credentials) > 0 || !known {
		t.Errorf("the index shows %v, known: %t", client.Credentials, known)
	}
}
