package cli

import (
	"path/filepath"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	k8syaml "sigs.k8s.io/yaml"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/test/suite"
)

// newClient creates an M2MClient by somebody, and waits until it has a secret.
func newClient(t *testing.T, name string, owner client.FieldOwner, change func(*v1alpha1.M2MClient)) *v1alpha1.M2MClient {
	t.Helper()
	machine := &v1alpha1.M2MClient{ObjectMeta: metav1.ObjectMeta{Namespace: "jobs", Name: name}}
	machine.Spec.DisplayName = "A job"
	if change != nil {
		change(machine)
	}
	if err := world.Admin.Create(ctx, machine, owner); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := world.Admin.Delete(ctx, machine); err != nil {
			t.Error(err)
		}
	})
	awaitClient(t, machine, func(c *v1alpha1.M2MClient) bool {
		return len(c.Status.Credentials) == 1 && c.Status.Credentials[0].State == v1alpha1.CredentialCurrent
	})
	return machine
}

func awaitClient(t *testing.T, machine *v1alpha1.M2MClient, check func(*v1alpha1.M2MClient) bool) {
	t.Helper()
	suite.Eventually(t, func() string {
		if err := world.Admin.Get(ctx, client.ObjectKeyFromObject(machine), machine); err != nil {
			return err.Error()
		}
		if !check(machine) {
			return "the status is not so yet"
		}
		return ""
	})
}

func TestClientCommands(t *testing.T) {
	settled(t)
	machine := newClient(t, "changed", byKubectl, nil)
	first := machine.Status.Credentials[0].ID

	must(t, "job-team", "client", "suspend", "jobs.changed")
	if again := must(t, "job-team", "client", "suspend", "changed", "-n", "jobs"); !strings.Contains(again, "it is so already") {
		t.Errorf("suspended twice: %s", again)
	}
	awaitClient(t, machine, func(c *v1alpha1.M2MClient) bool { return c.Spec.Suspend })
	must(t, "job-team", "client", "resume", "jobs/changed")
	awaitClient(t, machine, func(c *v1alpha1.M2MClient) bool { return !c.Spec.Suspend })

	must(t, "job-team", "client", "rotate", "jobs.changed", "--revision", "one")
	awaitClient(t, machine, func(c *v1alpha1.M2MClient) bool {
		return c.Spec.Credential.Revision == "one" && c.Status.CredentialRevision == "one" && len(c.Status.Credentials) == 2
	})

	kubectl(t, "job-team", "client", "revoke", "jobs.changed").expect(t, 1, "--all", first)
	kubectl(t, "job-team", "client", "revoke", "jobs.changed", "0000000000000000").expect(t, 1, "has no credential", first)
	must(t, "job-team", "client", "revoke", "jobs.changed", first)
	must(t, "job-team", "client", "revoke", "jobs.changed", "--all")
	awaitClient(t, machine, func(c *v1alpha1.M2MClient) bool { return len(c.Spec.Credential.RevokedIDs) == 2 })
	if machine.Spec.Credential.Revision != "one" || machine.Spec.DisplayName != "A job" {
		t.Errorf("something else was changed too: %+v", machine.Spec)
	}
	kubectl(t, "course-team", "client", "suspend", "jobs.changed").expect(t, 1, "forbidden")
}

// TestManagedElsewhere: an object that somebody else keeps as it is written elsewhere is not changed; the patch is
// printed, and is what a change would have been.
func TestManagedElsewhere(t *testing.T) {
	settled(t)
	for name, c := range map[string]struct {
		owner  client.FieldOwner
		change func(*v1alpha1.M2MClient)
		says   string
	}{
		"argo": {"kubectl", func(c *v1alpha1.M2MClient) {
			c.Annotations = map[string]string{"argocd.argoproj.io/tracking-id": "jobs:m2m-operator.io/M2MClient:jobs/argo"}
		}, "Argo CD"},
		"flux": {"kubectl", func(c *v1alpha1.M2MClient) {
			c.Labels = map[string]string{"kustomize.toolkit.fluxcd.io/name": "jobs"}
		}, "Flux"},
		"helm": {"kubectl", func(c *v1alpha1.M2MClient) {
			c.Labels = map[string]string{"app.kubernetes.io/managed-by": "Helm"}
		}, "Helm"},
		"applied":   {"kustomize-controller", nil, `field manager "kustomize-controller"`},
		"argo-only": {"argocd-controller", nil, `field manager "argocd-controller"`},
	} {
		t.Run(name, func(t *testing.T) {
			machine := newClient(t, "by-"+name, c.owner, c.change)
			r := kubectl(t, "job-team", "client", "suspend", "jobs.by-"+name)
			r.expect(t, 3, c.says, "nothing was changed", "--force")
			patch := &unstructured.Unstructured{}
			if err := k8syaml.UnmarshalStrict([]byte(r.out), &patch.Object); err != nil {
				t.Fatalf("%v in\n%s", err, r.out)
			}
			suspend, _, _ := unstructured.NestedBool(patch.Object, "spec", "suspend")
			if !suspend || patch.GetKind() != "M2MClient" || patch.GetName() != "by-"+name || patch.GetResourceVersion() != "" {
				t.Errorf("the patch is\n%s", r.out)
			}
			if get(t, machine, "jobs", machine.Name).Spec.Suspend {
				t.Error("it was changed")
			}
			kubectl(t, "job-team", "client", "suspend", "jobs.by-"+name, "--force").expect(t, 0, "may undo this")
			if !get(t, machine, "jobs", machine.Name).Spec.Suspend {
				t.Error("it was not changed with --force")
			}
		})
	}
}

// TestAppliedByKubectl: a person who applies by server-side apply what was changed is told to write it down: the next time
// would end in a conflict. Nobody would undo the change, so it is made.
func TestAppliedByKubectl(t *testing.T) {
	settled(t)
	manifest := func() *unstructured.Unstructured {
		return &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": v1alpha1.GroupVersion.String(), "kind": "M2MClient",
			"metadata": map[string]any{"namespace": "jobs", "name": "applied-by-kubectl"},
			"spec":     map[string]any{"displayName": "A job", "suspend": false},
		}}
	}
	machine := newClient(t, "applied-by-kubectl", byKubectl, nil)
	apply := func() error {
		return world.Admin.Apply(ctx, client.ApplyConfigurationFromUnstructured(manifest()), byKubectl)
	}
	if err := apply(); err != nil {
		t.Fatal(err)
	}
	kubectl(t, "job-team", "client", "rotate", "jobs.applied-by-kubectl", "--revision", "one").expect(t, 0)
	if r := kubectl(t, "job-team", "client", "rotate", "jobs.applied-by-kubectl", "--revision", "two"); r.errOut != "" {
		t.Errorf("it is warned of what nobody applies: %s", r.errOut)
	}
	kubectl(t, "job-team", "client", "suspend", "jobs.applied-by-kubectl").expect(t, 0, `warning: the field manager "kubectl" applies`, "conflict")
	if !get(t, machine, "jobs", machine.Name).Spec.Suspend {
		t.Error("it was not suspended")
	}
	if err := apply(); !apierrors.IsConflict(err) {
		t.Errorf("applying it again ends in %v: the warning is wrong", err)
	}
}

func TestDryRun(t *testing.T) {
	settled(t)
	machine := newClient(t, "dry", byKubectl, nil)
	kubectl(t, "job-team", "client", "rotate", "jobs.dry", "--revision", "x", "--dry-run").expect(t, 0, "revision: x")
	if revision := get(t, machine, "jobs", "dry").Spec.Credential.Revision; revision != "" {
		t.Errorf("a dry run set the revision %q", revision)
	}
}

// TestNoCluster: a kubeconfig that is not there.
func TestNoCluster(t *testing.T) {
	kubectl(t, filepath.Join("nowhere", "at-all"), "explain", "jobs.publisher").expect(t, 1, "no such file")
}
