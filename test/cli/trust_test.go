package cli

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/internal/cli"
	"github.com/m2m-operator/m2m-operator/internal/doctor"
	"github.com/m2m-operator/m2m-operator/internal/manifests"
	"github.com/m2m-operator/m2m-operator/test/suite"
)

// stranger is somebody's server that looks like an issuer.
type stranger struct {
	url, authority string
	asked          atomic.Int32
	key            jose.JSONWebKey
}

func newStranger(t *testing.T) *stranger {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	s := &stranger{key: jose.JSONWebKey{Key: private, KeyID: "strange", Algorithm: "ES256", Use: "sig"}}
	listener := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		s.asked.Add(1)
		_ = json.NewEncoder(w).Encode(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{s.key.Public()}}) // who asks is at fault
	}))
	t.Cleanup(listener.Close)
	s.url = listener.URL
	s.authority = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: listener.Certificate().Raw}))
	return s
}

// token is one that says what those of an issuer say.
func (s *stranger) token(t *testing.T) string {
	t.Helper()
	const clientID = "jobs.publisher"
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: s.key}, (&jose.SignerOptions{}).WithType("at+jwt"))
	if err != nil {
		t.Fatal(err)
	}
	claims, err := json.Marshal(map[string]any{
		"iss": s.url, "sub": clientID, "client_id": clientID, "aud": courses, "jti": "one", "scope": "courses:publish",
		"iat": time.Now().Unix(), "exp": time.Now().Add(time.Hour).Unix(),
	})
	if err != nil {
		t.Fatal(err)
	}
	signed, err := signer.Sign(claims)
	if err != nil {
		t.Fatal(err)
	}
	compact, err := signed.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return compact
}

// telling is a ConfigMap that looks like one by which the operator tells of an issuer.
func telling(namespace, url, authority string) *corev1.ConfigMap {
	return &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "told", Labels: map[string]string{manifests.LabelManagedBy: manifests.ManagedBy}},
		Data: map[string]string{
			manifests.KeyIssuer: url, manifests.KeyJWKSURI: url + "/oauth2/jwks", manifests.KeyAuthority: authority, manifests.KeyAudience: courses,
		},
	}
}

// verified is what verify says to a user of a token.
func verified(t *testing.T, user, token string, flags ...string) (told, result) {
	t.Helper()
	r := kubectlAt(t, cli.Environment{}, user, token, append([]string{"verify", "-", "-o", "json"}, flags...)...)
	if r.out == "" {
		t.Fatal(r.errOut)
	}
	return decode[told](t, r.out), r
}

// TestVerifyBelievesNoStranger: a token of whoever made a ConfigMap that looks like the operator's is not valid, and nobody
// connects to where it says.
func TestVerifyBelievesNoStranger(t *testing.T) {
	settled(t)
	s := newStranger(t)
	secret := get(t, &corev1.Secret{}, "jobs", "publisher-credentials").DeepCopy() // owned by its client as the operator's are
	secret.ObjectMeta = metav1.ObjectMeta{Namespace: "jobs", Name: "told", Labels: secret.Labels, OwnerReferences: secret.OwnerReferences}
	secret.Data = map[string][]byte{manifests.KeyIssuer: []byte(s.url), manifests.KeyAuthority: []byte(s.authority)}
	owned := telling("jobs", s.url, s.authority)
	owned.Name, owned.OwnerReferences = "publisher-endpoint", secret.OwnerReferences
	create(t, telling("courses", s.url, s.authority), telling("jobs", s.url, s.authority), secret, owned)
	forged := s.token(t)
	for _, namespace := range []string{"default", "courses", "jobs"} {
		v, r := verified(t, "admin", forged, "-n", namespace)
		if r.code != 2 || v.Valid || !strings.HasPrefix(v.failed(), "issuer: no TokenIssuer has the URL") {
			t.Errorf("in %s the exit status is %d, and %q", namespace, r.code, v.failed())
		}
	}
	// Who may not read TokenIssuers cannot tell, unless the operator wrote for the namespace's own objects.
	for user, namespace := range map[string]string{"course-team": "courses", "job-team": "default", "nobody": "jobs"} {
		v, r := verified(t, user, forged, "-n", namespace)
		if r.code != 1 || v.Valid || v.Verdict != "unknown" || v.failed() != "" {
			t.Errorf("%s is told %+v, exit status %d", user, v, r.code)
		}
	}
	if n := s.asked.Load(); n != 0 {
		t.Errorf("the stranger was asked %d times", n)
	}
}

// TestStrangersBreakNothing: what tenants say of the issuer does not keep others from reaching it.
func TestStrangersBreakNothing(t *testing.T) {
	settled(t)
	s := newStranger(t)
	url := "https://" + server.Address
	create(t, telling("car-park-sensors", url, s.authority), telling("courses", url, s.authority), telling("jobs", url, s.authority))
	raw := must(t, "admin", "token", "jobs.publisher", "--audience", courses, "--raw")
	for user, namespace := range map[string]string{"admin": "default", "course-team": "courses", "job-team": "jobs", "viewer": "courses"} {
		if v, r := verified(t, user, raw, "-n", namespace); r.code != 0 || !v.Valid || v.Verdict != "valid" {
			t.Errorf("%s is told %q, exit status %d\n%s", user, v.failed(), r.code, r.out)
		}
	}
	// Who may read TokenIssuers, and no Secrets, takes only what the operator wrote, where they say.
	for _, namespace := range []string{"default", "car-park-sensors"} {
		if v, r := verified(t, "viewer", raw, "-n", namespace); r.code != 1 || v.Verdict != "unknown" {
			t.Errorf("in %s a viewer is told %+v, exit status %d", namespace, v, r.code)
		}
	}
	// The API's team does not see the Secret of the client, and the client's no ConfigMap of the API.
	if v, r := verified(t, "job-team", raw, "-n", "default"); r.code != 1 || v.Verdict != "unknown" {
		t.Errorf("elsewhere a team is told %+v, exit status %d", v, r.code)
	}
	report, _ := examine(t, cli.Environment{}, "admin")
	finds(t, report, doctor.OK, "jwks", "default", "its URL can be reached")
	report, _ = examine(t, cli.Environment{}, "viewer")
	finds(t, report, doctor.Unknown, "jwks", "default", "forbidden")
}

// TestTokenGoesToTheIssuer: a Secret that a tenant wrote does not choose which address an administrator's machine asks.
func TestTokenGoesToTheIssuer(t *testing.T) {
	settled(t)
	s := newStranger(t)
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "jobs", Name: "led-astray"}, Data: map[string][]byte{
		manifests.KeyClientID: []byte("jobs.led-astray"), manifests.KeyClientSecret: []byte("none"), manifests.KeyIssuer: []byte("https://" + server.Address),
		manifests.KeyTokenEndpoint: []byte(s.url + "/oauth2/token"), manifests.KeyAuthority: []byte(s.authority),
	}}
	machine := &v1alpha1.M2MClient{ObjectMeta: metav1.ObjectMeta{Namespace: "jobs", Name: "led-astray"}}
	create(t, secret, machine)
	kubectl(t, "admin", "token", "jobs.led-astray").expect(t, 1, "token_endpoint", s.url, "nothing is sent there")
	if n := s.asked.Load(); n != 0 {
		t.Errorf("the stranger was asked %d times", n)
	}
}

// TestDoctorAtTheURL: what is wrong with what answers there is a problem; what cannot be reached from here is none.
func TestDoctorAtTheURL(t *testing.T) {
	settled(t)
	s := newStranger(t)
	report, r := examine(t, cli.Environment{}, "admin", "--endpoint", strings.TrimPrefix(s.url, "https://"))
	finds(t, report, doctor.Problem, "tls", "default", "its certificate is not trusted")
	if r.code != 2 {
		t.Errorf("exit status %d", r.code)
	}

	serving := get(t, &corev1.Secret{}, suite.InstallNamespace, "m2m-default-tls")
	pair, err := tls.X509KeyPair(serving.Data[corev1.TLSCertKey], serving.Data[corev1.TLSPrivateKeyKey])
	if err != nil {
		t.Fatal(err)
	}
	broken := httptest.NewUnstartedServer(http.NotFoundHandler())
	broken.TLS = &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}}
	broken.StartTLS()
	t.Cleanup(broken.Close)
	report, _ = examine(t, cli.Environment{}, "admin", "--endpoint", strings.TrimPrefix(broken.URL, "https://"))
	finds(t, report, doctor.Problem, "jwks", "default", "answers 404")

	create(t, &v1alpha1.TokenIssuer{ObjectMeta: metav1.ObjectMeta{Name: "inside"}})
	suite.Eventually(t, func() string {
		if err := world.Admin.Get(ctx, client.ObjectKey{Namespace: suite.InstallNamespace, Name: "m2m-inside-tls"}, &corev1.Secret{}); err != nil {
			return err.Error()
		}
		return ""
	})
	report, _ = examine(t, cli.Environment{}, "admin")
	finds(t, report, doctor.Unknown, "jwks", "inside", "from inside the cluster only")
	kubectl(t, "admin", "doctor").expect(t, 2, "-> run `kubectl port-forward -n m2m-system service/m2m-issuer-inside 8443:443`")
}
