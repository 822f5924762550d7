package outages

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/hack/controlplane"
	"github.com/m2m-operator/m2m-operator/test/suite"
)

const (
	issuerURL = "https://127.0.0.1/machines"
	audience  = "https://courses.example.com/api"
)

var (
	ctx   = context.Background()
	world *suite.Suite
	// binary is m2m-issuer, kubeconfig what it reaches the API server with, and pepper what its snapshots are encrypted
	// under.
	binary, kubeconfig string
	pepper             []byte
	httpClient         *http.Client
	// secrets of the clients, by name. All are in the namespace jobs.
	secrets = map[string]string{}
)

// clients that there are. Each test has its own.
var clients = []string{"steady", "suspended", "deleted", "changed", "granted", "restored"}

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "m2m-outages-")
	if err == nil {
		defer os.RemoveAll(dir)
		err = start(dir)
	}
	if world != nil {
		defer world.Stop()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return world.Verdict(m.Run())
}

// start brings up everything, has the manager make all that is needed, and stops it: nothing here is its work.
func start(dir string) error {
	root, err := controlplane.RepoRoot()
	if err != nil {
		return err
	}
	binary = filepath.Join(dir, "m2m-issuer")
	build := exec.Command("go", "build", "-o", binary, "./cmd/issuer")
	build.Dir, build.Stderr = root, os.Stderr
	if err := build.Run(); err != nil {
		return err
	}
	if world, err = suite.Start(ctx); err != nil {
		return err
	}
	text, err := world.Plane.ServiceAccountKubeconfig(ctx, suite.InstallNamespace, "m2m-issuer")
	if err != nil {
		return err
	}
	kubeconfig = filepath.Join(dir, "kubeconfig")
	if err := controlplane.WriteKubeconfig(kubeconfig, text); err != nil {
		return err
	}
	stop, err := world.StartManager(suite.ManagerOptions{})
	if err != nil {
		return err
	}
	if err := populate(); err != nil {
		return err
	}
	return stop()
}

func populate() error {
	issuer := &v1alpha1.TokenIssuer{ObjectMeta: metav1.ObjectMeta{Name: "default"}}
	issuer.Spec.URL = issuerURL
	api := &v1alpha1.ApiResource{ObjectMeta: metav1.ObjectMeta{Namespace: "courses", Name: "api"}}
	api.Spec.Identifier, api.Spec.Scopes = audience, []v1alpha1.ApiScope{{Name: "read"}}
	objects := []client.Object{
		issuer,
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "courses"}}, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "jobs"}},
		api,
	}
	for _, name := range clients {
		objects = append(objects, &v1alpha1.M2MClient{ObjectMeta: metav1.ObjectMeta{Namespace: "jobs", Name: name}})
		if name != "granted" {
			objects = append(objects, grantTo(name))
		}
	}
	for _, object := range objects {
		if err := world.Admin.Create(ctx, object); err != nil {
			return err
		}
	}
	certificate, err := awaitSecret(suite.InstallNamespace, "m2m-default-tls")
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(certificate["ca.crt"])
	httpClient = &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}, DisableKeepAlives: true,
	}}
	peppers, err := awaitSecret(suite.InstallNamespace, "m2m-default-pepper")
	if err != nil {
		return err
	}
	pepper = peppers["pepper"]
	for _, name := range clients {
		credentials, err := awaitSecret("jobs", name)
		if err != nil {
			return err
		}
		secrets[name] = string(credentials["client_secret"])
	}
	return nil
}

func grantTo(name string) *v1alpha1.ScopeGrant {
	grant := &v1alpha1.ScopeGrant{ObjectMeta: metav1.ObjectMeta{Namespace: "courses", Name: name}}
	grant.Spec.ApiResourceRef.Name = "api"
	grant.Spec.Subjects = []v1alpha1.GrantSubject{{Namespace: "jobs", Name: v1alpha1.ObjectName(name)}}
	grant.Spec.Scopes = []v1alpha1.ScopeName{"read"}
	return grant
}

func awaitSecret(namespace, name string) (map[string][]byte, error) {
	secret := &corev1.Secret{}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		err := world.Admin.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, secret)
		if err == nil || time.Now().After(deadline) {
			return secret.Data, err
		}
	}
}

// answer is what a token server said.
type answer struct {
	status int
	header http.Header
	body   string
}

func (a answer) String() string { return fmt.Sprintf("%d %s", a.status, a.body) }

// verdict is "granted", or the error.
func (a answer) verdict() string {
	if a.status == http.StatusOK {
		return "granted"
	}
	var parsed struct{ Error string }
	_ = json.Unmarshal([]byte(a.body), &parsed) // an answer that is no JSON has no error code
	return parsed.Error
}

// ask for a token as one of the clients.
func (p *process) ask(name string) answer {
	p.t.Helper()
	form := url.Values{"grant_type": {"client_credentials"}, "audience": {audience}}
	request, err := http.NewRequest(http.MethodPost, "https://"+p.address+"/machines/oauth2/token", strings.NewReader(form.Encode()))
	if err != nil {
		p.t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	request.SetBasicAuth("jobs."+name, secrets[name])
	return do(p.t, httpClient, request)
}

func (p *process) get(url string) answer {
	p.t.Helper()
	request, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		p.t.Fatal(err)
	}
	return do(p.t, httpClient, request)
}

func (p *process) jwks() answer { return p.get("https://" + p.address + "/machines/oauth2/jwks") }

func (p *process) ops(path string) answer { return p.get("http://" + p.opsAddress + path) }

// metric is the value of a series, by its name with its labels; "" if there is none.
func (p *process) metric(series string) string {
	p.t.Helper()
	for line := range strings.Lines(p.ops("/metrics").body) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), series+" "); ok {
			return value
		}
	}
	return ""
}

func do(t testing.TB, c *http.Client, request *http.Request) answer {
	t.Helper()
	world.Canary.Sent(request)
	response, err := c.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	world.Canary.Got("the errors that issuers answered", response.StatusCode, response.Header, string(body))
	return answer{response.StatusCode, response.Header, string(body)}
}

// wants checks what a client is told now.
func (p *process) wants(verdict, name string) {
	p.t.Helper()
	if a := p.ask(name); a.verdict() != verdict {
		p.t.Errorf("%s is told %s, want %s", name, a, verdict)
	}
}

// comesTo waits until a client is told so.
func (p *process) comesTo(verdict, name string) {
	p.t.Helper()
	suite.Eventually(p.t, func() string {
		if a := p.ask(name); a.verdict() != verdict {
			return fmt.Sprintf("%s is told %s, want %s", name, a, verdict)
		}
		return ""
	})
}
