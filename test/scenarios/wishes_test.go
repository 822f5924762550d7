package scenarios

import (
	"fmt"
	"testing"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/test/suite"
)

// awaitPending waits until an ApiResource's status counts these clients, by namespace, that wish for its scopes in vain.
func awaitPending(t *testing.T, api *v1alpha1.ApiResource, count int32, want ...string) {
	t.Helper()
	suite.Eventually(t, func() string {
		status := get(t, &v1alpha1.ApiResource{}, api.Namespace, api.Name).Status
		var got []string
		for _, p := range status.PendingRequests {
			got = append(got, fmt.Sprintf("%s %d", p.Namespace, p.Count))
		}
		if status.PendingRequestCount != count || fmt.Sprint(got) != fmt.Sprint(want) {
			return fmt.Sprintf("status counts %d pending requests, %q; want %d, %q", status.PendingRequestCount, got, count, want)
		}
		return ""
	})
}

// TestWishes: a wish grants nothing, both sides see what becomes of it, and it may be there before its API is.
func TestWishes(t *testing.T) {
	ready(t)
	newNamespaces(t, "wishes", "wishers", "other-wishers")
	api := newAPI("wishes", "api", "https://wishes.example.com", "read", "write")
	wisher := newClient("wishers", "wisher", nil)
	wisher.Spec.Requests = []v1alpha1.AccessRequest{
		{ApiResource: v1alpha1.NamespacedReference{Namespace: "wishes", Name: "api"}, Scopes: []v1alpha1.ScopeName{"write", "read"}},
	}
	other := newClient("other-wishers", "other", nil)
	other.Spec.Requests = wisher.Spec.Requests
	create(t, wisher)
	awaitWishes(t, "wishers", "wisher", "wishes/api Pending [read write]")
	create(t, api, other)
	awaitPending(t, api, 2, "other-wishers 1", "wishers 1")
	caller := mount(t, "wishers", "wisher")
	caller.awaitVerdict("invalid_target", api.Spec.Identifier)

	grant := newGrant(api, wisher, "read")
	create(t, grant)
	awaitWishes(t, "wishers", "wisher", "wishes/api Partial [write]")
	awaitPending(t, api, 2, "other-wishers 1", "wishers 1")
	caller.awaitVerdict("granted", api.Spec.Identifier)
	wantToken(t, "what was granted of the wish", caller.ask(api.Spec.Identifier, "read write"), "read", "write")

	grant.Spec.Scopes = append(grant.Spec.Scopes, "write")
	suite.Save(t, world.Admin, grant)
	awaitWishes(t, "wishers", "wisher", "wishes/api Granted []")
	awaitPending(t, api, 1, "other-wishers 1")

	remove(t, grant)
	awaitWishes(t, "wishers", "wisher", "wishes/api Pending [read write]")
	remove(t, other)
	awaitPending(t, api, 1, "wishers 1")
	caller.awaitVerdict("invalid_target", api.Spec.Identifier)
}
