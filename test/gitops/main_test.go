package gitops

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/test/suite"
)

// person is the field manager of everything that a test creates or saves.
const person = client.FieldOwner("kubectl-edit")

var (
	ctx   = context.Background()
	world *suite.Suite
	// git is a client of a person and of a GitOps tool, not of the operator.
	git client.Client
)

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	var err error
	if world, err = suite.Start(ctx); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer world.Stop()
	git = client.WithFieldOwner(world.Admin, string(person))
	return world.Verdict(m.Run())
}

// startManager runs the controllers, whose clock may be ahead, and ends them with the returned function.
func startManager(t *testing.T, options suite.ManagerOptions) (stop func()) {
	t.Helper()
	end, err := world.StartManager(options)
	if err != nil {
		t.Fatal(err)
	}
	running := true
	stop = func() {
		if !running {
			return
		}
		running = false
		if err := end(); err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(stop)
	return stop
}

// ahead is a clock that is ahead of the machine's.
func ahead(by time.Duration) func() time.Time {
	return func() time.Time { return time.Now().Add(by) }
}

func create(t *testing.T, objects ...client.Object) {
	t.Helper()
	for _, object := range objects {
		if err := git.Create(ctx, object); err != nil {
			t.Fatal(err)
		}
	}
}

func named(namespace, name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: namespace, Name: name}
}

func newIssuer(name string) *v1alpha1.TokenIssuer {
	return &v1alpha1.TokenIssuer{ObjectMeta: named("", name)}
}

// newAPI describes an API of the namespace apis, whose identifier follows from its name.
func newAPI(issuer, name string) *v1alpha1.ApiResource {
	api := &v1alpha1.ApiResource{ObjectMeta: named("apis", name)}
	api.Spec.IssuerRef.Name = issuer
	api.Spec.Identifier = "https://" + name + ".example.com/"
	api.Spec.Scopes = []v1alpha1.ApiScope{{Name: "read"}, {Name: "write"}}
	return api
}

// newClient describes a client of the namespace jobs.
func newClient(issuer, name string) *v1alpha1.M2MClient {
	c := &v1alpha1.M2MClient{ObjectMeta: named("jobs", name)}
	c.Spec.IssuerRef.Name = issuer
	return c
}

// newGrant describes a grant of an API's scope read.
func newGrant(api, name string) *v1alpha1.ScopeGrant {
	grant := &v1alpha1.ScopeGrant{ObjectMeta: named("apis", name)}
	grant.Spec.ApiResourceRef.Name = v1alpha1.ObjectName(api)
	grant.Spec.Subjects = []v1alpha1.GrantSubject{{Namespace: "jobs", Name: "ready"}}
	grant.Spec.Scopes = []v1alpha1.ScopeName{"read"}
	return grant
}
