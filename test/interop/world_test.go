//go:build interop

package interop

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/test/suite"
)

const (
	audience  = "https://courses.example.com/api"
	elsewhere = "https://pay.example.com/api" // is another API's identifier
	scopes    = "courses:publish courses:read-approved"
)

// issuer is a TokenIssuer and the server that answers for it.
type issuer struct {
	name string
	// path of its URL. All three are in use: "" is the usual one, "/" is how Auth0's and LoginRadius's end, and "/oidc" is
	// Authing's and Logto's.
	path string

	url    string
	server *suite.Issuer
	ca     []byte
	caFile string
	http   *http.Client
	// caller is a client with a secret and a key, and reader the one that may introspect tokens for audience.
	caller, reader credentials
}

// credentials of a client.
type credentials struct {
	ID     string `json:"clientId"`
	Secret string `json:"clientSecret"`
}

var (
	ctx                   = context.Background()
	world                 *suite.Suite
	issuers               = []*issuer{{name: "root"}, {name: "slash", path: "/"}, {name: "oidc", path: "/oidc"}}
	root, slash, oidcPath = issuers[0], issuers[1], issuers[2]

	// tools is what tools.sh has installed, scripts a directory that the scripts find their packages from.
	tools   = os.Getenv("M2M_INTEROP_TOOLS")
	scripts string
	// clientKey is the key of every caller.
	clientKey jose.JSONWebKey
)

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "interop")
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
	return m.Run()
}

func start(dir string) (err error) {
	if tools == "" {
		return errors.New("M2M_INTEROP_TOOLS is not set: use make interop")
	}
	scripts = dir
	if err := errors.Join(
		os.CopyFS(dir, os.DirFS("node")),
		os.CopyFS(dir, os.DirFS("python")),
		os.Symlink(filepath.Join(tools, "node_modules"), filepath.Join(dir, "node_modules")),
	); err != nil {
		return err
	}
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	clientKey = jose.JSONWebKey{Key: private, KeyID: "caller", Algorithm: string(jose.ES256), Use: "sig"}
	if world, err = suite.Start(ctx); err != nil {
		return err
	}
	if _, err := world.StartManager(suite.ManagerOptions{}); err != nil {
		return err
	}
	for _, i := range issuers {
		if i.server, err = world.StartIssuer(i.name); err != nil {
			return err
		}
		i.url = "https://" + i.server.Address + i.path
	}
	return nil
}

// ensureWorld applies what all tests share, once: for every issuer a course API and another one, a client that may use
// both, and one in the course API's namespace.
func ensureWorld(t *testing.T) {
	t.Helper()
	if root.ca != nil {
		return
	}
	for _, i := range issuers {
		object := &v1alpha1.TokenIssuer{ObjectMeta: metav1.ObjectMeta{Name: i.name}}
		object.Spec.URL = i.url
		object.Spec.Signing.Algorithms = []v1alpha1.SigningAlgorithm{v1alpha1.ES256, v1alpha1.RS256}
		create(t, object)
		for _, prefix := range []string{"courses-", "jobs-"} {
			create(t, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: prefix + i.name}})
		}
		i.newAPI(t, "course-api", audience, "courses:read-published", "courses:read-approved", "courses:write", "courses:publish")
		i.newAPI(t, "pay-api", elsewhere, "pay:read")
		i.caller = i.newClient(t, "jobs-"+i.name, "publisher", func(c *v1alpha1.M2MClient) {
			c.Spec.DefaultAudience = audience
			c.Spec.Authentication = []v1alpha1.AuthenticationMethod{v1alpha1.AuthenticateBySecret, v1alpha1.AuthenticateByKey}
			c.Spec.JWKS = publicHalf(t, clientKey)
		})
		i.reader = i.newClient(t, "courses-"+i.name, "course-api", nil)
		i.grant(t, "course-api", "publisher", "courses:read-approved", "courses:publish")
		i.grant(t, "pay-api", "publisher", "pay:read")
	}
	for _, i := range issuers {
		i.trust(t)
	}
	for _, i := range issuers {
		i.awaitGrant(t, i.caller, audience)
		i.awaitGrant(t, i.caller, elsewhere)
	}
}

// trust takes up the authority of an issuer, as soon as it is ready.
func (i *issuer) trust(t *testing.T) {
	t.Helper()
	secret := await(t, suite.InstallNamespace, "m2m-"+i.name+"-tls")
	i.ca, i.caFile = secret.Data["ca.crt"], filepath.Join(scripts, i.name+".crt")
	if err := os.WriteFile(i.caFile, i.ca, 0o600); err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(i.ca) {
		t.Fatal("no authority")
	}
	i.http = &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}}
}

// awaitGrant waits until a client gets tokens for an audience.
func (i *issuer) awaitGrant(t *testing.T, c credentials, audience string) {
	t.Helper()
	suite.Eventually(t, func() string {
		answer, err := i.http.PostForm(i.endpoint("/oauth2/token"), url.Values{
			"grant_type": {"client_credentials"}, "client_id": {c.ID}, "client_secret": {c.Secret}, "audience": {audience},
		})
		if err != nil {
			return err.Error()
		}
		defer answer.Body.Close()
		if answer.StatusCode != http.StatusOK {
			return fmt.Sprintf("%s is told %s for %s", c.ID, answer.Status, audience)
		}
		return ""
	})
}

// newAPI creates an ApiResource, whose tokens are RS256, as those of the documents are.
func (i *issuer) newAPI(t *testing.T, name, identifier string, scopes ...v1alpha1.ScopeName) {
	t.Helper()
	api := &v1alpha1.ApiResource{ObjectMeta: metav1.ObjectMeta{Namespace: "courses-" + i.name, Name: name}}
	api.Spec.IssuerRef.Name = i.name
	api.Spec.Identifier = identifier
	api.Spec.Token.SigningAlgorithm = v1alpha1.RS256
	for _, scope := range scopes {
		api.Spec.Scopes = append(api.Spec.Scopes, v1alpha1.ApiScope{Name: scope})
	}
	create(t, api)
}

// newClient creates an M2MClient and returns its credentials as soon as its Secret is there.
func (i *issuer) newClient(t *testing.T, namespace, name string, change func(*v1alpha1.M2MClient)) credentials {
	t.Helper()
	c := &v1alpha1.M2MClient{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
	c.Spec.IssuerRef.Name = i.name
	if change != nil {
		change(c)
	}
	create(t, c)
	secret := await(t, namespace, name)
	return credentials{string(secret.Data["client_id"]), string(secret.Data["client_secret"])}
}

// publicHalf is what an M2MClient says of its key.
func publicHalf(t *testing.T, key jose.JSONWebKey) *v1alpha1.JSONWebKeySet {
	t.Helper()
	text, err := key.Public().MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	set := &v1alpha1.JSONWebKeySet{Keys: make([]v1alpha1.JSONWebKey, 1)}
	if err := json.Unmarshal(text, &set.Keys[0]); err != nil {
		t.Fatal(err)
	}
	return set
}

// grant lets a client of the namespace jobs have scopes of an API.
func (i *issuer) grant(t *testing.T, api, client string, scopes ...v1alpha1.ScopeName) {
	t.Helper()
	grant := &v1alpha1.ScopeGrant{ObjectMeta: metav1.ObjectMeta{Namespace: "courses-" + i.name, Name: api + "-" + client}}
	grant.Spec.ApiResourceRef.Name = v1alpha1.ObjectName(api)
	grant.Spec.Subjects = []v1alpha1.GrantSubject{{Namespace: v1alpha1.NamespaceName("jobs-" + i.name), Name: v1alpha1.ObjectName(client)}}
	grant.Spec.Scopes = scopes
	create(t, grant)
}

// endpoint is the URL of a path below the issuer's.
func (i *issuer) endpoint(path string) string { return v1alpha1.EndpointURL(i.url, path) }

func create(t *testing.T, object client.Object) {
	t.Helper()
	if err := world.Admin.Create(ctx, object); err != nil {
		t.Fatal(err)
	}
}

// await returns a Secret as soon as it is there.
func await(t *testing.T, namespace, name string) *corev1.Secret {
	t.Helper()
	secret := &corev1.Secret{}
	suite.Eventually(t, func() string {
		if err := world.Admin.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, secret); err != nil {
			return err.Error()
		}
		return ""
	})
	return secret
}
