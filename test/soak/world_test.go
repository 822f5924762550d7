//go:build soak

package soak

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/hack/controlplane"
	"github.com/m2m-operator/m2m-operator/internal/snapshot"
	"github.com/m2m-operator/m2m-operator/test/suite"
)

const howManyIssuers = 2

// world is an installation: a manager, two issuers, and the Service before them.
type world struct {
	*suite.Suite
	t        testing.TB
	dir      string
	manager  string // the managers' environment
	managers []*process
	issuers  [howManyIssuers]*issuer
	service  *service
}

// issuer has its volumes and addresses through all restarts of its container.
type issuer struct {
	*process
	address, opsAddress string
	kubeconfig          string
	snapshot            snapshot.Options
}

// newWorld brings everything up, with one manager.
func newWorld(t *testing.T) *world {
	t.Helper()
	plane, err := suite.Start(ctx)
	if err != nil {
		t.Fatal(err)
	}
	w := &world{Suite: plane, t: t, dir: t.TempDir()}
	t.Cleanup(func() {
		if w.Verdict(0) != 0 {
			t.Error("a secret was written down")
		}
		if err := w.Stop(); err != nil {
			t.Error(err)
		}
	})
	endpoints := map[string]string{}
	for n := range w.issuers {
		w.issuers[n] = w.newIssuer(t, fmt.Sprint("issuer-", n))
		endpoints[fmt.Sprintf("%s:8443", endpointAddress(n))] = w.issuers[n].address
	}
	options, err := json.Marshal(managerOptions{Kubeconfig: w.kubeconfig(t, "m2m-manager"), Endpoints: endpoints})
	if err != nil {
		t.Fatal(err)
	}
	w.manager = asManager + "=" + string(options)
	w.startManager(t).awaitLog(t, `"msg":"leading"`)
	w.populate(t)
	for _, i := range w.issuers {
		w.start(t, i)
	}
	w.service = newService(t, w)
	return w
}

func (w *world) kubeconfig(t testing.TB, account string) string {
	t.Helper()
	text, err := w.Plane.ServiceAccountKubeconfig(ctx, suite.InstallNamespace, account)
	path := filepath.Join(w.dir, account)
	if err == nil {
		err = controlplane.WriteKubeconfig(path, text)
	}
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// newIssuer finds addresses for an issuer, which it has again after each restart.
func (w *world) newIssuer(t testing.TB, name string) *issuer {
	t.Helper()
	i := &issuer{kubeconfig: w.kubeconfig(t, "m2m-issuer"), snapshot: snapshot.Options{
		Dir: filepath.Join(w.dir, name), KeyFile: filepath.Join(w.dir, "pepper"),
		Namespace: suite.InstallNamespace, TokenIssuer: "default",
	}}
	if err := os.Mkdir(i.snapshot.Dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, address := range []*string{&i.address, &i.opsAddress} {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		*address = listener.Addr().String()
		if err := listener.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return i
}

// start starts an issuer's container and waits until it is ready.
func (w *world) start(t testing.TB, i *issuer) {
	t.Helper()
	i.process = w.launch(t, exec.Command(binary, "--namespace="+suite.InstallNamespace, "--kubeconfig="+i.kubeconfig,
		"--listen="+i.address, "--ops-listen="+i.opsAddress, "--drain-delay=2s",
		"--snapshot-dir="+i.snapshot.Dir, "--snapshot-key-file="+i.snapshot.KeyFile))
	i.awaitLog(t, `"msg":"serving"`)
	i.awaitReady(t)
}

func (w *world) startManager(t testing.TB) *process {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), w.manager)
	p := w.launch(t, cmd)
	w.managers = append(w.managers, p)
	return p
}

// leader is the manager that began to lead last.
func (w *world) leader(t testing.TB) (leader, other *process) {
	t.Helper()
	for _, p := range w.managers {
		switch {
		case p.ended():
		case p.leads():
			leader = p
		default:
			other = p
		}
	}
	if leader == nil || other == nil {
		t.Fatal("there are not two managers of which one leads")
	}
	return leader, other
}

// killManagers leaves the installation without one.
func (w *world) killManagers() {
	for _, p := range w.managers {
		p.end(syscall.SIGKILL)
	}
}

func endpointAddress(n int) string { return fmt.Sprint("10.77.0.", n+1) }

func (w *world) populate(t testing.TB) {
	t.Helper()
	issuer := &v1alpha1.TokenIssuer{ObjectMeta: metaOf("default")}
	issuer.Spec.URL = issuerURL
	api := &v1alpha1.ApiResource{ObjectMeta: metav1.ObjectMeta{Namespace: "courses", Name: "api"}}
	api.Spec.Identifier, api.Spec.Scopes = audience, []v1alpha1.ApiScope{{Name: "read"}}
	api.Spec.Authorization = v1alpha1.AuthorizationAnyClient
	for _, object := range []client.Object{
		issuer,
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "courses"}}, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "jobs"}},
		api,
	} {
		if err := w.Admin.Create(ctx, object); err != nil {
			t.Fatal(err)
		}
	}
	pepper := &corev1.Secret{}
	suite.Eventually(t, func() string {
		if err := w.Admin.Get(ctx, client.ObjectKey{Namespace: suite.InstallNamespace, Name: "m2m-default-pepper"}, pepper); err != nil {
			return err.Error()
		}
		return ""
	})
	if err := os.WriteFile(filepath.Join(w.dir, "pepper"), pepper.Data["pepper"], 0o600); err != nil {
		t.Fatal(err)
	}
}

// newClient creates an M2MClient and waits for its Secret.
func (w *world) newClient(t testing.TB, name string) *mounted {
	t.Helper()
	c := &v1alpha1.M2MClient{ObjectMeta: metav1.ObjectMeta{Namespace: "jobs", Name: name}}
	c.Spec.Credential.Rotation = &v1alpha1.CredentialRotation{
		Interval: metav1.Duration{Duration: 720 * time.Hour}, Overlap: &metav1.Duration{Duration: overlap},
	}
	if err := w.Admin.Create(ctx, c); err != nil {
		t.Fatal(err)
	}
	m := &mounted{world: w, name: name}
	suite.Eventually(t, func() string {
		if err := m.refresh(); err != nil {
			return err.Error()
		}
		return ""
	})
	return m
}

// change changes an M2MClient's spec.
func (w *world) change(t testing.TB, name string, change func(*v1alpha1.M2MClientSpec)) {
	t.Helper()
	c := &v1alpha1.M2MClient{}
	if err := w.Admin.Get(ctx, client.ObjectKey{Namespace: "jobs", Name: name}, c); err != nil {
		t.Fatal(err)
	}
	change(&c.Spec)
	suite.Save(t, w.Admin, c)
}

// slice is the Service's EndpointSlice, as it is made of which issuers are ready.
func (w *world) slice(ready []bool) *discoveryv1.EndpointSlice {
	issuer := &v1alpha1.TokenIssuer{ObjectMeta: metaOf("default")}
	port, https := int32(8443), "https"
	slice := &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: suite.InstallNamespace, Name: issuer.ServiceName() + "-1",
			Labels: map[string]string{discoveryv1.LabelServiceName: issuer.ServiceName()},
		},
		AddressType: discoveryv1.AddressTypeIPv4,
		Ports:       []discoveryv1.EndpointPort{{Name: &https, Port: &port}},
	}
	for n := range w.issuers {
		slice.Endpoints = append(slice.Endpoints, discoveryv1.Endpoint{
			Addresses: []string{endpointAddress(n)}, Conditions: discoveryv1.EndpointConditions{Ready: &ready[n]},
		})
	}
	return slice
}

func metaOf(name string) metav1.ObjectMeta { return metav1.ObjectMeta{Name: name} }
