package gitops

import (
	"fmt"
	"strings"
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/m2m-operator/m2m-operator/test/suite"
)

// rounds of an edit and an apply.
const rounds = 5

// shaken is an object that a tool applies, and a person edits.
type shaken struct {
	object       client.Object
	kind, plural string
	// spec that is in git, and what the person makes of it.
	spec, edited string
}

// TestNoFlappingOfOtherKinds: what TestNoFlapping says of clients holds for the other kinds too.
func TestNoFlappingOfOtherKinds(t *testing.T) {
	writes := &suite.Writes{}
	startManager(t, suite.ManagerOptions{Wrap: writes.Wrap})
	ensureNamespaces(t, "apis", "jobs")
	create(t, newClient("shaken", "shaken"))
	for _, test := range []shaken{
		{newIssuer("shaken"), "TokenIssuer", "tokenissuers", `{"tokens":{"defaultLifetime":"30m"}}`, `{"tokens":{"defaultLifetime":"20m","maxLifetime":"2h"}}`},
		{
			newAPI("shaken", "shaken"), "ApiResource", "apiresources",
			`{"issuerRef":{"name":"shaken"},"identifier":"https://shaken.example.com/","displayName":"In git","scopes":[{"name":"read"}]}`,
			`{"displayName":"Edited","token":{"lifetime":"5m"}}`,
		},
		{
			newGrant("shaken", "shaken"), "ScopeGrant", "scopegrants",
			`{"apiResourceRef":{"name":"shaken"},"subjects":[{"namespace":"jobs","name":"shaken"}],"scopes":["read"],"suspend":false}`,
			`{"suspend":true,"notBefore":"2026-01-01T00:00:00Z"}`,
		},
	} {
		t.Run(test.plural, func(t *testing.T) { test.shake(t, writes) })
	}
}

func (s shaken) shake(t *testing.T, writes *suite.Writes) {
	t.Helper()
	metadata := fmt.Sprintf(`{"name":"shaken","namespace":%q,"labels":{"by":"tool"}}`, s.object.GetNamespace())
	text := fmt.Sprintf(`{"apiVersion":"m2m-operator.io/v1alpha1","kind":%q,"metadata":%s,"spec":%s}`, s.kind, metadata, s.spec)
	apply(t, text)
	awaitReady(t, s.object)
	initial := len(writesBelow(writes, s.plural+"/shaken"))
	for range rounds {
		edit := client.RawPatch("application/merge-patch+json", []byte(`{"metadata":{"labels":{"by":"person","of":"person"}},"spec":`+s.edited+`}`))
		if err := git.Patch(ctx, s.object, edit); err != nil {
			t.Fatal(err)
		}
		awaitReady(t, s.object)
		apply(t, text)
		awaitReady(t, s.object)
	}
	live := apply(t, text)
	for range rounds {
		if again := apply(t, text); again.GetGeneration() != live.GetGeneration() {
			t.Errorf("the generation goes from %d to %d, though nothing has changed", live.GetGeneration(), again.GetGeneration())
		}
	}
	made := writesBelow(writes, s.plural+"/shaken")
	if count := len(made) - initial; count < 2*rounds || count > 2*2*rounds {
		t.Errorf("%d changes took %d writes: %q", 2*rounds, count, made[initial:])
	}
	for _, write := range made {
		if !strings.HasSuffix(write, "/status") {
			t.Errorf("the operator has written: %s", write)
		}
	}
	if labels := live.GetLabels(); labels["by"] != "tool" || labels["of"] != "person" {
		t.Errorf("the tool's and the person's labels have become %v", labels)
	}
}

// writesBelow are those to an object of ours, or a part of it.
func writesBelow(writes *suite.Writes, path string) (out []string) {
	for _, write := range writes.List() {
		if strings.HasSuffix(write, "/"+path) || strings.Contains(write, "/"+path+"/") {
			out = append(out, write)
		}
	}
	return out
}
