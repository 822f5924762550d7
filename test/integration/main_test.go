// Package integration tests the whole way on a real API server: YAML, manager, two token issuers, TLS, tokens.
package integration

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
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/test/suite"
)

const (
	issuerName = "default"
	issuerURL  = "https://127.0.0.1/machines"
	audience   = "https://courses.example.com/api"
)

var (
	ctx     = context.Background()
	world   *suite.Suite
	issuers [2]*suite.Issuer
	// stopManager and startManager are for tests that work without one.
	stopManager  func() error
	startManager func() error
	tlsConfig    *tls.Config
)

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	err := start()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer world.Stop()
	code := m.Run()
	for _, stop := range []func() error{issuers[0].Stop, issuers[1].Stop, stopManager} {
		if err := stop(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	return world.Verdict(code)
}

func start() error {
	var err error
	if world, err = suite.Start(ctx); err != nil {
		return err
	}
	startManager = func() (err error) {
		stopManager, err = world.StartManager(suite.ManagerOptions{Elapsed: elapsed, Dial: dialEndpoint})
		return err
	}
	if err := startManager(); err != nil {
		return err
	}
	for i := range issuers {
		if issuers[i], err = world.StartIssuer(issuerName); err != nil {
			return err
		}
	}
	for _, namespace := range []string{"courses", "jobs", "strangers", "aaa"} {
		if err := world.Admin.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}); err != nil {
			return err
		}
	}
	return nil
}

// answer is what a token server said.
type answer struct {
	status int
	header http.Header
	body   string
}

type tokenAnswer struct {
	AccessToken   string `json:"access_token"`
	Scope         string `json:"scope"`
	RejectedScope string `json:"rejected_scope"`
	Error         string `json:"error"`
}

func (a answer) token(t testing.TB) tokenAnswer {
	t.Helper()
	var parsed tokenAnswer
	if err := json.Unmarshal([]byte(a.body), &parsed); err != nil {
		t.Fatalf("status %d, body %q: %v", a.status, a.body, err)
	}
	return parsed
}

// verdict is "granted", or the error.
func (a answer) verdict() string {
	if a.status == http.StatusOK {
		return "granted"
	}
	var parsed tokenAnswer
	_ = json.Unmarshal([]byte(a.body), &parsed) // an answer that is no JSON has no error code
	return parsed.Error
}

// connections keeps a connection to each issuer open.
var connections = map[string]*http.Client{}

// httpClientTLS trusts the operator's own authority.
func httpClientTLS(t testing.TB) *tls.Config {
	t.Helper()
	if tlsConfig == nil {
		roots := x509.NewCertPool()
		secret := get(t, &corev1.Secret{}, suite.InstallNamespace, "m2m-default-tls")
		if !roots.AppendCertsFromPEM(secret.Data["ca.crt"]) {
			t.Fatal("no authority")
		}
		tlsConfig = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	}
	return tlsConfig
}

func httpClient(t testing.TB, address string) *http.Client {
	t.Helper()
	if connections[address] == nil {
		connections[address] = &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{TLSClientConfig: httpClientTLS(t)}}
	}
	return connections[address]
}

// ask sends a token request with client_secret_basic to one issuer.
func ask(t testing.TB, issuer *suite.Issuer, id, secret string, form ...string) answer {
	t.Helper()
	values := url.Values{"grant_type": {"client_credentials"}}
	for i := 0; i+1 < len(form); i += 2 {
		values.Set(form[i], form[i+1])
	}
	request, err := http.NewRequest(http.MethodPost, "https://"+issuer.Address+"/machines/oauth2/token", strings.NewReader(values.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	request.SetBasicAuth(id, secret)
	return do(t, issuer, request)
}

func do(t testing.TB, issuer *suite.Issuer, request *http.Request) answer {
	t.Helper()
	world.Canary.Sent(request)
	response, err := httpClient(t, issuer.Address).Do(request)
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

// awaitVerdict waits until both issuers answer the same request so.
func awaitVerdict(t testing.TB, want, id, secret string, form ...string) {
	t.Helper()
	for _, issuer := range issuers {
		suite.Eventually(t, func() string {
			if got := ask(t, issuer, id, secret, form...).verdict(); got != want {
				return fmt.Sprintf("%s is told %q, want %q", id, got, want)
			}
			return ""
		})
	}
}

func get[T client.Object](t testing.TB, object T, namespace, name string) T {
	t.Helper()
	if err := world.Admin.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, object); err != nil {
		t.Fatal(err)
	}
	return object
}

func create(t testing.TB, object client.Object) {
	t.Helper()
	if err := world.Admin.Create(ctx, object); err != nil {
		t.Fatal(err)
	}
}

func update(t testing.TB, object client.Object) {
	t.Helper()
	suite.Save(t, world.Admin, object)
}

func remove(t testing.TB, object client.Object) {
	t.Helper()
	if err := world.Admin.Delete(ctx, object); err != nil {
		t.Fatal(err)
	}
}

var issuerMade bool

// ensureIssuer creates the TokenIssuer once.
func ensureIssuer(t testing.TB) {
	t.Helper()
	if issuerMade {
		return
	}
	for _, i := range issuers {
		if notReady(i) == "" {
			t.Error("ready without a TokenIssuer")
		}
	}
	issuer := &v1alpha1.TokenIssuer{ObjectMeta: metav1.ObjectMeta{Name: issuerName}}
	issuer.Spec.URL = issuerURL
	issuer.Spec.Signing.Algorithms = []v1alpha1.SigningAlgorithm{v1alpha1.ES256, v1alpha1.RS256}
	create(t, issuer)
	for _, i := range issuers {
		suite.Eventually(t, func() string { return notReady(i) })
	}
	issuerMade = true
}

// notReady is what /readyz says, "" if it is ready.
func notReady(issuer *suite.Issuer) string {
	response, err := http.Get("http://" + issuer.OpsAddress + "/readyz")
	if err != nil {
		return err.Error()
	}
	defer response.Body.Close()
	if body, _ := io.ReadAll(response.Body); response.StatusCode != http.StatusOK {
		return fmt.Sprintf("%d %s", response.StatusCode, body)
	}
	return ""
}

// newCaller creates an M2MClient and returns its credentials as soon as its Secret is there.
func newCaller(t testing.TB, namespace, name string, change func(*v1alpha1.M2MClient)) (id, secret string) {
	t.Helper()
	c := &v1alpha1.M2MClient{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
	if change != nil {
		change(c)
	}
	create(t, c)
	object := &corev1.Secret{}
	suite.Eventually(t, func() string {
		if err := world.Admin.Get(ctx, client.ObjectKeyFromObject(c), object); err != nil {
			return err.Error()
		}
		return ""
	})
	return string(object.Data["client_id"]), string(object.Data["client_secret"])
}

func newAPI(t testing.TB, namespace, name, identifier string, scopes ...string) *v1alpha1.ApiResource {
	t.Helper()
	api := &v1alpha1.ApiResource{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
	api.Spec.Identifier = identifier
	for _, scope := range scopes {
		api.Spec.Scopes = append(api.Spec.Scopes, v1alpha1.ApiScope{Name: v1alpha1.ScopeName(scope)})
	}
	create(t, api)
	return api
}

func grantOf(namespace, name, api, clientNamespace, clientName string, scopes ...string) *v1alpha1.ScopeGrant {
	grant := &v1alpha1.ScopeGrant{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
	grant.Spec.ApiResourceRef.Name = v1alpha1.ObjectName(api)
	grant.Spec.Subjects = []v1alpha1.GrantSubject{{Namespace: v1alpha1.NamespaceName(clientNamespace), Name: v1alpha1.ObjectName(clientName)}}
	for _, scope := range scopes {
		grant.Spec.Scopes = append(grant.Spec.Scopes, v1alpha1.ScopeName(scope))
	}
	return grant
}
