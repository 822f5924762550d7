package scenarios

import (
	"fmt"
	"testing"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/test/suite"
)

// TestAnyClient: where an API is open, every client has every scope of it that there is, and its rules hold all the same.
func TestAnyClient(t *testing.T) {
	ready(t)
	newNamespaces(t, "open", "anybody")
	api := newAPI("open", "time", "https://time.example.com", "read", "leap")
	api.Spec.Authorization = v1alpha1.AuthorizationAnyClient
	api.Spec.Rules = []v1alpha1.PolicyCondition{{Expression: "client.name != 'nobody'", Message: "nobody may not"}}
	create(t, api, newClient("anybody", "somebody", nil), newClient("anybody", "nobody", nil))
	somebody, nobody := mount(t, "anybody", "somebody"), mount(t, "anybody", "nobody")
	somebody.awaitVerdict("granted", api.Spec.Identifier)
	wantToken(t, "all", somebody.ask(api.Spec.Identifier, ""), "leap read", "")
	wantToken(t, "one, and one that there is not", somebody.ask(api.Spec.Identifier, "read stop"), "read", "stop")
	wantError(t, "none that there is", somebody.ask(api.Spec.Identifier, "stop"), "invalid_scope")
	nobody.awaitVerdict("access_denied", api.Spec.Identifier)
	wantDenied(t, "whom a rule refuses", nobody.ask(api.Spec.Identifier, "read"), "nobody may not")
	awaitAccess(t, "anybody", "somebody", "https://time.example.com [leap read]")
	awaitAccess(t, "anybody", "nobody")

	api.Spec.Authorization = v1alpha1.AuthorizationRequired
	suite.Save(t, world.Admin, api)
	somebody.awaitVerdict("invalid_target", api.Spec.Identifier)
	awaitAccess(t, "anybody", "somebody")
}

// TestPartialGrantsRefuse: all that is asked for, or nothing.
func TestPartialGrantsRefuse(t *testing.T) {
	ready(t)
	newNamespaces(t, "whole")
	api := newAPI("whole", "ledger", "https://whole.example.com", "read", "write")
	api.Spec.PartialGrants = v1alpha1.PartialGrantsRefuse
	clerk := newClient("whole", "clerk", nil)
	create(t, api, clerk, newGrant(api, clerk, "read"))
	w := mount(t, "whole", "clerk")
	w.awaitVerdict("granted", api.Spec.Identifier)
	wantToken(t, "all that it has", w.ask(api.Spec.Identifier, ""), "read", "")
	wantToken(t, "what it has", w.ask(api.Spec.Identifier, "read"), "read", "")
	got := w.ask(api.Spec.Identifier, "read write")
	wantError(t, "more than it has", got, "invalid_scope")
	if want := "not all of the requested scopes are granted to this client"; got.Description != want {
		t.Errorf("it says %q, want %q", got.Description, want)
	}
	if line := lastAuditLine(t); line.Reason != "PartialRefused" {
		t.Errorf("the audit log says %+v", line)
	}

	api.Spec.PartialGrants = v1alpha1.PartialGrantsAllow
	suite.Save(t, world.Admin, api)
	suite.Eventually(t, func() string {
		if got := w.ask(api.Spec.Identifier, "read write"); got.Scope != "read" || got.Rejected != "write" {
			return got.String()
		}
		return ""
	})
}

// awaitAccess waits until a client's status says so of what it may have: audiences and scopes.
func awaitAccess(t *testing.T, namespace, name string, want ...string) {
	t.Helper()
	suite.Eventually(t, func() string {
		var got []string
		for _, a := range get(t, &v1alpha1.M2MClient{}, namespace, name).Status.Access {
			if a.ApiResource.Namespace == "open" { // other tests' APIs may be open too
				got = append(got, fmt.Sprintf("%s %v", a.Audience, a.Scopes))
			}
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			return fmt.Sprintf("status.access is %q, want %q", got, want)
		}
		return ""
	})
}
