package scenarios

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/hack/controlplane"
	"github.com/m2m-operator/m2m-operator/test/suite"
)

var (
	ctx    = context.Background()
	world  *suite.Suite
	server *suite.Issuer
	// authentication is the file of kube-apiserver's --authentication-config.
	authentication string
)

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	directory, err := os.MkdirTemp("", "scenarios-")
	if err == nil {
		defer os.RemoveAll(directory)
		authentication = filepath.Join(directory, "authentication.yaml")
		err = os.WriteFile(authentication, []byte("apiVersion: apiserver.config.k8s.io/v1\nkind: AuthenticationConfiguration\n"), 0o600)
	}
	if err == nil {
		world, err = suite.StartWith(ctx, controlplane.Options{APIServerArgs: map[string]string{"authentication-config": authentication}})
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer world.Stop()
	stopManager, err := world.StartManager(suite.ManagerOptions{})
	if err == nil {
		server, err = world.StartIssuer("default")
	}
	if err == nil {
		// Tests are behind a proxy, so that they may say where a request comes from. The URL is the default one.
		err = world.Admin.Create(ctx, &v1alpha1.TokenIssuer{
			ObjectMeta: metav1.ObjectMeta{Name: "default"},
			Spec:       v1alpha1.TokenIssuerSpec{TrustedProxies: []string{"127.0.0.0/8"}},
		})
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	code := m.Run()
	for _, stop := range []func() error{server.Stop, stopManager} {
		if err := stop(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	return world.Verdict(code)
}

// ready waits for the issuer.
func ready(t testing.TB) {
	t.Helper()
	suite.Eventually(t, func() string {
		response, err := http.Get("http://" + server.OpsAddress + "/readyz")
		if err != nil {
			return err.Error()
		}
		defer response.Body.Close()
		if body, _ := io.ReadAll(response.Body); response.StatusCode != http.StatusOK {
			return fmt.Sprintf("%d %s", response.StatusCode, body)
		}
		return ""
	})
}

func create(t testing.TB, objects ...client.Object) {
	t.Helper()
	for _, object := range objects {
		if err := world.Admin.Create(ctx, object); err != nil {
			t.Fatal(err)
		}
	}
}

func remove(t testing.TB, object client.Object) {
	t.Helper()
	if err := world.Admin.Delete(ctx, object); err != nil {
		t.Fatal(err)
	}
}

func get[T client.Object](t testing.TB, object T, namespace, name string) T {
	t.Helper()
	if err := world.Admin.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, object); err != nil {
		t.Fatal(err)
	}
	return object
}

func named(namespace, name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: namespace, Name: name}
}

func newNamespaces(t testing.TB, names ...string) {
	t.Helper()
	for _, name := range names {
		create(t, &corev1.Namespace{ObjectMeta: named("", name)})
	}
}

// newAPI describes an API, which is yet to be created.
func newAPI(namespace, name, identifier string, scopes ...v1alpha1.ScopeName) *v1alpha1.ApiResource {
	api := &v1alpha1.ApiResource{ObjectMeta: named(namespace, name)}
	api.Spec.Identifier = identifier
	for _, scope := range scopes {
		api.Spec.Scopes = append(api.Spec.Scopes, v1alpha1.ApiScope{Name: scope})
	}
	return api
}

// newClient describes a client, which is yet to be created.
func newClient(namespace, name string, labels map[string]string) *v1alpha1.M2MClient {
	c := &v1alpha1.M2MClient{ObjectMeta: named(namespace, name)}
	c.Labels = labels
	return c
}

// newGrant describes a grant for one client, which is yet to be created. It has the client's name.
func newGrant(api *v1alpha1.ApiResource, to *v1alpha1.M2MClient, scopes ...v1alpha1.ScopeName) *v1alpha1.ScopeGrant {
	grant := &v1alpha1.ScopeGrant{ObjectMeta: named(api.Namespace, to.Name)}
	grant.Spec.ApiResourceRef.Name = v1alpha1.ObjectName(api.Name)
	grant.Spec.Subjects = []v1alpha1.GrantSubject{{Namespace: v1alpha1.NamespaceName(to.Namespace), Name: v1alpha1.ObjectName(to.Name)}}
	grant.Spec.Scopes = scopes
	return grant
}

// awaitCondition waits until an object says so of what it is now, and returns the message.
func awaitCondition(t testing.TB, object v1alpha1.Conditioned, kind string, status metav1.ConditionStatus, reason string) (message string) {
	t.Helper()
	suite.Eventually(t, func() string {
		if err := world.Admin.Get(ctx, client.ObjectKey{Namespace: object.GetNamespace(), Name: object.GetName()}, object.(client.Object)); err != nil {
			return err.Error()
		}
		for _, c := range *object.StatusConditions() {
			if c.Type == kind && c.Status == status && c.Reason == reason && c.ObservedGeneration == object.GetGeneration() {
				message = c.Message
				return ""
			}
		}
		return fmt.Sprintf("%T %s/%s: %+v, want %s=%s %s", object, object.GetNamespace(), object.GetName(), *object.StatusConditions(), kind, status, reason)
	})
	return message
}

func awaitReady(t testing.TB, object v1alpha1.Conditioned) {
	t.Helper()
	awaitCondition(t, object, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
}
