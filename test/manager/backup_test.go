package manager

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/hack/controlplane"
	"github.com/m2m-operator/m2m-operator/internal/credential"
	"github.com/m2m-operator/m2m-operator/internal/keyring"
	"github.com/m2m-operator/m2m-operator/internal/manifests"
	"github.com/m2m-operator/m2m-operator/test/suite"
)

// TestDocumentedBackup plays docs/operating/backup.md: its commands save an installation, bring it back so that no client
// notices, and start it over where the pepper is lost.
func TestDocumentedBackup(t *testing.T) {
	elsewhere(t)
	commands := documented(t)
	stop := startManager(t, suite.ManagerOptions{})
	issuer, api := tokenIssuer("default"), apiResource("courses", "courses", "default", "read")
	create(t, namespace("jobs"), namespace("courses"), issuer, api)
	clients := map[string]*v1alpha1.M2MClient{}
	for _, name := range []string{"plain", "revised", "revoked"} {
		clients[name] = m2mClient("jobs", name, "default")
		create(t, clients[name], scopeGrant(api, name, named(clients[name]), "read"))
		awaitReady(t, clients[name])
	}
	compromised := clients["revoked"].Status.Credentials[0].ID
	for name, edit := range map[string]func(*v1alpha1.M2MClient){
		"revised": func(c *v1alpha1.M2MClient) { c.Spec.Credential.Revision = "1" },
		"revoked": func(c *v1alpha1.M2MClient) {
			c.Spec.Credential.RevokedIDs = []v1alpha1.CredentialID{v1alpha1.CredentialID(compromised)}
		},
	} {
		c := clients[name]
		before := c.Status.Credentials[0].ID
		edit(c)
		suite.Save(t, admin, c)
		suite.Eventually(t, func() string {
			if get(t, c, "jobs", name); c.Status.Credentials[0].ID == before || c.Status.Credentials[0].State != v1alpha1.CredentialCurrent {
				return "there is no new credential"
			}
			return ""
		})
		awaitReady(t, c)
	}
	saved, kids := map[string]string{}, kidsOf(t)
	for name, c := range clients {
		saved[name] = valueOf(t, c)
	}
	stop()
	commands.run(t, "save() ")

	disaster(t)
	commands.run(t, "kubectl create -f m2m-backup/1")
	stop = startManager(t, suite.ManagerOptions{})
	awaitReady(t, issuer)
	commands.run(t, "kubectl wait ")
	for name, c := range clients {
		get(t, c, "jobs", name)
		if valueOf(t, c) != saved[name] || !verifies(t, c) || c.Status.AccessCount != 1 {
			t.Errorf("%s: the secret is the same: %t, it is accepted: %t, access to %d APIs", name, valueOf(t, c) == saved[name], verifies(t, c), c.Status.AccessCount)
		}
		if owners := secretOf(t, c).OwnerReferences; len(owners) != 1 || owners[0].UID != c.UID {
			t.Errorf("the Secret of %s is owned by %+v", name, owners)
		}
	}
	if n := len(clients["revised"].Status.Credentials); n != 2 {
		t.Errorf("of a credential that was rotated %d are left", n)
	}
	if now := kidsOf(t); !slices.Equal(now, kids) {
		t.Errorf("keys %v, then %v", kids, now)
	}
	stop()

	disaster(t)
	commands.run(t, "kubectl create -f m2m-backup/1")
	remove(t, get(t, &corev1.Secret{}, suite.InstallNamespace, manifests.PepperName("default")))
	startManager(t, suite.ManagerOptions{})
	suite.Eventually(t, func() string {
		if c := condition(t, issuer, v1alpha1.ConditionReady); c.Reason != v1alpha1.ReasonPepperLost {
			return fmt.Sprintf("without the pepper: %+v", c)
		}
		return ""
	})
	commands.run(t, "kubectl create secret generic")
	awaitReady(t, issuer)
	for name, c := range clients {
		suite.Eventually(t, func() string {
			get(t, c, "jobs", name)
			secret := &corev1.Secret{}
			if admin.Get(ctx, client.ObjectKey{Namespace: "jobs", Name: name}, secret) != nil || string(secret.Data[manifests.KeyClientSecret]) == saved[name] || !verifies(t, c) {
				return name + " has no new secret that is accepted"
			}
			return ""
		})
	}
	if now := kidsOf(t); !slices.Equal(now, kids) {
		t.Errorf("keys %v, then %v with another pepper", kids, now)
	}
}

// elsewhere gives the test a cluster of its own.
func elsewhere(t *testing.T) {
	t.Helper()
	own, err := suite.Start(ctx)
	if err != nil {
		t.Fatal(err)
	}
	before := world
	world, admin = own, own.Admin
	t.Cleanup(func() {
		if own.Verdict(0) != 0 {
			t.Error("a secret was written down")
		}
		if err := own.Stop(); err != nil {
			t.Error(err)
		}
		world, admin = before, before.Admin
	})
}

// disaster deletes everything that a backup holds, while no manager runs.
func disaster(t *testing.T) {
	t.Helper()
	for _, object := range []client.Object{&v1alpha1.TokenIssuer{}, &v1alpha1.ApiResource{}, &v1alpha1.M2MClient{}, &v1alpha1.ScopeGrant{}, &corev1.Secret{}, &corev1.ConfigMap{}} {
		var ours []client.DeleteAllOfOption
		switch object.(type) {
		case *corev1.Secret, *corev1.ConfigMap:
			ours = append(ours, client.MatchingLabels{manifests.LabelManagedBy: manifests.ManagedBy})
		}
		for _, in := range []string{"jobs", "courses", suite.InstallNamespace} {
			if err := admin.DeleteAllOf(ctx, object, append(ours, client.InNamespace(in))...); err != nil {
				t.Fatal(err)
			}
			if _, cluster := object.(*v1alpha1.TokenIssuer); cluster {
				break
			}
		}
	}
}

func verifies(t *testing.T, c *v1alpha1.M2MClient) bool {
	t.Helper()
	pepper, err := credential.ParsePepper(get(t, &corev1.Secret{}, suite.InstallNamespace, manifests.PepperName("default")).Data[manifests.KeyPepper])
	if err != nil {
		t.Fatal(err)
	}
	_, ok := pepper.Verify(credential.Owner{Issuer: "default", ClientID: c.ClientID()}, c.Status.Credentials, valueOf(t, c), clock())
	return ok
}

func kidsOf(t *testing.T) (kids []string) {
	t.Helper()
	ring, err := keyring.ParseRing([]byte(get(t, &corev1.ConfigMap{}, suite.InstallNamespace, manifests.RingName("default")).Data[manifests.KeyRing]))
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range ring.Keys {
		kids = append(kids, key.KID)
	}
	return kids
}

// page is the commands of the page, and where they are run.
type page struct {
	blocks []string
	dir    string
	env    []string
}

func documented(t *testing.T) page {
	t.Helper()
	root, err := controlplane.RepoRoot()
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(root, "docs/operating/backup.md"))
	if err != nil {
		t.Fatal(err)
	}
	p := page{dir: t.TempDir()}
	for _, match := range regexp.MustCompile("(?ms)^ *```sh\n(.*?)^ *```").FindAllStringSubmatch(string(text), -1) {
		p.blocks = append(p.blocks, match[1])
	}
	kubeconfig := filepath.Join(p.dir, "kubeconfig")
	if err := os.WriteFile(kubeconfig, world.Plane.AdminKubeconfig(), 0o600); err != nil {
		t.Fatal(err)
	}
	env := map[string]string{"KUBECONFIG": kubeconfig, "PATH": filepath.Dir(world.Plane.Kubectl()) + ":" + os.Getenv("PATH"), "HOME": p.dir}
	for _, name := range slices.Sorted(maps.Keys(env)) {
		p.env = append(p.env, name+"="+env[name])
	}
	return p
}

// run runs the block in which the part is.
func (p page) run(t *testing.T, part string) {
	t.Helper()
	i := slices.IndexFunc(p.blocks, func(block string) bool { return strings.Contains(block, part) })
	if i < 0 {
		t.Fatalf("the page has no block with %q", part)
	}
	command := exec.CommandContext(t.Context(), "bash", "-euo", "pipefail", "-c", p.blocks[i])
	command.Dir, command.Env = p.dir, p.env
	if out, err := command.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s\n%s", err, p.blocks[i], out)
	}
}
