package gitops

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/internal/manifests"
	"github.com/m2m-operator/m2m-operator/test/suite"
)

const (
	// tool is the field manager of a GitOps tool.
	tool = client.FieldOwner("gitops-tool")
	// manifest is what a tool applies of a client, again and again.
	manifest = `{"apiVersion":"m2m-operator.io/v1alpha1","kind":"M2MClient","metadata":{"namespace":"jobs","name":"applied","labels":{"by":"tool"}},
		"spec":{"issuerRef":{"name":"owned"},"displayName":"As it is in git"}}`
)

// TestOwnership: in all their life, objects of the four kinds have nothing of the operator's but their status.
func TestOwnership(t *testing.T) {
	writes := &suite.Writes{}
	stop := startManager(t, suite.ManagerOptions{Wrap: writes.Wrap})
	ensureNamespaces(t, "apis", "jobs")
	issuer, api, c, grant := newIssuer("owned"), newAPI("owned", "owned"), newClient("owned", "owned"), newGrant("owned", "owned")
	grant.Spec.Subjects[0].Name = "owned"
	created := []client.Object{issuer, api, c, grant}
	create(t, created...)
	for _, object := range created {
		awaitReady(t, object)
	}
	first := awaitSecret(t, "owned", "")

	c.Spec.Credential.Revision = "again"
	suite.Save(t, git, c)
	second := awaitSecret(t, "owned", first)
	if err := git.Delete(ctx, &corev1.Secret{ObjectMeta: named("jobs", "owned")}); err != nil {
		t.Fatal(err)
	}
	awaitSecret(t, "owned", second)
	issuer.Spec.Signing.Revision = "again"
	suite.Save(t, git, issuer)
	c.Spec.Suspend, grant.Spec.Suspend = true, true
	api.Spec.Scopes = api.Spec.Scopes[:1]
	for _, object := range []client.Object{c, grant, api} {
		suite.Save(t, git, object)
	}
	for _, object := range created {
		awaitReady(t, object)
	}
	stop()

	for _, object := range created {
		wantOnlyStatus(t, object)
	}
	made := 0
	for _, write := range writes.List() {
		_, path, ours := strings.Cut(write, "/apis/m2m-operator.io/")
		switch {
		case !ours:
		case write == "POST /apis/m2m-operator.io/v1alpha1/tokenissuers": // the TokenIssuer "default", once, where there is none
			made++
		case !strings.HasSuffix(path, "/status"):
			t.Errorf("the operator has written: %s", write)
		}
	}
	if made > 1 {
		t.Errorf("the operator has created %d TokenIssuers", made)
	}
}

// wantOnlyStatus: of an object, everything but the status is the person's who wrote it.
func wantOnlyStatus(t *testing.T, object client.Object) {
	t.Helper()
	if err := git.Get(ctx, client.ObjectKeyFromObject(object), object); err != nil {
		t.Fatal(err)
	}
	status := 0
	for _, entry := range object.GetManagedFields() {
		var fields map[string]any
		if err := json.Unmarshal(entry.FieldsV1.GetRawBytes(), &fields); err != nil {
			t.Fatal(err)
		}
		_, writesStatus := fields["f:status"]
		switch {
		case entry.Manager == string(person) && entry.Subresource == "":
		case entry.Subresource == "status" && writesStatus && len(fields) == 1:
			status++
		default:
			t.Errorf("%T %s: %s wrote %s", object, object.GetName(), entry.Manager, entry.FieldsV1.GetRawString())
		}
	}
	if status != 1 {
		t.Errorf("%T %s: %d managers wrote its status, of %+v", object, object.GetName(), status, object.GetManagedFields())
	}
}

// TestNoFlapping: a tool that applies its manifest over and over, and a person who edits the same object, cost a write or
// two of the operator's for each change of theirs, and none for an apply that changes nothing.
func TestNoFlapping(t *testing.T) {
	writes := &suite.Writes{}
	startManager(t, suite.ManagerOptions{Wrap: writes.Wrap})
	ensureNamespaces(t, "apis", "jobs")
	create(t, newIssuer("flapping"))
	awaitReady(t, newIssuer("flapping"))
	text := strings.Replace(manifest, `"owned"`, `"flapping"`, 1)
	apply(t, text)
	awaitReady(t, newClient("flapping", "applied"))
	awaitSecret(t, "applied", "")
	settle(t, "before")
	initial := writesOf(writes, "applied")

	for range rounds { // the tool puts back what the person has changed, and leaves what is not its own
		edit := client.RawPatch("application/merge-patch+json", []byte(`{"metadata":{"labels":{"by":"person","of":"person"}},"spec":{"displayName":"Edited","tokenLifetime":"5m"}}`))
		if err := git.Patch(ctx, newClient("flapping", "applied"), edit); err != nil {
			t.Fatal(err)
		}
		awaitReady(t, newClient("flapping", "applied"))
		apply(t, text)
		awaitReady(t, newClient("flapping", "applied"))
	}
	settle(t, "edited")
	edited := writesOf(writes, "applied")
	// One for each change, and one more where it was overtaken by the next change, and refused as out of date.
	if count := len(edited) - len(initial); count < 2*rounds || count > 2*2*rounds {
		t.Errorf("%d changes took %d writes: %q", 2*rounds, count, edited[len(initial):])
	}
	for _, write := range edited {
		if !strings.HasSuffix(write, "/status") && !strings.HasPrefix(write, "POST ") {
			t.Errorf("the operator has written: %s", write)
		}
	}

	live := apply(t, text)
	for range rounds {
		if again := apply(t, text); again.GetResourceVersion() != live.GetResourceVersion() {
			t.Errorf("resourceVersion goes from %s to %s, though nothing has changed", live.GetResourceVersion(), again.GetResourceVersion())
		}
	}
	settle(t, "applied-again")
	if again := writesOf(writes, "applied"); len(again) != len(edited) {
		t.Errorf("applying the same again took %q", again[len(edited):])
	}
	if err := git.Get(ctx, client.ObjectKeyFromObject(live), live); err != nil {
		t.Fatal(err)
	}
	name, _, _ := unstructured.NestedString(live.Object, "spec", "displayName")
	lifetime, _, _ := unstructured.NestedString(live.Object, "spec", "tokenLifetime")
	if name != "As it is in git" || lifetime != "5m" || live.GetLabels()["by"] != "tool" || live.GetLabels()["of"] != "person" {
		t.Errorf("the tool's and the person's fields have become %v of %v", live.Object["spec"], live.GetLabels())
	}
}

// apply does what a GitOps tool does with a manifest.
func apply(t *testing.T, text string) *unstructured.Unstructured {
	t.Helper()
	object := &unstructured.Unstructured{}
	if err := yaml.UnmarshalStrict([]byte(text), &object.Object); err != nil {
		t.Fatal(err)
	}
	if err := world.Admin.Apply(ctx, client.ApplyConfigurationFromUnstructured(object), tool, client.ForceOwnership); err != nil {
		t.Fatal(err)
	}
	return object
}

// settle waits until the operator has dealt with an object that was created after everything else: its queues are
// empty then of what happened before.
func settle(t *testing.T, name string) {
	t.Helper()
	last := newClient("flapping", name)
	create(t, last)
	awaitReady(t, last)
}

// writesOf are those that concern a client, its Secret included.
func writesOf(writes *suite.Writes, name string) []string {
	return slices.DeleteFunc(writes.List(), func(write string) bool {
		return !strings.Contains(write, "/namespaces/jobs/") || !strings.Contains(write+"/", "/"+name+"/")
	})
}

// awaitReady waits until an object is Ready with its latest spec.
func awaitReady(t *testing.T, object client.Object) {
	t.Helper()
	suite.Eventually(t, func() string {
		if err := git.Get(ctx, client.ObjectKeyFromObject(object), object); err != nil {
			return err.Error()
		}
		for _, c := range *object.(v1alpha1.Conditioned).StatusConditions() {
			if c.Type == v1alpha1.ConditionReady && c.Status == metav1.ConditionTrue && c.ObservedGeneration == object.GetGeneration() {
				return ""
			}
		}
		return fmt.Sprintf("%T %s: %+v", object, object.GetName(), *object.(v1alpha1.Conditioned).StatusConditions())
	})
}

// awaitSecret waits until the Secret of a client of the namespace jobs holds another value than before, and returns it.
func awaitSecret(t *testing.T, name, before string) (value string) {
	t.Helper()
	suite.Eventually(t, func() string {
		secret := &corev1.Secret{}
		if err := git.Get(ctx, client.ObjectKey{Namespace: "jobs", Name: name}, secret); err != nil {
			return err.Error()
		}
		if value = string(bytes.TrimSpace(secret.Data[manifests.KeyClientSecret])); value == "" || value == before {
			return "the Secret of " + name + " has not changed"
		}
		return ""
	})
	return value
}

// ensureNamespaces makes those that are not there.
func ensureNamespaces(t *testing.T, names ...string) {
	t.Helper()
	for _, name := range names {
		err := git.Create(ctx, &corev1.Namespace{ObjectMeta: named("", name)})
		if err != nil && !apierrors.IsAlreadyExists(err) {
			t.Fatal(err)
		}
	}
}
