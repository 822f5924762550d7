package integration

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/test/suite"
)

// TestFromYAMLToAVerifiedToken is the main job: the objects are created in the least helpful order, and an independent
// library verifies what comes out.
func TestFromYAMLToAVerifiedToken(t *testing.T) {
	create(t, grantOf("courses", "nightly", "course-api", "jobs", "publisher", "courses:read", "courses:publish"))
	newAPI(t, "courses", "course-api", audience, "courses:read", "courses:publish", "courses:write")
	ensureIssuer(t)
	id, secret := newCaller(t, "jobs", "publisher", nil)
	awaitVerdict(t, "granted", id, secret, "audience", audience)

	got := ask(t, issuers[0], id, secret, "audience", audience, "scope", "courses:publish courses:write").token(t)
	if got.Scope != "courses:publish" || got.RejectedScope != "courses:write" {
		t.Errorf("scope %q, rejected %q", got.Scope, got.RejectedScope)
	}
	keys := oidc.NewRemoteKeySet(oidc.ClientContext(ctx, httpClient(t, issuers[1].Address)), "https://"+issuers[1].Address+"/machines/oauth2/jwks")
	verifier := oidc.NewVerifier(issuerURL, keys, &oidc.Config{ClientID: audience, SupportedSigningAlgs: []string{"ES256"}})
	verified, err := verifier.Verify(ctx, got.AccessToken)
	if err != nil {
		t.Fatalf("a token of one issuer does not verify with the keys of the other: %v", err)
	}
	var claims map[string]any
	if err := verified.Claims(&claims); err != nil {
		t.Fatal(err)
	}
	if claims["client_id"] != id || claims["sub"] != id || claims["scope"] != "courses:publish" || claims["aud"] != audience {
		t.Errorf("claims %v", claims)
	}
	foreign := oidc.NewVerifier(issuerURL, keys, &oidc.Config{ClientID: "https://other.example.com", SupportedSigningAlgs: []string{"ES256"}})
	if _, err := foreign.Verify(ctx, got.AccessToken); err == nil {
		t.Error("another API accepts the token")
	}
}

func TestDiscoveryLeadsToTheKeys(t *testing.T) {
	ensureIssuer(t)
	for _, path := range []string{"/machines/.well-known/openid-configuration", "/.well-known/oauth-authorization-server/machines"} {
		request, _ := http.NewRequest(http.MethodGet, "https://"+issuers[0].Address+path, nil)
		var document map[string]any
		if err := json.Unmarshal([]byte(do(t, issuers[0], request).body), &document); err != nil {
			t.Fatal(err)
		}
		if document["issuer"] != issuerURL || document["token_endpoint"] != issuerURL+"/oauth2/token" || document["jwks_uri"] != issuerURL+"/oauth2/jwks" {
			t.Errorf("%s: %v", path, document)
		}
	}
	var jwks [2]string
	for i, issuer := range issuers {
		request, _ := http.NewRequest(http.MethodGet, "https://"+issuer.Address+"/machines/oauth2/jwks", nil)
		jwks[i] = do(t, issuer, request).body
	}
	if jwks[0] != jwks[1] || strings.Count(jwks[0], `"kid"`) != 4 {
		t.Errorf("the key sets differ, or are not four keys:\n%s\n%s", jwks[0], jwks[1])
	}
}

func TestCredentialsOfOthersAndOfTheDead(t *testing.T) {
	ensureIssuer(t)
	newAPI(t, "courses", "library", "https://library.example.com", "read")
	first, firstSecret := newCaller(t, "jobs", "first", nil)
	second, secondSecret := newCaller(t, "strangers", "first", nil) // the same name elsewhere
	create(t, grantOf("courses", "library", "library", "jobs", "first", "read"))
	awaitVerdict(t, "granted", first, firstSecret, "audience", "https://library.example.com")
	awaitVerdict(t, "invalid_target", second, secondSecret, "audience", "https://library.example.com")
	awaitVerdict(t, "invalid_client", first, secondSecret, "audience", "https://library.example.com")
	awaitVerdict(t, "invalid_client", second, firstSecret, "audience", "https://library.example.com")

	remove(t, &v1alpha1.M2MClient{ObjectMeta: metav1.ObjectMeta{Namespace: "jobs", Name: "first"}})
	awaitVerdict(t, "invalid_client", first, firstSecret, "audience", "https://library.example.com")
}

func TestEditedSecretIsNeverAccepted(t *testing.T) {
	ensureIssuer(t)
	newAPI(t, "courses", "edits", "https://edits.example.com", "read")
	create(t, grantOf("courses", "edits", "edits", "jobs", "edited", "read"))
	id, old := newCaller(t, "jobs", "edited", nil)
	awaitVerdict(t, "granted", id, old, "audience", "https://edits.example.com")
	secret := get(t, &corev1.Secret{}, "jobs", "edited")
	const chosen = "chosen-by-a-stranger"
	secret.Data["client_secret"] = []byte(chosen)
	update(t, secret)
	suite.Eventually(t, func() string {
		for _, issuer := range issuers {
			if ask(t, issuer, id, chosen, "audience", "https://edits.example.com").status == http.StatusOK {
				t.Fatal("the edited value got a token")
			}
		}
		if string(get(t, &corev1.Secret{}, "jobs", "edited").Data["client_secret"]) == chosen {
			return "the edited value is not replaced"
		}
		return ""
	})
	now := string(get(t, &corev1.Secret{}, "jobs", "edited").Data["client_secret"])
	awaitVerdict(t, "granted", id, now, "audience", "https://edits.example.com")
	awaitVerdict(t, "granted", id, old, "audience", "https://edits.example.com")
	awaitVerdict(t, "invalid_client", id, chosen, "audience", "https://edits.example.com")
}

// TestTheSecretIsAcceptedTheMomentItIsThere: its verifier is written first.
func TestTheSecretIsAcceptedTheMomentItIsThere(t *testing.T) {
	ensureIssuer(t)
	newAPI(t, "courses", "moments", "https://moments.example.com", "read")
	for _, name := range []string{"moment-a", "moment-b", "moment-c"} {
		create(t, grantOf("courses", name, "moments", "jobs", name, "read"))
		id, secret := newCaller(t, "jobs", name, nil)
		awaitVerdict(t, "granted", id, secret, "audience", "https://moments.example.com")
	}
}

func TestRS256WhereTheAPIAsksForIt(t *testing.T) {
	ensureIssuer(t)
	api := newAPI(t, "courses", "classic", "https://classic.example.com", "read")
	api.Spec.Token.SigningAlgorithm = v1alpha1.RS256
	api.Spec.Token.Lifetime = &metav1.Duration{Duration: 15 * time.Minute}
	update(t, api)
	create(t, grantOf("courses", "classic", "classic", "jobs", "classic", "read"))
	id, secret := newCaller(t, "jobs", "classic", func(c *v1alpha1.M2MClient) {
		c.Spec.DefaultAudience = "https://classic.example.com"
		c.Spec.TokenLifetime = &metav1.Duration{Duration: 10 * time.Minute}
	})
	awaitVerdict(t, "granted", id, secret)
	answer := ask(t, issuers[0], id, secret)
	keys := oidc.NewRemoteKeySet(oidc.ClientContext(context.Background(), httpClient(t, issuers[0].Address)), "https://"+issuers[0].Address+"/oauth2/jwks")
	verifier := oidc.NewVerifier(issuerURL, keys, &oidc.Config{ClientID: "https://classic.example.com", SupportedSigningAlgs: []string{"RS256"}})
	token, err := verifier.Verify(ctx, answer.token(t).AccessToken)
	if err != nil {
		t.Fatal(err)
	}
	if life := token.Expiry.Sub(token.IssuedAt); life != 10*time.Minute {
		t.Errorf("the token lives for %s", life)
	}
}

// TestCertificateIsTakenUpWithoutARestart deletes the serving certificate, which the manager makes anew.
func TestCertificateIsTakenUpWithoutARestart(t *testing.T) {
	ensureIssuer(t)
	serial := func() string {
		fresh := &http.Client{Transport: &http.Transport{TLSClientConfig: httpClientTLS(t), DisableKeepAlives: true}}
		response, err := fresh.Get("https://" + issuers[0].Address + "/livez")
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		return response.TLS.PeerCertificates[0].SerialNumber.String()
	}
	before := serial()
	remove(t, get(t, &corev1.Secret{}, suite.InstallNamespace, "m2m-default-tls"))
	suite.Eventually(t, func() string {
		if serial() == before {
			return "the old certificate is still served"
		}
		return ""
	})
}
