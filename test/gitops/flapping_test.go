package gitops

import (
	"strings"
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/m2m-operator/m2m-operator/test/suite"
)

// TestNoFlappingOfOtherKinds: what TestNoFlapping says of clients holds for the other kinds too.
func TestNoFlappingOfOtherKinds(t *testing.T) {
	const rounds = 5
	writes := &suite.Writes{}
	startManager(t, suite.ManagerOptions{Wrap: writes.Wrap})
	ensureNamespaces(t, "apis", "jobs")
	subject := newClient("shaken", "shaken")
	create(t, subject)
	grant := newGrant("shaken", "shaken")
	for _, test := range []struct {
		object                   client.Object
		path, kind, spec, edited string
	}{
		{newIssuer("shaken"), "tokenissuers/shaken", "TokenIssuer", `{"tokens":{"defaultLifetime":"30m"}}`, `{"tokens":{"defaultLifetime":"20m","maxLifetime":"2h"}}`},
		{
			newAPI("shaken", "shaken"), "apiresources/shaken", "ApiResource",
			`{"issuerRef":{"name":"shaken"},"identifier":"https://shaken.example.com/","displayName":"In git","scopes":[{"name":"read"}]}`,
			`{"displayName":"Edited","token":{"lifetime":"5m"}}`,
		},
		{
			grant, "scopegrants/shaken", "ScopeGrant",
			`{"apiResourceRef":{"name":"shaken"},"subjects":[{"namespace":"jobs","name":"shaken"}],"scopes":["read"],"suspend":false}`,
			`{"suspend":true,"notBefore":"2026-01-01T00:00:00Z"}`,
		},
	} {
		t.Run(test.kind, func(t *testing.T) {
			metadata := `{"name":"shaken","labels":{"by":"tool"}}`
			if namespace := test.object.GetNamespace(); namespace != "" {
				metadata = `{"name":"shaken","namespace":"` + namespace + `","labels":{"by":"tool"}}`
			}
			text := `{"apiVersion":"m2m-operator.io/v1alpha1","kind":"` + test.kind + `","metadata":` + metadata + `,"spec":` + test.spec + `}`
			apply(t, text)
			awaitReady(t, test.object)
			initial := len(writesBelow(writes, test.path))
			for range rounds {
				edit := client.RawPatch("application/merge-patch+json", []byte(`{"metadata":{"labels":{"by":"person","of":"person"}},"spec":`+test.edited+`}`))
				if err := git.Patch(ctx, test.object, edit); err != nil {
					t.Fatal(err)
				}
				awaitReady(t, test.object)
				apply(t, text)
				awaitReady(t, test.object)
			}
			live := apply(t, text)
			for range rounds {
				if again := apply(t, text); again.GetGeneration() != live.GetGeneration() {
					t.Errorf("the generation goes from %d to %d, though nothing has changed", live.GetGeneration(), again.GetGeneration())
				}
			}
			made := writesBelow(writes, test.path)
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
		})
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
