package cli

import (
	"strings"
	"testing"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
)

// TestGraph: a cluster is drawn with what its statuses say, and a tenant's picture says what it lacks.
func TestGraph(t *testing.T) {
	settled(t)
	for name, c := range map[string]struct{ user, line string }{
		"graph":        {"admin", "graph"},
		"graph-tenant": {"course-team", "graph -o dot -n courses"},
		"graph-nobody": {"nobody", "graph"},
	} {
		t.Run(name, func(t *testing.T) {
			got := kubectl(t, c.user, strings.Fields(c.line)...)
			golden(t, name, "$ kubectl m2m "+c.line+"   # as "+c.user+"\n", got)
		})
	}

	issuer := get(t, &v1alpha1.TokenIssuer{}, "", "default")
	machine := get(t, &v1alpha1.M2MClient{}, "jobs", "publisher")
	if len(issuer.Status.Keys) == 0 || len(machine.Status.Credentials) == 0 {
		t.Fatalf("the statuses name %d keys and %d secrets", len(issuer.Status.Keys), len(machine.Status.Credentials))
	}
	page := must(t, "admin", "graph", "-o", "html")
	for _, part := range []string{issuer.Status.Keys[0].KID, machine.Status.Credentials[0].ID, "From a cluster"} {
		if !strings.Contains(page, part) {
			t.Errorf("the page does not say %q", part)
		}
	}
	if strings.Contains(page, machine.Status.Credentials[0].Verifier) {
		t.Error("the page holds the verifier of a secret")
	}
	if page := must(t, "course-team", "graph", "-o", "html", "-n", "courses"); !strings.Contains(page, "Not everything could be seen") {
		t.Error("a tenant's page does not say what could not be seen")
	}
}
