package controlplane_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/hack/controlplane"
)

// abandon makes the test binary start a control plane, say where it is, and wait to be killed.
const abandon = "M2M_TEST_ABANDON"

var plane *controlplane.ControlPlane

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) (code int) {
	dir := os.Getenv(abandon)
	cp, err := controlplane.Start(context.Background(), controlplane.Options{
		Dir:           dir,
		APIServerArgs: map[string]string{"event-ttl": "2h"},
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() {
		if err := cp.Stop(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}()
	if dir != "" {
		fmt.Println(filepath.Dir(cp.LogDir()))
		_, _ = io.Copy(io.Discard, os.Stdin) // ends when the test that started us is gone
		return 1
	}
	plane = cp
	return m.Run()
}

func newClient(t *testing.T, config *rest.Config) client.Client {
	t.Helper()
	c, err := client.New(config, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := v1alpha1.AddToScheme(c.Scheme()); err != nil {
		t.Fatal(err)
	}
	return c
}

const account = `
apiVersion: v1
kind: ServiceAccount
metadata: {namespace: team, name: robot}
---
# Nothing but a comment.
---
apiVersion: v1
kind: Namespace
metadata: {name: team}
---
apiVersion: m2m-operator.io/v1alpha1
kind: TokenIssuer
metadata: {name: default}
spec: {}
`

func TestInstallManifestsOrdersAppliesAndWaits(t *testing.T) {
	ctx := t.Context()
	root, err := controlplane.RepoRoot()
	if err != nil {
		t.Fatal(err)
	}
	// The file uses a namespace before it makes it, and a kind before the directory that defines it.
	file := filepath.Join(t.TempDir(), "account.yaml")
	if err := os.WriteFile(file, []byte(account), 0o600); err != nil {
		t.Fatal(err)
	}
	definitions := filepath.Join(root, "config", "crd", "bases")
	if err := plane.InstallManifests(ctx, file, definitions); err != nil {
		t.Fatal(err)
	}
	admin := newClient(t, plane.Admin())
	if err := admin.Get(ctx, client.ObjectKey{Name: "default"}, &v1alpha1.TokenIssuer{}); err != nil {
		t.Fatal(err)
	}
	robot := client.ObjectKey{Namespace: "team", Name: "robot"}
	before := &corev1.ServiceAccount{}
	if err := admin.Get(ctx, robot, before); err != nil {
		t.Fatal(err)
	}
	if err := plane.InstallManifests(ctx, file, definitions); err != nil {
		t.Fatalf("the second time: %v", err)
	}
	after := &corev1.ServiceAccount{}
	if err := admin.Get(ctx, robot, after); err != nil {
		t.Fatal(err)
	}
	if before.ResourceVersion != after.ResourceVersion {
		t.Errorf("applying the same again wrote: resourceVersion %s, then %s", before.ResourceVersion, after.ResourceVersion)
	}
	if err := plane.InstallManifests(ctx, filepath.Join(root, "no-such-directory")); err == nil {
		t.Error("a missing path was accepted")
	}

	t.Run("a ServiceAccount has its own rights only", serviceAccountHasItsOwnRights)
}

func serviceAccountHasItsOwnRights(t *testing.T) {
	ctx := t.Context()
	if _, err := plane.ServiceAccountConfig(ctx, "team", "nobody"); !apierrors.IsNotFound(err) {
		t.Errorf("a token for a ServiceAccount that does not exist: %v", err)
	}
	contents, err := plane.ServiceAccountKubeconfig(ctx, "team", "robot")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "nested", "kubeconfig")
	if err := controlplane.WriteKubeconfig(path, contents); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the kubeconfig's mode: %v, %v", info.Mode(), err)
	}
	config, err := clientcmd.BuildConfigFromFlags("", path)
	if err != nil {
		t.Fatal(err)
	}
	if len(config.CertData) > 0 || len(config.KeyData) > 0 {
		t.Error("the ServiceAccount's kubeconfig holds a client certificate")
	}
	robot := newClient(t, config)
	if err := robot.List(ctx, &corev1.ConfigMapList{}, client.InNamespace("team")); !apierrors.IsForbidden(err) {
		t.Fatalf("without a role the ServiceAccount may list: %v", err)
	}
	bind(t, "team", rbacv1.Subject{Kind: "ServiceAccount", Namespace: "team", Name: "robot"})
	await(t, "the ServiceAccount may list what it was given", func(ctx context.Context) error {
		return robot.List(ctx, &corev1.ConfigMapList{}, client.InNamespace("team"))
	})
	if err := robot.List(ctx, &corev1.ConfigMapList{}); !apierrors.IsForbidden(err) {
		t.Errorf("the ServiceAccount may list everywhere: %v", err)
	}
}

func TestUserHasTheRightsOfItsGroups(t *testing.T) {
	config, err := plane.UserConfig("ann", "readers")
	if err != nil {
		t.Fatal(err)
	}
	ann := newClient(t, config)
	if err := ann.List(t.Context(), &corev1.ConfigMapList{}, client.InNamespace("default")); !apierrors.IsForbidden(err) {
		t.Fatalf("without a role the user may list: %v", err)
	}
	bind(t, "default", rbacv1.Subject{APIGroup: rbacv1.GroupName, Kind: "Group", Name: "readers"})
	await(t, "the user may list what her group was given", func(ctx context.Context) error {
		return ann.List(ctx, &corev1.ConfigMapList{}, client.InNamespace("default"))
	})
}

// bind gives the subject the reading of ConfigMaps in the namespace.
func bind(t *testing.T, namespace string, subject rbacv1.Subject) {
	t.Helper()
	meta := metav1.ObjectMeta{Namespace: namespace, Name: "read-configmaps"}
	for _, object := range []client.Object{
		&rbacv1.Role{ObjectMeta: meta, Rules: []rbacv1.PolicyRule{
			{APIGroups: []string{""}, Resources: []string{"configmaps"}, Verbs: []string{"list"}},
		}},
		&rbacv1.RoleBinding{
			ObjectMeta: meta, Subjects: []rbacv1.Subject{subject},
			RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: meta.Name},
		},
	} {
		if err := plane.Client().Create(t.Context(), object); err != nil {
			t.Fatal(err)
		}
	}
}

func await(t *testing.T, what string, check func(context.Context) error) {
	t.Helper()
	var last error
	err := wait.PollUntilContextTimeout(t.Context(), 20*time.Millisecond, 20*time.Second, true,
		func(ctx context.Context) (bool, error) { last = check(ctx); return last == nil, nil })
	if err != nil {
		t.Fatalf("%s: %v: %v", what, err, last)
	}
}

// Asked politely, kube-apiserver waits a minute for whoever still watches; no test has that much time at its end.
func TestStopDoesNotWaitForWatches(t *testing.T) {
	logs := filepath.Join(t.TempDir(), "logs", "here")
	dir := t.TempDir()
	cp, err := controlplane.Start(t.Context(), controlplane.Options{Dir: dir, LogDir: logs})
	if err != nil {
		t.Fatal(err)
	}
	pids := pidsIn(t, filepath.Join(dir, "*"))
	watching, err := client.NewWithWatch(cp.Admin(), client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	watch, err := watching.Watch(t.Context(), &corev1.SecretList{})
	if err != nil {
		t.Fatal(err)
	}
	defer watch.Stop()
	started := time.Now()
	if err := cp.Stop(); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(started); took > 20*time.Second {
		t.Errorf("Stop took %s", took)
	}
	if len(pids) != 2 || alive(pids[0]) || alive(pids[1]) {
		t.Errorf("of etcd and kube-apiserver, %v, one is alive after Stop", pids)
	}
	if left, err := filepath.Glob(filepath.Join(dir, "*")); err != nil || len(left) > 0 {
		t.Errorf("Stop left %v, %v", left, err)
	}
	if kept, err := filepath.Glob(filepath.Join(logs, "*.log")); err != nil || len(kept) != 2 {
		t.Errorf("the logs are %v, %v, want two", kept, err)
	}
}

// A process that is killed cannot clean up, and what it leaves running would pile up on a developer's machine.
func TestNothingOutlivesAKilledProcess(t *testing.T) {
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), abandon+"="+t.TempDir())
	child.Stderr = os.Stderr
	stdin, err := child.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer stdin.Close()
	stdout, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		_ = child.Wait()
		t.Fatalf("the child did not start its control plane: %v", err)
	}
	dir := strings.TrimSpace(line)
	pids := pidsIn(t, dir)
	if len(pids) != 2 {
		t.Fatalf("processes of the child: %v, want etcd's and kube-apiserver's", pids)
	}
	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = child.Wait() // "signal: killed" is what was asked for
	await(t, "the control plane ends with its starter", func(context.Context) error {
		for _, pid := range pids {
			if alive(pid) {
				return fmt.Errorf("process %s is alive", pid)
			}
		}
		if _, err := os.Stat(dir); err == nil {
			return fmt.Errorf("%s is still there", dir)
		}
		return nil
	})
}

func pidsIn(t *testing.T, dir string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.pid"))
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, strings.TrimSpace(string(text)))
	}
	return out
}

// alive is false for a zombie too: an orphan's last breath waits for whoever adopted it.
func alive(pid string) bool {
	state, err := exec.Command("ps", "-o", "stat=", "-p", pid).Output()
	return err == nil && !strings.HasPrefix(strings.TrimSpace(string(state)), "Z")
}
