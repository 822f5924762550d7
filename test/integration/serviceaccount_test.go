package integration

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/test/suite"
)

func newServiceAccount(t testing.TB, namespace, name string) *corev1.ServiceAccount {
	t.Helper()
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
	create(t, account)
	return account
}

// tokenFor has the API server make a token, as it does for kubelets. No audiences means the API server's own.
func tokenFor(t testing.TB, account *corev1.ServiceAccount, pod *corev1.Pod, seconds int64, audiences ...string) string {
	t.Helper()
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{Audiences: audiences, ExpirationSeconds: &seconds}}
	if pod != nil {
		request.Spec.BoundObjectRef = &authenticationv1.BoundObjectReference{Kind: "Pod", APIVersion: "v1", Name: pod.Name, UID: pod.UID}
	}
	if err := world.Admin.SubResource("token").Create(ctx, account, request); err != nil {
		t.Fatal(err)
	}
	return request.Status.Token
}

// askWith sends a token request with an assertion.
func askWith(t testing.TB, issuer *suite.Issuer, assertion string, form ...string) answer {
	t.Helper()
	values := url.Values{
		"grant_type": {"client_credentials"}, "client_assertion": {assertion},
		"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"},
	}
	for i := 0; i+1 < len(form); i += 2 {
		values.Set(form[i], form[i+1])
	}
	request, err := http.NewRequest(http.MethodPost, "https://"+issuer.Address+"/machines/oauth2/token", strings.NewReader(values.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return do(t, issuer, request)
}

// awaitAnswer waits until both issuers answer the assertion so.
func awaitAnswer(t testing.TB, want, assertion string, form ...string) {
	t.Helper()
	for _, issuer := range issuers {
		suite.Eventually(t, func() string {
			if got := askWith(t, issuer, assertion, form...).verdict(); got != want {
				return fmt.Sprintf("told %q, want %q", got, want)
			}
			return ""
		})
	}
}

// byAccount lets a client authenticate by its ServiceAccount alone.
func byAccount(account string) func(*v1alpha1.M2MClient) {
	return func(c *v1alpha1.M2MClient) {
		c.Spec.Authentication = []v1alpha1.AuthenticationMethod{v1alpha1.AuthenticateByServiceAccount}
		c.Spec.ServiceAccountName = account
	}
}

// TestTokenForAServiceAccount: a workload with no secret at all gets its token from the token that its pod has.
func TestTokenForAServiceAccount(t *testing.T) {
	ensureIssuer(t)
	const api = "https://secretless.example.com"
	newAPI(t, "courses", "secretless", api, "read", "write")
	create(t, grantOf("courses", "secretless", "secretless", "jobs", "secretless", "read"))
	account, namesake := newServiceAccount(t, "jobs", "runner"), newServiceAccount(t, "strangers", "runner")
	other := newServiceAccount(t, "jobs", "other")
	c := &v1alpha1.M2MClient{ObjectMeta: metav1.ObjectMeta{Namespace: "jobs", Name: "secretless"}}
	byAccount("runner")(c)
	create(t, c)
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "jobs", Name: "runner-0"},
		Spec:       corev1.PodSpec{ServiceAccountName: "runner", Containers: []corev1.Container{{Name: "job", Image: "job"}}},
	}
	create(t, pod)

	token := tokenFor(t, account, nil, 3600, issuerURL)
	awaitAnswer(t, "granted", token, "audience", api)
	for name, good := range map[string]string{
		"bound to a pod": tokenFor(t, account, pod, 3600, issuerURL), "short": tokenFor(t, account, nil, 600, issuerURL), "again": token,
	} {
		got := askWith(t, issuers[0], good, "audience", api, "client_id", "jobs.secretless")
		if got.status != http.StatusOK || got.token(t).Scope != "read" {
			t.Errorf("%s: %d %s", name, got.status, got.body)
		}
	}
	for name, bad := range map[string]string{
		"for the API server":         tokenFor(t, account, nil, 3600),
		"for us and the API server":  tokenFor(t, account, nil, 3600, issuerURL, "https://kubernetes.default.svc"),
		"longer than an hour":        tokenFor(t, account, nil, 3601, issuerURL),
		"of a namesake":              tokenFor(t, namesake, nil, 3600, issuerURL),
		"of another account":         tokenFor(t, other, nil, 3600, issuerURL),
		"forged, with the same kid":  forge(t, token),
		"of a token that was issued": askWith(t, issuers[0], token, "audience", api).token(t).AccessToken,
	} {
		if got := askWith(t, issuers[0], bad, "audience", api); got.status != http.StatusUnauthorized || got.verdict() != "invalid_client" {
			t.Errorf("%s: %d %s", name, got.status, got.body)
		}
	}
	if got := askWith(t, issuers[0], token, "audience", api, "client_id", "jobs.publisher").verdict(); got != "invalid_request" {
		t.Errorf("with another client_id: %s", got)
	}
	if err := world.Admin.Get(ctx, client.ObjectKeyFromObject(c), &corev1.Secret{}); !apierrors.IsNotFound(err) {
		t.Errorf("there is a Secret: %v", err)
	}
	remove(t, c)
	awaitAnswer(t, "invalid_client", token, "audience", api)
}

// forge signs what a token says with another key, under the same kid.
func forge(t testing.TB, token string) string {
	t.Helper()
	parsed, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{jose.RS256, jose.ES256})
	if err != nil {
		t.Fatal(err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: key},
		(&jose.SignerOptions{}).WithHeader("kid", parsed.Signatures[0].Protected.KeyID))
	if err != nil {
		t.Fatal(err)
	}
	payload, err := base64.RawURLEncoding.DecodeString(strings.Split(token, ".")[1])
	if err != nil {
		t.Fatal(err)
	}
	signed, err := signer.Sign(payload)
	if err != nil {
		t.Fatal(err)
	}
	forged, err := signed.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return forged
}

// TestSecretIsRefusedOnceItsMethodIsTakenOut: issuers go by the spec, also while the Secret is still there.
func TestSecretIsRefusedOnceItsMethodIsTakenOut(t *testing.T) {
	ensureIssuer(t)
	const api = "https://methods.example.com"
	newAPI(t, "courses", "methods", api, "read")
	create(t, grantOf("courses", "methods", "methods", "jobs", "methods", "read"))
	account := newServiceAccount(t, "jobs", "methods-runner")
	id, secret := newCaller(t, "jobs", "methods", nil)
	awaitVerdict(t, "granted", id, secret, "audience", api)
	token := tokenFor(t, account, nil, 3600, issuerURL)
	awaitAnswer(t, "invalid_client", token, "audience", api)

	c := get(t, &v1alpha1.M2MClient{}, "jobs", "methods")
	byAccount("methods-runner")(c)
	update(t, c)
	awaitVerdict(t, "invalid_client", id, secret, "audience", api)
	awaitAnswer(t, "granted", token, "audience", api)
	suite.Eventually(t, func() string {
		if err := world.Admin.Get(ctx, client.ObjectKeyFromObject(c), &corev1.Secret{}); !apierrors.IsNotFound(err) {
			return fmt.Sprintf("the Secret is still there: %v", err)
		}
		return ""
	})
}
