package scenarios

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	m2m "github.com/m2m-operator/m2m-operator/docs/integrations/examples/go"
	"github.com/m2m-operator/m2m-operator/internal/manifests"
	"github.com/m2m-operator/m2m-operator/test/suite"
)

// TestGo: the client and the API of docs/integrations/go.md, with nothing but what is mounted into their pods.
func TestGo(t *testing.T) {
	running, err := world.StartIssuer("golang")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := running.Stop(); err != nil {
			t.Error(err)
		}
	})
	issuer := &v1alpha1.TokenIssuer{ObjectMeta: named("", "golang"), Spec: v1alpha1.TokenIssuerSpec{URL: "https://" + running.Address}}
	newNamespaces(t, "golang-api", "golang-jobs")
	api := newAPI("golang-api", "courses", "https://golang.example.com/", "courses:read", "courses:write")
	other := newAPI("golang-api", "other", "https://golang.example.com/other", "courses:read")
	job := newClient("golang-jobs", "job", nil)
	api.Spec.IssuerRef.Name, other.Spec.IssuerRef.Name, job.Spec.IssuerRef.Name = issuer.Name, issuer.Name, issuer.Name
	elsewhere := newGrant(other, job, "courses:read")
	elsewhere.Name = "job-other"
	create(t, issuer, api, other, job, newGrant(api, job, "courses:read"), elsewhere)
	awaitReady(t, api)
	secret := mountedSecret(t, "golang-jobs", "job")

	verifier, err := m2m.NewVerifier(t.Context(), directoryOf(t, get(t, &corev1.ConfigMap{}, "golang-api", "courses-verifier").Data))
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	served := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "courses") })
	mux.Handle("GET /courses", verifier.Require("courses:read", served))
	mux.Handle("POST /courses", verifier.Require("courses:write", served))
	server := httptest.NewServer(mux)
	defer server.Close()

	caller := func(directory, audience string) *http.Client {
		return &http.Client{Timeout: 10 * time.Second, Transport: m2m.NewTransport(t.Context(), directory, audience)}
	}
	good := caller(secret, api.Spec.Identifier)
	suite.Eventually(t, func() string { // until the issuer has heard of everything
		response, err := good.Get(server.URL + "/courses")
		if err != nil {
			return err.Error()
		}
		defer response.Body.Close()
		return map[bool]string{false: response.Status}[response.StatusCode == http.StatusOK]
	})
	for name, test := range map[string]struct {
		client    *http.Client
		method    string
		want      int
		challenge string
	}{
		"granted":          {good, http.MethodGet, http.StatusOK, ""},
		"not granted":      {good, http.MethodPost, http.StatusForbidden, `Bearer error="insufficient_scope", scope="courses:write"`},
		"another audience": {caller(secret, other.Spec.Identifier), http.MethodGet, http.StatusUnauthorized, `Bearer error="invalid_token"`},
		"no token":         {http.DefaultClient, http.MethodGet, http.StatusUnauthorized, "Bearer"},
	} {
		t.Run(name, func(t *testing.T) {
			request, err := http.NewRequestWithContext(t.Context(), test.method, server.URL+"/courses", nil)
			if err != nil {
				t.Fatal(err)
			}
			response, err := test.client.Do(request)
			if err != nil {
				t.Fatal(err)
			}
			defer response.Body.Close()
			if challenge := response.Header.Get("WWW-Authenticate"); response.StatusCode != test.want || challenge != test.challenge {
				t.Errorf("%s, challenge %q; want %d and %q", response.Status, challenge, test.want, test.challenge)
			}
		})
	}
	t.Run("rotated", func(t *testing.T) {
		wantRotationFollowed(t, job, secret, caller(secret, api.Spec.Identifier), server.URL)
	})
}

// wantRotationFollowed: a client that was made before a secret was replaced goes on with the one that is mounted then.
func wantRotationFollowed(t *testing.T, job *v1alpha1.M2MClient, directory string, client *http.Client, url string) {
	t.Helper()
	job = get(t, job, job.Namespace, job.Name)
	before := get(t, &corev1.Secret{}, job.Namespace, job.Name)
	job.Spec.Credential.RevokedIDs = []v1alpha1.CredentialID{v1alpha1.CredentialID(job.Status.Credentials[0].ID)}
	suite.Save(t, world.Admin, job)
	suite.Eventually(t, func() string {
		after := get(t, &corev1.Secret{}, job.Namespace, job.Name)
		if string(after.Data[manifests.KeyClientSecret]) == string(before.Data[manifests.KeyClientSecret]) {
			return "the Secret has not changed"
		}
		fill(t, directory, after.Data)
		return ""
	})
	suite.Eventually(t, func() string {
		response, err := client.Get(url + "/courses")
		if err != nil {
			return err.Error()
		}
		defer response.Body.Close()
		return map[bool]string{false: response.Status}[response.StatusCode == http.StatusOK]
	})
}

// mountedSecret is a directory with what is in a client's Secret.
func mountedSecret(t *testing.T, namespace, name string) string {
	t.Helper()
	mount(t, namespace, name) // so that it is there
	directory := t.TempDir()
	fill(t, directory, get(t, &corev1.Secret{}, namespace, name).Data)
	return directory
}

func directoryOf(t *testing.T, data map[string]string) string {
	t.Helper()
	directory := t.TempDir()
	for name, text := range data {
		fill(t, directory, map[string][]byte{name: []byte(text)})
	}
	return directory
}

// fill does what kubelet does with the data of a Secret.
func fill(t *testing.T, directory string, data map[string][]byte) {
	t.Helper()
	for name, text := range data {
		if err := os.WriteFile(filepath.Join(directory, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
