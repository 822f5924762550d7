package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/hack/controlplane"
	"github.com/m2m-operator/m2m-operator/internal/cli"
	"github.com/m2m-operator/m2m-operator/test/suite"
)

const samples = "../../config/samples/"

var (
	update = flag.Bool("update", false, "rewrite the golden files")

	ctx    = context.Background()
	world  *suite.Suite
	server *suite.Issuer
	// kubeconfigs are files, by who is in them.
	kubeconfigs string
)

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(runAll(m))
}

func runAll(m *testing.M) int {
	var err error
	if world, err = suite.Start(ctx); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer world.Stop()
	stopManager, err := world.StartManager(suite.ManagerOptions{})
	if err == nil {
		server, err = world.StartIssuer("default")
	}
	if err == nil {
		kubeconfigs, err = os.MkdirTemp("", "m2m-cli-")
	}
	if err == nil {
		err = prepare()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	code := m.Run()
	for _, stop := range []func() error{server.Stop, stopManager, func() error { return os.RemoveAll(kubeconfigs) }} {
		if err := stop(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	return world.Verdict(code)
}

// byKubectl is a field owner that stands for a person.
const byKubectl = client.FieldOwner("kubectl")

func prepare() error {
	issuer := &v1alpha1.TokenIssuer{ObjectMeta: metav1.ObjectMeta{Name: "default"}}
	issuer.Spec.URL = "https://" + server.Address
	if err := world.Admin.Create(ctx, issuer, byKubectl); err != nil {
		return err
	}
	for _, sample := range []string{"course-management", "cart-and-payment", "big-screen-display", "iot-fleet"} {
		if err := world.Plane.InstallManifests(ctx, samples+sample); err != nil {
			return err
		}
	}
	if err := world.Admin.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "newteam"}}); err != nil {
		return err
	}
	if err := writeKubeconfig("admin", world.Plane.Admin()); err != nil {
		return err
	}
	for user, namespace := range map[string]string{
		"job-team": "jobs", "course-team": "courses", "new-team": "newteam", "nobody": "", "viewer": "",
	} {
		config, err := world.Plane.UserConfig(user)
		if err == nil {
			err = writeKubeconfig(user, config)
		}
		if err == nil && namespace != "" {
			err = bind(user, namespace)
		}
		if err != nil {
			return err
		}
	}
	return bindViewer()
}

// bindViewer lets the user viewer read everything but Secrets, in the whole cluster.
func bindViewer() error {
	role := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "test-viewer"}, Rules: []rbacv1.PolicyRule{
		{APIGroups: []string{v1alpha1.GroupVersion.Group, "apps"}, Resources: []string{"*"}, Verbs: []string{"get", "list"}},
		{APIGroups: []string{""}, Resources: []string{"configmaps", "namespaces", "pods"}, Verbs: []string{"get", "list"}},
	}}
	if err := world.Admin.Create(ctx, role); err != nil {
		return err
	}
	return world.Admin.Create(ctx, &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: role.Name},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role.Name},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: "User", Name: "viewer"}},
	})
}

func writeKubeconfig(name string, config *rest.Config) error {
	text, err := controlplane.Kubeconfig(config, "default")
	if err != nil {
		return err
	}
	return controlplane.WriteKubeconfig(filepath.Join(kubeconfigs, name), text)
}

// bind gives a team what the cluster's role admin would give it, role by role: nothing here aggregates them.
func bind(user, namespace string) error {
	for _, role := range []string{
		"system:aggregate-to-view", "system:aggregate-to-edit", "m2m-operator-view", "m2m-operator-edit", "m2m-operator-admin",
	} {
		err := world.Admin.Create(ctx, &rbacv1.RoleBinding{
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, GenerateName: user + "-"},
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role},
			Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: "User", Name: user}},
		})
		if err != nil {
			return err
		}
	}
	return nil
}

type result struct {
	code        int
	out, errOut string
}

// kubectl carries out a command line as some user.
func kubectl(t testing.TB, user string, arguments ...string) result {
	t.Helper()
	return kubectlAt(t, cli.Environment{}, user, "", arguments...)
}

func kubectlAt(t testing.TB, e cli.Environment, user, stdin string, arguments ...string) result {
	t.Helper()
	out, errOut := &bytes.Buffer{}, &bytes.Buffer{}
	e.IOStreams = genericiooptions.IOStreams{In: strings.NewReader(stdin), Out: out, ErrOut: errOut}
	code := cli.Run(ctx, append([]string{"--kubeconfig", filepath.Join(kubeconfigs, user)}, arguments...), e)
	if e.Now == nil && arguments[0] != "token" || code != 0 {
		world.Canary.Saw("what kubectl m2m prints", out.String())
	}
	world.Canary.Saw("the errors of kubectl m2m", errOut.String())
	return result{code, out.String(), errOut.String()}
}

// must is kubectl, which must succeed.
func must(t testing.TB, user string, arguments ...string) string {
	t.Helper()
	r := kubectl(t, user, arguments...)
	if r.code != 0 {
		t.Fatalf("kubectl m2m %s: exit status %d\n%s%s", strings.Join(arguments, " "), r.code, r.out, r.errOut)
	}
	return r.out
}

// expect fails unless the result has the exit status, and all these texts somewhere.
func (r result) expect(t testing.TB, code int, texts ...string) {
	t.Helper()
	if r.code != code {
		t.Errorf("exit status %d, want %d\n%s%s", r.code, code, r.out, r.errOut)
	}
	for _, text := range texts {
		if !strings.Contains(r.out+r.errOut, text) {
			t.Errorf("nothing says %q:\n%s%s", text, r.out, r.errOut)
		}
	}
}

func decode[T any](t testing.TB, text string) (out T) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), &out); err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	return out
}

func get[T client.Object](t testing.TB, object T, namespace, name string) T {
	t.Helper()
	if err := world.Admin.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, object); err != nil {
		t.Fatal(err)
	}
	return object
}

func create(t testing.TB, objects ...client.Object) {
	t.Helper()
	for _, object := range objects {
		if err := world.Admin.Create(ctx, object, byKubectl); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := client.IgnoreNotFound(world.Admin.Delete(ctx, object)); err != nil {
				t.Error(err)
			}
		})
	}
}

// settled waits until manager and issuer have done what there is to do for the samples.
func settled(t testing.TB) {
	t.Helper()
	for _, key := range []client.ObjectKey{{Namespace: "jobs", Name: "publisher"}, {Namespace: "cart", Name: "cart-service"}} {
		suite.Eventually(t, func() string {
			machine := &v1alpha1.M2MClient{}
			if err := world.Admin.Get(ctx, key, machine); err != nil {
				return err.Error()
			}
			if err := world.Admin.Get(ctx, client.ObjectKey{Namespace: key.Namespace, Name: machine.SecretName()}, &corev1.Secret{}); err != nil {
				return err.Error()
			}
			if len(machine.Status.Access) == 0 {
				return "its status names no access yet"
			}
			return ""
		})
	}
	suite.Eventually(t, func() string {
		if r := kubectl(t, "admin", "token", "jobs.publisher", "--audience", courses); r.code != 0 {
			return r.errOut
		}
		return ""
	})
}

const courses = "https://courses.example.com/api"

// at is an Environment with another clock.
func at(now time.Time) cli.Environment {
	return cli.Environment{Now: func() time.Time { return now }}
}
