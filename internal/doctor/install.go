package doctor

import (
	"context"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"
	k8syaml "sigs.k8s.io/yaml"

	"github.com/m2m-operator/m2m-operator/config/crd"
	"github.com/m2m-operator/m2m-operator/config/rbac"
	"github.com/m2m-operator/m2m-operator/internal/manifests"
)

// managerName is that of the Deployment in config/manager.
const managerName = "m2m-manager"

const installAgain = "apply the manifests of the version that you run: docs/operating/installing.md"

// install looks at the definitions of the four kinds.
func (e *examination) install(ctx context.Context) error {
	names, err := fs.Glob(crd.Bases, "bases/*.yaml")
	if err != nil {
		return err
	}
	same := 0
	for _, name := range names {
		text, err := crd.Bases.ReadFile(name)
		if err != nil {
			return err
		}
		ours, theirs := &apiextensionsv1.CustomResourceDefinition{}, &apiextensionsv1.CustomResourceDefinition{}
		if err := k8syaml.Unmarshal(text, ours); err != nil {
			return err
		}
		object := "CustomResourceDefinition " + ours.Name
		switch err := e.Client.Get(ctx, client.ObjectKeyFromObject(ours), theirs); {
		case apierrors.IsNotFound(err):
			e.add(Problem, "install", object, "it is not there", installAgain)
		case apierrors.IsForbidden(err):
			e.notLooked("install", object, err, askAdministrator)
		case err != nil:
			return fmt.Errorf("read %s: %w", object, err)
		case !apiequality.Semantic.DeepEqual(ours.Spec.Versions[0].Schema, theirs.Spec.Versions[0].Schema):
			e.add(Warning, "install", object, "it is not the one of this kubectl m2m", "use the versions of operator, definitions and kubectl m2m that belong together")
		default:
			same++
		}
	}
	if same == len(names) {
		e.ok("install", "", "the four definitions are those of this version")
	}
	return nil
}

// versions looks at what is deployed, and whether it fits together.
func (e *examination) versions(ctx context.Context) error {
	list := &appsv1.DeploymentList{}
	if err := e.Client.List(ctx, list, client.InNamespace(e.InstallNamespace)); apierrors.IsForbidden(err) {
		e.notLooked("versions", "", err, askAdministrator)
		return nil
	} else if err != nil {
		return fmt.Errorf("list Deployments: %w", err)
	}
	images := map[string][]string{}
	var manager bool
	for _, d := range list.Items {
		isManager := d.Name == managerName
		if !isManager && d.Labels[manifests.LabelManagedBy] != manifests.ManagedBy {
			continue
		}
		manager = manager || isManager
		e.deployment(d)
		if containers := d.Spec.Template.Spec.Containers; len(containers) > 0 {
			images[containers[0].Image] = append(images[containers[0].Image], d.Name)
		}
	}
	if !manager {
		e.add(Problem, "install", "Deployment "+e.InstallNamespace+"/"+managerName, "there is no manager: nothing is made, rotated or reported",
			"install it, or name the namespace that it is in: --install-namespace")
	}
	if len(images) > 1 {
		e.add(Warning, "versions", "", "manager and issuers are of different images: "+describe(images), "wait until a rollout is over; if none is under way, look at the manager's log")
	}
	for image := range images {
		_, tag, tagged := strings.Cut(image[strings.LastIndex(image, "/")+1:], ":")
		if tagged && strings.HasPrefix(e.Version, "v") && strings.HasPrefix(tag, "v") && tag != e.Version {
			e.add(Warning, "versions", "", fmt.Sprintf("the image %s is not of the version of this kubectl m2m, %s", image, e.Version), "use versions that belong together")
		}
	}
	return nil
}

func describe(images map[string][]string) string {
	var out []string
	for _, image := range slices.Sorted(maps.Keys(images)) {
		out = append(out, strings.Join(images[image], ", ")+": "+image)
	}
	return strings.Join(out, "; ")
}

func (e *examination) deployment(d appsv1.Deployment) {
	wanted := int32(1)
	if d.Spec.Replicas != nil {
		wanted = *d.Spec.Replicas
	}
	object := "Deployment " + d.Namespace + "/" + d.Name
	do := fmt.Sprintf("kubectl describe pods -n %s, and their logs", d.Namespace)
	switch {
	case d.Status.ReadyReplicas == 0:
		e.add(Problem, "install", object, fmt.Sprintf("none of its %d pods is ready", wanted), do)
	case d.Status.ReadyReplicas < wanted:
		e.add(Warning, "install", object, fmt.Sprintf("%d of its %d pods are ready", d.Status.ReadyReplicas, wanted), do)
	default:
		e.ok("install", object, "%d of %d pods are ready", d.Status.ReadyReplicas, wanted)
	}
}

// rights asks the API server whether manager and issuers may do what their roles, as they are installed, say.
func (e *examination) rights(ctx context.Context) error {
	for _, account := range []string{"m2m-manager", "m2m-issuer"} {
		asked, refused, err := e.rightsOf(ctx, account)
		object := "ServiceAccount " + e.InstallNamespace + "/" + account
		switch {
		case apierrors.IsForbidden(err):
			e.notLooked("rbac", object, err, askAdministrator)
		case err != nil:
			return err
		case len(refused) > 0:
			e.add(Problem, "rbac", object, "it may not "+strings.Join(refused, ", "), installAgain)
		default:
			e.ok("rbac", object, "it has the %d rights that it needs", asked)
		}
	}
	return nil
}

func (e *examination) rightsOf(ctx context.Context, account string) (asked int, refused []string, err error) {
	text, err := rbac.Manifests.ReadFile(strings.TrimPrefix(account, "m2m-") + ".yaml")
	if err != nil {
		return 0, nil, err
	}
	for document := range strings.SplitSeq(string(text), "\n---\n") {
		role := rbacv1.Role{}
		if err := k8syaml.Unmarshal([]byte(document), &role); err != nil {
			return 0, nil, err
		}
		namespace := ""
		if role.Kind == "Role" {
			namespace = e.InstallNamespace
		}
		if role.Kind != "Role" && role.Kind != "ClusterRole" {
			continue
		}
		for _, question := range questions(role.Rules, namespace) {
			question.User = "system:serviceaccount:" + e.InstallNamespace + ":" + account
			question.Groups = []string{"system:serviceaccounts", "system:serviceaccounts:" + e.InstallNamespace, "system:authenticated"}
			review := &authorizationv1.SubjectAccessReview{Spec: question}
			if err := e.Client.Create(ctx, review); err != nil {
				return 0, nil, err
			}
			if asked++; !review.Status.Allowed {
				refused = append(refused, right(question))
			}
		}
	}
	return asked, refused, nil
}

// questions are one for each verb on each resource.
func questions(rules []rbacv1.PolicyRule, namespace string) (out []authorizationv1.SubjectAccessReviewSpec) {
	for _, rule := range rules {
		for _, verb := range rule.Verbs {
			for _, path := range rule.NonResourceURLs {
				out = append(out, authorizationv1.SubjectAccessReviewSpec{NonResourceAttributes: &authorizationv1.NonResourceAttributes{Path: path, Verb: verb}})
			}
			for _, group := range rule.APIGroups {
				for _, resource := range rule.Resources {
					name, sub, _ := strings.Cut(resource, "/")
					attributes := &authorizationv1.ResourceAttributes{Namespace: namespace, Verb: verb, Group: group, Resource: name, Subresource: sub}
					if len(rule.ResourceNames) > 0 {
						attributes.Name = rule.ResourceNames[0]
					}
					out = append(out, authorizationv1.SubjectAccessReviewSpec{ResourceAttributes: attributes})
				}
			}
		}
	}
	return out
}

func right(q authorizationv1.SubjectAccessReviewSpec) string {
	if q.NonResourceAttributes != nil {
		return q.NonResourceAttributes.Verb + " " + q.NonResourceAttributes.Path
	}
	a := q.ResourceAttributes
	out := a.Verb + " " + a.Resource
	if a.Subresource != "" {
		out += "/" + a.Subresource
	}
	if a.Namespace != "" {
		out += " in " + a.Namespace
	}
	return out
}
