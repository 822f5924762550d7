package rbac_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/hack/controlplane"
)

const (
	system   = "m2m-system"
	tenant   = "tenant"
	stranger = "stranger"

	read  = "get list watch"
	write = "create update patch delete deletecollection"

	tokenIssuers = "m2m-operator.io/tokenissuers"
	apiResources = "m2m-operator.io/apiresources"
	m2mClients   = "m2m-operator.io/m2mclients"
	scopeGrants  = "m2m-operator.io/scopegrants"
)

var plane *controlplane.ControlPlane

func TestMain(m *testing.M) {
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "the RBAC matrix needs a control plane:", err)
		code = 1
	}
	os.Exit(code)
}

func run(m *testing.M) (code int, err error) {
	ctx := context.Background()
	if plane, err = controlplane.Start(ctx, controlplane.Options{}); err != nil {
		return 1, err
	}
	defer func() {
		if stopErr := plane.Stop(); err == nil {
			err = stopErr
		}
	}()
	root, err := controlplane.RepoRoot()
	if err != nil {
		return 1, err
	}
	config := filepath.Join(root, "config")
	if err := plane.InstallManifests(ctx, filepath.Join(config, "crd", "bases"), filepath.Join(config, "rbac")); err != nil {
		return 1, err
	}
	// What every ServiceAccount of a cluster may read by default, some clusters keep from them.
	everybodys := &rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: "system:service-account-issuer-discovery"}}
	if err := plane.Client().Delete(ctx, everybodys); err != nil {
		return 1, err
	}
	for _, name := range []string{tenant, stranger} {
		namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
		if err := plane.Client().Create(ctx, namespace); err != nil {
			return 1, err
		}
	}
	return m.Run(), nil
}

func cellsOf(t *testing.T, namespaces ...string) []cell {
	t.Helper()
	cells, err := universe(t.Context(), plane.Admin(), namespaces...)
	if err != nil {
		t.Fatal(err)
	}
	return cells
}

func serviceAccount(t *testing.T, name string) *rest.Config {
	t.Helper()
	config, err := plane.ServiceAccountConfig(t.Context(), system, name)
	if err != nil {
		t.Fatal(err)
	}
	return config
}

func newClient(t *testing.T, config *rest.Config) client.Client {
	t.Helper()
	s := runtime.NewScheme()
	if err := scheme.AddToScheme(s); err != nil {
		t.Fatal(err)
	}
	if err := v1alpha1.AddToScheme(s); err != nil {
		t.Fatal(err)
	}
	c, err := client.New(config, client.Options{Scheme: s})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestIssuerMatrix(t *testing.T) {
	checkMatrix(t, serviceAccount(t, "m2m-issuer"), cellsOf(t, system, tenant), rights{
		everywhere: {
			tokenIssuers: read, apiResources: read, m2mClients: read, scopeGrants: read,
			"/namespaces": read,
		},
		system: {
			"/secrets": read, "/configmaps": read,
		},
	}, "/.well-known/openid-configuration", "/openid/v1/jwks")
}

func TestManagerMatrix(t *testing.T) {
	checkMatrix(t, serviceAccount(t, "m2m-manager"), cellsOf(t, system, tenant), rights{
		everywhere: {
			tokenIssuers: read + " create", apiResources: read, m2mClients: read, scopeGrants: read,
			tokenIssuers + "/status": "patch", apiResources + "/status": "patch",
			m2mClients + "/status": "patch", scopeGrants + "/status": "patch",
			"/namespaces": read,
			"/secrets":    read + " create update delete", "/configmaps": read + " create update",
			"events.k8s.io/events":               "create patch",
			"authentication.k8s.io/tokenreviews": "create", "authorization.k8s.io/subjectaccessreviews": "create",
		},
		system: {
			"coordination.k8s.io/leases": "get create update",
			"/events":                    "create patch",
			"/services":                  read + " create patch", "/serviceaccounts": read + " create patch",
			"apps/deployments": read + " create patch", "policy/poddisruptionbudgets": read + " create patch",
			"/pods": "get", "discovery.k8s.io/endpointslices": "list watch",
		},
	})
}

// TestIssuerCannotReadATenantsSecret asks for the thing itself, where the matrix asks about it.
func TestIssuerCannotReadATenantsSecret(t *testing.T) {
	ctx := t.Context()
	for _, namespace := range []string{system, tenant} {
		secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "credentials"}}
		if err := plane.Client().Create(ctx, secret); err != nil {
			t.Fatal(err)
		}
	}
	issuer := newClient(t, serviceAccount(t, "m2m-issuer"))
	key := client.ObjectKey{Namespace: tenant, Name: "credentials"}
	if err := issuer.Get(ctx, key, &corev1.Secret{}); !apierrors.IsForbidden(err) {
		t.Errorf("reading a tenant's Secret: %v, want Forbidden", err)
	}
	if err := issuer.List(ctx, &corev1.SecretList{}); !apierrors.IsForbidden(err) {
		t.Errorf("listing all Secrets: %v, want Forbidden", err)
	}
	key.Namespace = system
	if err := issuer.Get(ctx, key, &corev1.Secret{}); err != nil {
		t.Errorf("reading a Secret of the install namespace: %v", err)
	}
}

// tenantRoles are our ClusterRoles, by the ClusterRole of Kubernetes that they are to be part of. No controller
// aggregates here, so that tests bind what aggregation would have put together.
var tenantRoles = map[string][]string{
	"view":  {"m2m-operator-view"},
	"edit":  {"m2m-operator-view", "m2m-operator-edit"},
	"admin": {"m2m-operator-view", "m2m-operator-edit", "m2m-operator-admin"},
}

// tenantUser is a person with one of the three roles in the tenant's namespace.
func tenantUser(t *testing.T, role string) *rest.Config {
	t.Helper()
	name := role + "-of-tenant"
	for _, clusterRole := range tenantRoles[role] {
		binding := &rbacv1.RoleBinding{
			ObjectMeta: metav1.ObjectMeta{Namespace: tenant, Name: name + "-" + clusterRole},
			Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: "User", Name: name}},
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: clusterRole},
		}
		if err := client.IgnoreAlreadyExists(plane.Client().Create(t.Context(), binding)); err != nil {
			t.Fatal(err)
		}
	}
	config, err := plane.UserConfig(name)
	if err != nil {
		t.Fatal(err)
	}
	return config
}

func TestTenantMatrix(t *testing.T) {
	for role, want := range map[string]rights{
		"view":  {tenant: {apiResources: read, m2mClients: read, scopeGrants: read}},
		"edit":  {tenant: {apiResources: read, m2mClients: read + " " + write, scopeGrants: read}},
		"admin": {tenant: {apiResources: read + " " + write, m2mClients: read + " " + write, scopeGrants: read + " " + write}},
	} {
		t.Run(role, func(t *testing.T) {
			checkMatrix(t, tenantUser(t, role), cellsOf(t, tenant, stranger), want)
		})
	}
}

// TestTenantsCannotWriteStatus: a tenant who could would verify secrets of his own making.
func TestTenantsCannotWriteStatus(t *testing.T) {
	ctx := t.Context()
	admin := newClient(t, tenantUser(t, "admin"))
	m2mClient := &v1alpha1.M2MClient{ObjectMeta: metav1.ObjectMeta{Namespace: tenant, Name: "publisher"}}
	m2mClient.Status.Credentials = []v1alpha1.CredentialStatus{{ID: "forged"}}
	if err := admin.Create(ctx, m2mClient); err != nil {
		t.Fatal(err)
	}
	if len(m2mClient.Status.Credentials) > 0 {
		t.Error("a status came in with the creation")
	}
	m2mClient.Status.ClientID = "forged"
	if err := admin.Status().Update(ctx, m2mClient); !apierrors.IsForbidden(err) {
		t.Errorf("writing status: %v, want Forbidden", err)
	}
	if err := admin.Update(ctx, m2mClient); err != nil {
		t.Fatal(err)
	}
	served := &v1alpha1.M2MClient{}
	if err := admin.Get(ctx, client.ObjectKeyFromObject(m2mClient), served); err != nil {
		t.Fatal(err)
	}
	if served.Status.ClientID != "" || len(served.Status.Credentials) > 0 {
		t.Errorf("a status came in with an update: %+v", served.Status)
	}
	foreign := &v1alpha1.ScopeGrant{ObjectMeta: metav1.ObjectMeta{Namespace: stranger, Name: "take"}}
	if err := admin.Create(ctx, foreign); !apierrors.IsForbidden(err) {
		t.Errorf("granting in a stranger's namespace: %v, want Forbidden", err)
	}
}

// TestAggregation follows the selectors of the ClusterRoles that the API server itself has made.
func TestAggregation(t *testing.T) {
	roles := &rbacv1.ClusterRoleList{}
	if err := plane.Client().List(t.Context(), roles); err != nil {
		t.Fatal(err)
	}
	ours := sets.New(tenantRoles["admin"]...)
	for name, want := range tenantRoles {
		if got := ours.Intersection(aggregated(t, roles.Items, name)); !got.Equal(sets.New(want...)) {
			t.Errorf("%s would aggregate %v of ours, want %v", name, sets.List(got), want)
		}
	}
}

// aggregated are the names of all ClusterRoles whose rules the named one would hold.
func aggregated(t *testing.T, roles []rbacv1.ClusterRole, name string) sets.Set[string] {
	t.Helper()
	out := sets.New[string]()
	for _, role := range roles {
		if role.Name != name || role.AggregationRule == nil {
			continue
		}
		for _, s := range role.AggregationRule.ClusterRoleSelectors {
			selector, err := metav1.LabelSelectorAsSelector(&s)
			if err != nil {
				t.Fatal(err)
			}
			for _, part := range roles {
				if part.Name != name && !out.Has(part.Name) && selector.Matches(labels.Set(part.Labels)) {
					out.Insert(part.Name)
					out = out.Union(aggregated(t, roles, part.Name))
				}
			}
		}
	}
	return out
}
