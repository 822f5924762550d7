package rbac_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// everywhere is the namespace of a request that names none: a cluster-scoped object, or all namespaces at once.
const everywhere = ""

// cell is one question to the authorizer: "list m2m-operator.io/m2mclients in tenant".
type cell struct {
	verb      string
	group     string
	resource  string // with its subresource: "m2mclients/status"
	namespace string
}

func (c cell) String() string {
	where := "everywhere"
	if c.namespace != everywhere {
		where = "in " + c.namespace
	}
	return fmt.Sprintf("%s %s/%s %s", c.verb, c.group, c.resource, where)
}

// rights are what an identity may do: by namespace, by "group/resource", the verbs. What may be done everywhere may be
// done in each namespace too.
type rights map[string]map[string]string

func (r rights) allow(c cell) bool {
	for _, namespace := range []string{everywhere, c.namespace} {
		if slices.Contains(strings.Fields(r[namespace][c.group+"/"+c.resource]), c.verb) {
			return true
		}
	}
	return false
}

// cells that the rights list, so that a right for something that does not exist is noticed.
func (r rights) cells() []cell {
	var out []cell
	for namespace, resources := range r {
		for name, verbs := range resources {
			group, resource, _ := strings.Cut(name, "/")
			for _, verb := range strings.Fields(verbs) {
				out = append(out, cell{verb, group, resource, namespace})
			}
		}
	}
	return out
}

// authenticated is what every identity may do, by Kubernetes' own defaults: ask who it is and what it may do.
var authenticated = map[string]string{
	"authorization.k8s.io/selfsubjectaccessreviews": "create",
	"authorization.k8s.io/selfsubjectrulesreviews":  "create",
	"authentication.k8s.io/selfsubjectreviews":      "create",
}

// universe is every verb on every resource that the API server serves, and on some that exist for the authorizer only,
// in each of the namespaces and everywhere.
func universe(ctx context.Context, admin *rest.Config, namespaces ...string) ([]cell, error) {
	clients, err := kubernetes.NewForConfig(admin)
	if err != nil {
		return nil, err
	}
	_, lists, err := clients.Discovery().ServerGroupsAndResourcesWithContext(ctx)
	if err != nil {
		return nil, err
	}
	// The verbs that discovery does not tell: they guard impersonation, roles, certificates, and whatever "*" allows.
	verbs := sets.New("impersonate", "bind", "escalate", "approve", "sign", "attest", "use", "*")
	resources := sets.New([2]string{"", "users"}, [2]string{"", "groups"}, [2]string{"authentication.k8s.io", "uids"},
		[2]string{"authentication.k8s.io", "userextras/scopes"}, [2]string{"certificates.k8s.io", "signers"},
		[2]string{"*", "*"}, [2]string{"*", "*/*"}, [2]string{"unknown.example.com", "things"})
	for _, list := range lists {
		group := ""
		if before, _, found := strings.Cut(list.GroupVersion, "/"); found {
			group = before
		}
		for _, resource := range list.APIResources {
			resources.Insert([2]string{group, resource.Name})
			verbs.Insert(resource.Verbs...)
		}
	}
	var out []cell
	for resource := range resources {
		for verb := range verbs {
			for _, namespace := range append(namespaces, everywhere) {
				out = append(out, cell{verb, resource[0], resource[1], namespace})
			}
		}
	}
	return out, nil
}

// checkMatrix asks the API server every cell, as the identity itself, and compares the answers with the rights, and with
// the paths of the API server that it may read.
func checkMatrix(t *testing.T, config *rest.Config, cells []cell, want rights, paths ...string) {
	t.Helper()
	if want[everywhere] == nil {
		want[everywhere] = map[string]string{}
	}
	for resource, verbs := range authenticated {
		want[everywhere][resource] = verbs
	}
	known := sets.New(cells...)
	for _, c := range want.cells() {
		if !known.Has(c) {
			t.Errorf("a right is listed that the API server knows nothing of: %s", c)
		}
	}
	clients, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	awaitRights(t, clients, want)
	answers := make([]bool, len(cells))
	group, ctx := errgroup.WithContext(t.Context())
	group.SetLimit(16)
	for i, c := range cells {
		group.Go(func() (err error) {
			answers[i], err = ask(ctx, clients, c)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	for i, c := range cells {
		if answers[i] != want.allow(c) {
			t.Errorf("%s: allowed is %v, want %v", c, answers[i], want.allow(c))
		}
	}
	t.Logf("%d cells", len(cells))
	checkPaths(t, clients, paths)
	checkNamedObjects(t, clients, cells)
}

// awaitRights: the authorizer learns of a new binding a moment after it was written. What never becomes allowed is left
// for the matrix to report.
func awaitRights(t *testing.T, clients kubernetes.Interface, want rights) {
	t.Helper()
	cells := want.cells()
	_ = wait.PollUntilContextTimeout(t.Context(), 20*time.Millisecond, 10*time.Second, true,
		func(ctx context.Context) (bool, error) {
			for _, c := range cells {
				if allowed, err := ask(ctx, clients, c); err != nil || !allowed {
					return false, err
				}
			}
			return true, nil
		})
}

func ask(ctx context.Context, clients kubernetes.Interface, c cell) (bool, error) {
	resource, subresource, _ := strings.Cut(c.resource, "/")
	if c.resource == "*/*" {
		resource, subresource = "*", "*"
	}
	review := &authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{
		ResourceAttributes: &authorizationv1.ResourceAttributes{
			Namespace: c.namespace, Verb: c.verb, Group: c.group, Resource: resource, Subresource: subresource,
		},
	}}
	answer, err := clients.AuthorizationV1().SelfSubjectAccessReviews().Create(ctx, review, metav1.CreateOptions{})
	if err != nil {
		return false, fmt.Errorf("%s: %w", c, err)
	}
	return answer.Status.Allowed, nil
}

// checkNamedObjects finds what the matrix is blind to: rules for objects of one name.
func checkNamedObjects(t *testing.T, clients kubernetes.Interface, cells []cell) {
	t.Helper()
	namespaces := sets.New[string]()
	for _, c := range cells {
		if c.namespace != everywhere {
			namespaces.Insert(c.namespace)
		}
	}
	for namespace := range namespaces {
		review := &authorizationv1.SelfSubjectRulesReview{Spec: authorizationv1.SelfSubjectRulesReviewSpec{Namespace: namespace}}
		answer, err := clients.AuthorizationV1().SelfSubjectRulesReviews().Create(t.Context(), review, metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if answer.Status.Incomplete {
			t.Errorf("the rules in %s are incomplete: %s", namespace, answer.Status.EvaluationError)
		}
		for _, rule := range answer.Status.ResourceRules {
			if len(rule.ResourceNames) > 0 {
				t.Errorf("a rule for objects of one name in %s: %+v", namespace, rule)
			}
		}
	}
}

// checkPaths compares what the identity may do with paths of the API server that are no resources: get these, and
// nothing else.
func checkPaths(t *testing.T, clients kubernetes.Interface, want []string) {
	t.Helper()
	paths := sets.New("/metrics", "/logs", "/debug/pprof", "/*", "/.well-known/openid-configuration", "/.well-known/*",
		"/openid/v1/jwks", "/openid/v1/*").Insert(want...)
	for path := range paths {
		for _, verb := range []string{"get", "post", "put", "delete", "*"} {
			review := &authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{
				NonResourceAttributes: &authorizationv1.NonResourceAttributes{Path: path, Verb: verb},
			}}
			answer, err := clients.AuthorizationV1().SelfSubjectAccessReviews().Create(t.Context(), review, metav1.CreateOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if allowed := verb == "get" && slices.Contains(want, path); answer.Status.Allowed != allowed {
				t.Errorf("%s %s of the API server: allowed is %v, want %v", verb, path, answer.Status.Allowed, allowed)
			}
		}
	}
}
