package cli

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/internal/cli"
	"github.com/m2m-operator/m2m-operator/internal/doctor"
	"github.com/m2m-operator/m2m-operator/internal/manifests"
	"github.com/m2m-operator/m2m-operator/test/suite"
)

// examine runs doctor.
func examine(t *testing.T, e cli.Environment, user string, flags ...string) (doctor.Report, result) {
	t.Helper()
	r := kubectlAt(t, e, user, "", append([]string{"doctor", "-o", "json"}, flags...)...)
	if r.code == 1 {
		t.Fatal(r.errOut)
	}
	report := decode[doctor.Report](t, r.out)
	for _, f := range report.Findings {
		if (f.Level == doctor.OK) != (f.Do == "") {
			t.Errorf("%+v does not say what to do, or what where nothing is", f)
		}
	}
	return report, r
}

// finds fails unless the report has such a finding.
func finds(t *testing.T, report doctor.Report, level doctor.Level, check, object, message string) {
	t.Helper()
	for _, f := range report.Findings {
		if f.Level == level && f.Check == check && strings.Contains(f.Object, object) && strings.Contains(f.Message, message) {
			return
		}
	}
	t.Errorf("no %s of %s about %q says %q", level, check, object, message)
}

// hostAddress is one that the API server's proxy leads to: it does not lead to loopback addresses.
func hostAddress(t *testing.T) string {
	t.Helper()
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, address := range addresses {
		if network, ok := address.(*net.IPNet); ok && network.IP.IsGlobalUnicast() && network.IP.To4() != nil {
			return network.IP.String()
		}
	}
	t.Fatal("this machine has no IPv4 address but loopback ones")
	return ""
}

// listen listens where the API server's proxy leads to.
func listen(t *testing.T) (net.Listener, int32) {
	t.Helper()
	listener, err := net.Listen("tcp", net.JoinHostPort(hostAddress(t), "0"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	return listener, int32(listener.Addr().(*net.TCPAddr).Port)
}

// forward leads every connection to another address, and returns the port to connect to.
func forward(t *testing.T, to string) int32 {
	t.Helper()
	listener, port := listen(t)
	go func() {
		for {
			from, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer from.Close()
				behind, err := net.Dial("tcp", to)
				if err != nil {
					return
				}
				defer behind.Close()
				go func() { _, _ = io.Copy(behind, from) }()
				_, _ = io.Copy(from, behind)
			}()
		}
	}()
	return port
}

// serve answers every request with a text, by a clock that is ahead.
func serve(t *testing.T, secure bool, text string, ahead time.Duration) int32 {
	t.Helper()
	listener, port := listen(t)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Date", time.Now().Add(ahead).UTC().Format(http.TimeFormat))
		fmt.Fprint(w, text)
	}))
	_ = server.Listener.Close()
	server.Listener = listener
	if secure {
		server.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
		server.StartTLS()
	} else {
		server.Start()
	}
	t.Cleanup(server.Close)
	return port
}

// newPod is an issuer's pod, as far as the API server is concerned.
func newPod(t *testing.T, name string, https, ops int32) {
	t.Helper()
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{
		Namespace: suite.InstallNamespace, Name: name, Labels: map[string]string{manifests.LabelIssuer: "default"},
	}}
	yes, no := true, false
	pod.Spec.SecurityContext = &corev1.PodSecurityContext{
		RunAsNonRoot: &yes, SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
	}
	pod.Spec.Containers = []corev1.Container{{
		Name: "issuer", Image: "m2m-operator:test",
		Ports:           []corev1.ContainerPort{{Name: "https", ContainerPort: https}, {Name: "ops", ContainerPort: ops}},
		SecurityContext: &corev1.SecurityContext{AllowPrivilegeEscalation: &no, Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}}},
	}}
	if err := world.Admin.Create(ctx, pod, byKubectl); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := world.Admin.Delete(ctx, pod, client.GracePeriodSeconds(0)); err != nil {
			t.Error(err)
		}
	})
	pod.Status.PodIP, pod.Status.PodIPs = hostAddress(t), []corev1.PodIP{{IP: hostAddress(t)}}
	if err := world.Admin.Status().Update(ctx, pod); err != nil {
		t.Fatal(err)
	}
}

// newDeployment is one with as many ready pods as it wants, or fewer.
func newDeployment(t *testing.T, name, image string, ready int32) {
	t.Helper()
	labels := map[string]string{"app": name}
	d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: suite.InstallNamespace, Name: name, Labels: map[string]string{
		manifests.LabelManagedBy: manifests.ManagedBy,
	}}}
	d.Spec.Selector = &metav1.LabelSelector{MatchLabels: labels}
	d.Spec.Template.Labels = labels
	d.Spec.Template.Spec.Containers = []corev1.Container{{Name: "one", Image: image}}
	create(t, d)
	d.Status.Replicas, d.Status.ReadyReplicas = ready, ready
	if err := world.Admin.Status().Update(ctx, d); err != nil {
		t.Fatal(err)
	}
}

func TestDoctorOfAHealthyInstallation(t *testing.T) {
	settled(t)
	newDeployment(t, "m2m-manager", "m2m-operator:test", 1)
	for _, name := range []string{"issuer-a", "issuer-b"} {
		newPod(t, name, forward(t, server.Address), forward(t, server.OpsAddress))
	}
	report, r := examine(t, cli.Environment{}, "admin")
	if r.code != 0 || report.Problems > 0 || report.Unknown > 0 {
		t.Errorf("exit status %d:\n%s", r.code, r.out)
	}
	finds(t, report, doctor.OK, "install", "", "four definitions")
	finds(t, report, doctor.OK, "install", "m2m-manager", "1 of 1")
	finds(t, report, doctor.OK, "rbac", "m2m-manager", "it has the")
	finds(t, report, doctor.OK, "rbac", "m2m-issuer", "it has the")
	finds(t, report, doctor.OK, "issuer", "default", "ready")
	finds(t, report, doctor.OK, "tls", "default", "good until")
	finds(t, report, doctor.OK, "jwks", "default", "its URL can be reached")
	finds(t, report, doctor.OK, "jwks", "default", "its pods all publish")
	finds(t, report, doctor.OK, "watches", "issuer-b", "heard the API server")
	finds(t, report, doctor.OK, "rotation", "default", "")
	finds(t, report, doctor.OK, "clock", "", "of the 4 who were asked") // the API server, the URL, two pods
	kubectl(t, "admin", "doctor").expect(t, 0, "0 problems")
}

func TestDoctorOfASickInstallation(t *testing.T) {
	settled(t)
	newDeployment(t, "m2m-issuer-default", "m2m-operator:another", 0)
	newDeployment(t, "m2m-issuer-other", "m2m-operator:test", 1)
	newPod(t, "issuer-good", forward(t, server.Address), forward(t, server.OpsAddress))
	newPod(t, "issuer-old", serve(t, true, `{"keys":[]}`, 5*time.Minute), serve(t, false, "m2m_issuer_synced 1\nm2m_issuer_watch_staleness_seconds 500\n", 0))
	newPod(t, "issuer-new", serve(t, true, `nonsense`, 0), serve(t, false, "m2m_issuer_synced 0\nm2m_issuer_watch_staleness_seconds 1\n", 0))
	newPod(t, "issuer-mute", 9, 9)
	create(t,
		&v1alpha1.ApiResource{ObjectMeta: metav1.ObjectMeta{Namespace: "jobs", Name: "copy"}, Spec: v1alpha1.ApiResourceSpec{Identifier: courses}},
		&v1alpha1.M2MClient{ObjectMeta: metav1.ObjectMeta{Namespace: "jobs", Name: "lonely"}},
		&v1alpha1.ScopeGrant{ObjectMeta: metav1.ObjectMeta{Namespace: "courses", Name: "over"}, Spec: v1alpha1.ScopeGrantSpec{
			ApiResourceRef: v1alpha1.LocalApiResourceReference{Name: "course-api"},
			Subjects:       []v1alpha1.GrantSubject{{Namespace: "jobs", Name: "lonely"}}, Scopes: []v1alpha1.ScopeName{"courses:write"},
			ExpiresAt: &metav1.Time{Time: time.Now().Add(-time.Hour).Truncate(time.Second)},
		}},
		&v1alpha1.ScopeGrant{ObjectMeta: metav1.ObjectMeta{Namespace: "courses", Name: "wrong"}, Spec: v1alpha1.ScopeGrantSpec{
			ApiResourceRef: v1alpha1.LocalApiResourceReference{Name: "course-api"},
			Subjects:       []v1alpha1.GrantSubject{{Namespace: "jobs", Name: "misspelt"}}, Scopes: []v1alpha1.ScopeName{"courses:read"},
		}},
		&v1alpha1.ScopeGrant{ObjectMeta: metav1.ObjectMeta{Namespace: "courses", Name: "typing-error"}, Spec: v1alpha1.ScopeGrantSpec{
			ApiResourceRef: v1alpha1.LocalApiResourceReference{Name: "course-api"},
			Subjects:       []v1alpha1.GrantSubject{{Namespace: "jobs", Name: "misspelt"}}, Scopes: []v1alpha1.ScopeName{"courses:write"},
		}})
	report, r := examine(t, cli.Environment{}, "admin")
	if r.code != 2 || report.Problems == 0 {
		t.Errorf("exit status %d, %d problems", r.code, report.Problems)
	}
	finds(t, report, doctor.Problem, "install", "m2m-manager", "there is no manager")
	finds(t, report, doctor.Problem, "install", "m2m-issuer-default", "none of its 1 pods")
	finds(t, report, doctor.Warning, "versions", "", "different images")
	finds(t, report, doctor.Problem, "jwks", "default", "issuer-old")
	finds(t, report, doctor.Problem, "jwks", "issuer-new", "no JWK Set")
	finds(t, report, doctor.Unknown, "jwks", "issuer-mute", "not looked at")
	finds(t, report, doctor.Problem, "watches", "issuer-old", "500 seconds")
	finds(t, report, doctor.Problem, "watches", "issuer-new", "has not read all objects")
	finds(t, report, doctor.Problem, "clock", "issuer-old", "ahead of")
	finds(t, report, doctor.Problem, "conflicts", "jobs/copy", "Conflicted")
	finds(t, report, doctor.Warning, "access", "courses/over", "expired")
	finds(t, report, doctor.Problem, "access", "courses/wrong", "UnknownScope")
	finds(t, report, doctor.Warning, "access", "courses/typing-error", "no M2MClient matches")
	finds(t, report, doctor.Warning, "access", "jobs/lonely", "nobody has granted it anything")
	kubectl(t, "admin", "doctor").expect(t, 2, "-> ", "the installation has problems")
}

// TestDoctorLater: what time brings, by the clock of the machine that asks.
func TestDoctorLater(t *testing.T) {
	settled(t)
	newClient(t, "rotating", byKubectl, func(c *v1alpha1.M2MClient) {
		c.Spec.Credential.Rotation = &v1alpha1.CredentialRotation{Interval: metav1.Duration{Duration: time.Hour}}
	})
	awaitClient(t, get(t, &v1alpha1.M2MClient{}, "jobs", "rotating"), func(c *v1alpha1.M2MClient) bool { return c.Status.NextRotationTime != nil })
	report, _ := examine(t, at(time.Now().AddDate(2, 0, 0)), "admin")
	finds(t, report, doctor.Problem, "rotation", "jobs/rotating", "should have been rotated")
	finds(t, report, doctor.Problem, "tls", "default", "ended at")
	finds(t, report, doctor.Problem, "clock", "the API server", "behind")
}

// TestDoctorElsewhere: an installation that is not where it is looked for.
func TestDoctorElsewhere(t *testing.T) {
	settled(t)
	report, _ := examine(t, cli.Environment{}, "admin", "--install-namespace", "courses")
	finds(t, report, doctor.Problem, "install", "courses/m2m-manager", "there is no manager")
	finds(t, report, doctor.Problem, "rbac", "courses/m2m-issuer", "list secrets in courses")
	finds(t, report, doctor.Problem, "tls", "default", "there is no Secret courses/m2m-default-tls")
	finds(t, report, doctor.Unknown, "watches", "default", "no pod to ask")
	report, _ = examine(t, cli.Environment{}, "admin", "--endpoint", "127.0.0.1:1")
	finds(t, report, doctor.Unknown, "jwks", "default", "cannot be reached at 127.0.0.1:1")
}

func TestDoctorOfOtherDefinitions(t *testing.T) {
	settled(t)
	scheme := runtime.NewScheme()
	utilruntime.Must(apiextensionsv1.AddToScheme(scheme))
	admin, err := client.New(world.Plane.Admin(), client.Options{Scheme: scheme})
	if err != nil {
		t.Fatal(err)
	}
	describe := func(change func(string) string) {
		t.Helper()
		definition := &apiextensionsv1.CustomResourceDefinition{}
		if err := admin.Get(ctx, client.ObjectKey{Name: "scopegrants.m2m-operator.io"}, definition); err != nil {
			t.Fatal(err)
		}
		schema := definition.Spec.Versions[0].Schema.OpenAPIV3Schema
		schema.Description = change(schema.Description)
		if err := admin.Update(ctx, definition); err != nil {
			t.Fatal(err)
		}
	}
	const mark = " Of another version."
	describe(func(text string) string { return text + mark })
	defer describe(func(text string) string { return strings.TrimSuffix(text, mark) })
	report, _ := examine(t, cli.Environment{}, "admin")
	finds(t, report, doctor.Warning, "install", "scopegrants.m2m-operator.io", "not the one of this kubectl m2m")
}

// TestDoctorOfATenant: what may not be looked at is said, and is no problem.
func TestDoctorOfATenant(t *testing.T) {
	settled(t)
	report, r := examine(t, cli.Environment{}, "course-team", "-n", "courses")
	if r.code != 0 {
		t.Errorf("exit status %d:\n%s", r.code, r.out)
	}
	finds(t, report, doctor.Unknown, "install", "scopegrants.m2m-operator.io", "forbidden")
	finds(t, report, doctor.Unknown, "versions", "", "forbidden")
	finds(t, report, doctor.Unknown, "rbac", "m2m-manager", "forbidden")
	finds(t, report, doctor.Unknown, "access", "", "TokenIssuers: you may not read them")
}

// TestDoctorOfNobody: who may see no TokenIssuer is not told that there is none.
func TestDoctorOfNobody(t *testing.T) {
	settled(t)
	report, r := examine(t, cli.Environment{}, "nobody")
	if r.code != 0 || report.Problems > 0 {
		t.Errorf("exit status %d:\n%s", r.code, r.out)
	}
	finds(t, report, doctor.Unknown, "access", "", "TokenIssuers: you may not read them")
}
