//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// rights that somebody has, and some that he has not: "verb group/resource namespace", the namespace being "-" for all.
type rights struct {
	user    string
	yes, no []string
}

func serviceAccount(namespace, name string) string {
	return "system:serviceaccount:" + namespace + ":" + name
}

const kinds = "m2m-operator.io/"

var expectedRights = []rights{
	{user: serviceAccount(system, "m2m-manager"),
		yes: []string{"watch " + kinds + "m2mclients -", "patch " + kinds + "m2mclients/status -", "create " + kinds + "tokenissuers -", "create /secrets e2e", "delete /secrets e2e", "update /configmaps e2e",
			"patch apps/deployments " + system, "patch /services " + system, "patch policy/poddisruptionbudgets " + system, "update coordination.k8s.io/leases " + system, "get /pods " + system},
		no: []string{"update " + kinds + "m2mclients -", "delete /configmaps e2e", "create " + kinds + "scopegrants e2e", "patch apps/deployments e2e", "get /pods e2e",
			"delete apps/deployments " + system, "create rbac.authorization.k8s.io/roles " + system, "create /pods " + system, "impersonate /users -", "get /nodes -"}},
	{user: serviceAccount(system, "m2m-issuer"),
		yes: []string{"watch " + kinds + "tokenissuers -", "list " + kinds + "apiresources -", "list " + kinds + "m2mclients -", "list " + kinds + "scopegrants -", "list /namespaces -", "watch /secrets " + system, "watch /configmaps " + system},
		no: []string{"get /secrets e2e", "list /secrets -", "update /secrets " + system, "patch " + kinds + "m2mclients/status -", "create " + kinds + "scopegrants e2e", "get /configmaps e2e",
			"create coordination.k8s.io/leases " + system, "get /pods " + system}},
	{user: serviceAccount(system, "default"), no: []string{"get /secrets " + system, "list " + kinds + "tokenissuers -", "list " + kinds + "m2mclients e2e"}},
	{user: serviceAccount("e2e", "default"), no: []string{"get /secrets e2e", "list " + kinds + "m2mclients e2e", "create " + kinds + "m2mclients e2e"}},
	{user: "e2e-view",
		yes: []string{"list " + kinds + "apiresources e2e", "list " + kinds + "m2mclients e2e", "list " + kinds + "scopegrants e2e"},
		no:  []string{"create " + kinds + "m2mclients e2e", "create " + kinds + "scopegrants e2e", "get /secrets e2e", "list " + kinds + "m2mclients " + system, "list " + kinds + "tokenissuers -"}},
	{user: "e2e-edit",
		yes: []string{"list " + kinds + "scopegrants e2e", "create " + kinds + "m2mclients e2e", "delete " + kinds + "m2mclients e2e", "get /secrets e2e"},
		no:  []string{"create " + kinds + "scopegrants e2e", "update " + kinds + "apiresources e2e", "patch " + kinds + "m2mclients/status e2e", "create " + kinds + "m2mclients courses", "create " + kinds + "tokenissuers -"}},
	{user: "e2e-admin",
		yes: []string{"create " + kinds + "scopegrants e2e", "delete " + kinds + "apiresources e2e", "patch " + kinds + "m2mclients e2e"},
		no:  []string{"patch " + kinds + "scopegrants/status e2e", "create " + kinds + "scopegrants courses", "create " + kinds + "tokenissuers -", "get /secrets " + system}},
}

// testRights asks the API server as each of them, with the aggregation that a real controller-manager does.
func testRights(t *testing.T) {
	install(t, image)
	ensureCaller(t)
	for _, role := range []string{"view", "edit", "admin"} {
		binding := &rbacv1.RoleBinding{
			ObjectMeta: metav1.ObjectMeta{Namespace: "e2e", Name: "e2e-" + role},
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role},
			Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: "e2e-" + role}},
		}
		if err := kube.Create(t.Context(), binding); err != nil && !apierrors.IsAlreadyExists(err) {
			t.Fatal(err)
		}
	}
	for _, r := range expectedRights {
		as := rest.CopyConfig(config)
		as.Impersonate = rest.ImpersonationConfig{UserName: r.user, Groups: []string{"system:authenticated"}}
		if account, ok := strings.CutPrefix(r.user, "system:serviceaccount:"); ok {
			namespace, _, _ := strings.Cut(account, ":")
			as.Impersonate.Groups = append(as.Impersonate.Groups, "system:serviceaccounts", "system:serviceaccounts:"+namespace)
		}
		asked, err := kubernetes.NewForConfig(as)
		if err != nil {
			t.Fatal(err)
		}
		for _, question := range r.yes { // the aggregation may take a moment
			await(t, 10*time.Second, r.user+" may "+question, func(ctx context.Context) string { return canI(ctx, asked, question, true) })
		}
		for _, question := range r.no {
			if why := canI(t.Context(), asked, question, false); why != "" {
				t.Errorf("%s: %s: %s", r.user, question, why)
			}
		}
	}
}

func canI(ctx context.Context, as kubernetes.Interface, question string, want bool) string {
	words := strings.Fields(question)
	group, resource, _ := strings.Cut(words[1], "/")
	resource, subresource, _ := strings.Cut(resource, "/")
	review, err := as.AuthorizationV1().SelfSubjectAccessReviews().Create(ctx, &authorizationv1.SelfSubjectAccessReview{
		Spec: authorizationv1.SelfSubjectAccessReviewSpec{ResourceAttributes: &authorizationv1.ResourceAttributes{
			Verb: words[0], Group: group, Resource: resource, Subresource: subresource, Namespace: strings.Trim(words[2], "-"),
		}},
	}, metav1.CreateOptions{})
	if err != nil {
		return err.Error()
	}
	if review.Status.Allowed != want {
		return fmt.Sprintf("allowed: %t %s", review.Status.Allowed, review.Status.Reason)
	}
	return ""
}
