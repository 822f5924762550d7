package scenarios

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/internal/manifests"
	"github.com/m2m-operator/m2m-operator/internal/token"
	"github.com/m2m-operator/m2m-operator/test/suite"
)

// kubernetesAPI is the identifier of the cluster's own API, and managementURL the issuer's URL, as the sample has them.
const (
	kubernetesAPI = "https://kubernetes.example.com/"
	managementURL = "https://tokens.example.com"
)

// managementAPI: a portal outside of the cluster manages the clients of partners, with a token that kube-apiserver takes.
func managementAPI(t *testing.T) {
	issuer := serveManagement(t)
	portal, auditor := outside(t, "portal"), outside(t, "auditor")
	portal.awaitVerdict("granted", kubernetesAPI)
	auditor.awaitVerdict("granted", kubernetesAPI)
	first := portal.ask(kubernetesAPI, "")
	wantToken(t, "the portal", first, "credentials:read m2mclients:read m2mclients:write", "")
	if first.ExpiresIn != 600 {
		t.Errorf("the token lives for %d s", first.ExpiresIn)
	}
	trustIssuer(t, issuer, first.AccessToken)

	t.Run("who it is", func(t *testing.T) { wantIdentity(t, auditor.ask(kubernetesAPI, "").AccessToken) })
	t.Run("what it may", func(t *testing.T) {
		wantManaged(t, apiWith(t, first.AccessToken), apiWith(t, auditor.ask(kubernetesAPI, "").AccessToken))
	})
	t.Run("fewer scopes", func(t *testing.T) {
		reading := apiWith(t, portal.ask(kubernetesAPI, "m2mclients:read").AccessToken)
		wantAllowed(t, "list", reading.List(ctx, &v1alpha1.M2MClientList{}, client.InNamespace("partners")))
		wantForbidden(t, "create", reading.Create(ctx, newClient("partners", "nobody", nil)))
	})
	t.Run("the policy", func(t *testing.T) { wantPolicy(t, portal) })
	t.Run("who may claim what", func(t *testing.T) { wantReserved(t, issuer) })
	t.Run("other tokens", func(t *testing.T) { wantStrangers(t, issuer, portal, first.AccessToken) })
	t.Run("suspended", func(t *testing.T) {
		suspended := get(t, &v1alpha1.M2MClient{}, "kubernetes-api", "portal")
		suspended.Spec.Suspend = true
		suite.Save(t, world.Admin, suspended)
		portal.awaitVerdict("invalid_client", kubernetesAPI)
		// As its page says: the token that it has works until it expires.
		wantAllowed(t, "list", apiWith(t, first.AccessToken).List(ctx, &v1alpha1.M2MClientList{}, client.InNamespace("partners")))
	})
}

// serveManagement runs the sample's issuer, under a URL of this machine, and returns the TokenIssuer.
func serveManagement(t *testing.T) *v1alpha1.TokenIssuer {
	t.Helper()
	running, err := world.StartIssuer("management")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := running.Stop(); err != nil {
			t.Error(err)
		}
	})
	issuer := get(t, &v1alpha1.TokenIssuer{}, "", "management")
	if issuer.Spec.URL != managementURL {
		t.Fatalf("the sample's URL is %s", issuer.Spec.URL)
	}
	issuer.Spec.URL = "https://" + running.Address
	suite.Save(t, world.Admin, issuer)
	awaitReady(t, issuer)
	return issuer
}

// outside is a machine outside of the cluster that was handed a client's credential.
func outside(t *testing.T, name string) workload {
	t.Helper()
	suite.Eventually(t, func() string {
		secret := get(t, &corev1.Secret{}, "kubernetes-api", name)
		if url := string(secret.Data[manifests.KeyIssuer]); url == managementURL {
			return "the Secret of " + name + " names " + url
		}
		return ""
	})
	w := mount(t, "kubernetes-api", name)
	w.http = &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: authorityOf(t, name), MinVersion: tls.VersionTLS12},
	}}
	return w
}

func authorityOf(t *testing.T, name string) *x509.CertPool {
	t.Helper()
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(get(t, &corev1.Secret{}, "kubernetes-api", name).Data[manifests.KeyAuthority]) {
		t.Fatal("no authority")
	}
	return roots
}

// trustIssuer gives kube-apiserver the sample's configuration, with this machine's URL and the issuer's authority, and
// waits until it takes the token.
func trustIssuer(t *testing.T, issuer *v1alpha1.TokenIssuer, accessToken string) {
	t.Helper()
	text := string(read(t, filepath.Join(sampleDir(t, "management-api"), "kube-apiserver/authentication.yaml")))
	authority := string(get(t, &corev1.Secret{}, suite.InstallNamespace, "m2m-management-tls").Data["ca.crt"])
	indented := strings.ReplaceAll(strings.TrimSpace(authority), "\n", "\n        ")
	const placeholder = "-----BEGIN CERTIFICATE-----\n        -----END CERTIFICATE-----"
	if strings.Count(text, placeholder) != 1 || strings.Count(text, managementURL) != 1 {
		t.Fatalf("the authority and the URL are not where they were in\n%s", text)
	}
	text = strings.NewReplacer(placeholder, indented, managementURL, issuer.Spec.URL).Replace(text)
	part := authentication + ".part" // renamed, so that it is never read half
	if err := os.WriteFile(part, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(part, authentication); err != nil {
		t.Fatal(err)
	}
	api := apiWith(t, accessToken)
	suite.Eventually(t, func() string {
		if err := api.Create(ctx, &authenticationv1.SelfSubjectReview{}); err != nil {
			return err.Error()
		}
		return ""
	})
}

// apiWith is the Kubernetes API for whoever has a token, and nothing else.
func apiWith(t *testing.T, accessToken string) client.WithWatch {
	t.Helper()
	world.Canary.Secret("a token for the Kubernetes API", accessToken)
	admin := world.Plane.Admin()
	scheme := world.Admin.Scheme()
	if err := authenticationv1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	api, err := client.NewWithWatch(&rest.Config{
		Host: admin.Host, TLSClientConfig: rest.TLSClientConfig{CAData: admin.CAData}, BearerToken: accessToken,
	}, client.Options{Scheme: scheme, Mapper: world.Admin.RESTMapper()})
	if err != nil {
		t.Fatal(err)
	}
	return api
}

// wantIdentity: scopes are groups, and are in extra.
func wantIdentity(t *testing.T, accessToken string) {
	t.Helper()
	review := &authenticationv1.SelfSubjectReview{}
	if err := apiWith(t, accessToken).Create(ctx, review); err != nil {
		t.Fatal(err)
	}
	user := review.Status.UserInfo
	groups := []string{"m2m:m2mclients:read", "system:authenticated"}
	scopes := user.Extra["m2m-operator.io/scopes"]
	if user.Username != "m2m:kubernetes-api.auditor" || user.UID != "kubernetes-api.auditor" ||
		!slices.Equal(user.Groups, groups) || !slices.Equal(scopes, []string{"m2mclients:read"}) {
		t.Errorf("kube-apiserver takes the auditor for %+v", user)
	}
	if ids := user.Extra["authentication.kubernetes.io/credential-id"]; len(ids) != 1 || !strings.HasPrefix(ids[0], "JTI=") {
		t.Errorf("the token's jti has become %q", ids)
	}
}

// wantManaged: the verbs that RBAC allows work, and no other does.
func wantManaged(t *testing.T, portal, auditor client.WithWatch) {
	t.Helper()
	partner := newClient("partners", "acme", map[string]string{"partner": "acme"})
	wantAllowed(t, "create", portal.Create(ctx, partner))
	awaitReady(t, partner)
	secret := &corev1.Secret{}
	wantAllowed(t, "get its Secret", portal.Get(ctx, client.ObjectKey{Namespace: "partners", Name: partner.SecretName()}, secret))
	if len(secret.Data[manifests.KeyClientSecret]) == 0 {
		t.Error("the portal has no credential to hand over")
	}
	wantSeen(t, portal, auditor, partner)
	suspend := client.RawPatch("application/merge-patch+json", []byte(`{"spec":{"suspend":true}}`))
	for what, err := range map[string]error{
		"list": portal.List(ctx, &v1alpha1.M2MClientList{}, client.InNamespace("partners")), "patch": portal.Patch(ctx, partner, suspend),
		"the auditor's get":  auditor.Get(ctx, client.ObjectKeyFromObject(partner), &v1alpha1.M2MClient{}),
		"the auditor's list": auditor.List(ctx, &v1alpha1.M2MClientList{}, client.InNamespace("partners")),
	} {
		wantAllowed(t, what, err)
	}
	status := client.RawPatch("application/merge-patch+json", []byte(`{"status":{"clientID":"jobs.publisher"}}`))
	own := get(t, &v1alpha1.M2MClient{}, "kubernetes-api", "portal")
	for what, err := range map[string]error{
		"a client elsewhere":     portal.Create(ctx, newClient("kubernetes-api", "acme", nil)),
		"its own client":         portal.Patch(ctx, own, suspend),
		"an API":                 portal.Create(ctx, newAPI("partners", "acme", kubernetesAPI)),
		"a grant":                portal.Create(ctx, newGrant(newAPI("partners", "acme", kubernetesAPI), partner, "m2mclients:write")),
		"a status":               portal.Status().Patch(ctx, partner.DeepCopy(), status),
		"all Secrets":            portal.List(ctx, &corev1.SecretList{}, client.InNamespace("partners")),
		"an issuer's Secret":     portal.Get(ctx, client.ObjectKey{Namespace: suite.InstallNamespace, Name: "m2m-management-tls"}, &corev1.Secret{}),
		"all clients":            portal.List(ctx, &v1alpha1.M2MClientList{}),
		"the auditor's create":   auditor.Create(ctx, newClient("partners", "other", nil)),
		"the auditor's update":   auditor.Update(ctx, partner.DeepCopy()),
		"the auditor's patch":    auditor.Patch(ctx, partner.DeepCopy(), suspend),
		"the auditor's delete":   auditor.Delete(ctx, partner.DeepCopy()),
		"the auditor's Secret":   auditor.Get(ctx, client.ObjectKeyFromObject(secret), &corev1.Secret{}),
		"a TokenIssuer's change": portal.Patch(ctx, &v1alpha1.TokenIssuer{ObjectMeta: named("", "management")}, suspend),
	} {
		wantForbidden(t, what, err)
	}
	wantAllowed(t, "delete", portal.Delete(ctx, partner))
}

// wantStrangers: of everything that is no token of this issuer for this API, kube-apiserver knows nobody.
func wantStrangers(t *testing.T, issuer *v1alpha1.TokenIssuer, portal workload, real string) {
	t.Helper()
	const elsewhere = kubernetesAPI + "metrics"
	metrics := newAPI("kubernetes-api", "metrics", elsewhere, "m2mclients:write")
	metrics.Spec.IssuerRef.Name = issuer.Name
	grant := newGrant(metrics, &v1alpha1.M2MClient{ObjectMeta: named("kubernetes-api", "portal")}, "m2mclients:write")
	grant.Name = "portal-metrics"
	create(t, metrics, grant)
	portal.awaitVerdict("granted", elsewhere)

	// Where nobody has reserved it, the identifier is anybody's. The keys are not.
	newNamespaces(t, "impostor")
	claimed := newAPI("impostor", "kubernetes", kubernetesAPI, "m2mclients:write")
	impostor := newClient("impostor", "impostor", nil)
	create(t, claimed, impostor, newGrant(claimed, impostor, "m2mclients:write"))
	other := mount(t, "impostor", "impostor")
	other.awaitVerdict("granted", kubernetesAPI)

	key := signingKey(t, issuer.Name)
	minted := func(at time.Time, lifetime time.Duration, audience string) string {
		made, err := token.Mint(key, token.Grant{
			Issuer: issuer.Spec.URL, ClientID: portal.id, Audience: audience, Scopes: []string{"m2mclients:write"}, Lifetime: lifetime,
		}, at, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		return string(made.JWT)
	}
	list := func(accessToken string) error {
		return apiWith(t, accessToken).List(context.Background(), &v1alpha1.M2MClientList{}, client.InNamespace("partners"))
	}
	for what, accessToken := range map[string]string{
		"for another audience":          portal.ask(elsewhere, "").AccessToken,
		"of another issuer":             other.ask(kubernetesAPI, "").AccessToken,
		"expired":                       minted(time.Now().Add(-time.Hour), 10*time.Minute, kubernetesAPI),
		"of a life that is too long":    minted(time.Now(), time.Hour, kubernetesAPI),
		"changed after it was signed":   real[:len(real)-8] + "AAAAAAAA",
		"for the issuer, not the API":   minted(time.Now(), time.Minute, issuer.Spec.URL),
		"signed by no key of anybody's": strings.Join(append(strings.Split(real, ".")[:2], ""), "."),
	} {
		if err := list(accessToken); !apierrors.IsUnauthorized(err) {
			t.Errorf("a token %s: %v, want 401", what, err)
		}
	}
	wantForbidden(t, "a token like these, but good", list(minted(time.Now(), time.Minute, kubernetesAPI)))
}

// signingKey is the private key of an issuer.
func signingKey(t *testing.T, issuer string) (key jose.JSONWebKey) {
	t.Helper()
	secrets := &corev1.SecretList{}
	if err := world.Admin.List(ctx, secrets, client.InNamespace(suite.InstallNamespace), client.MatchingLabels{manifests.LabelIssuer: issuer}); err != nil {
		t.Fatal(err)
	}
	active := get(t, &v1alpha1.TokenIssuer{}, "", issuer).Status.Keys
	for _, secret := range secrets.Items {
		if json.Unmarshal(secret.Data[manifests.KeyPrivateJWK], &key) != nil {
			continue
		}
		if slices.ContainsFunc(active, func(k v1alpha1.SigningKeyStatus) bool { return k.KID == key.KeyID && k.State == v1alpha1.KeyActive }) {
			return key
		}
	}
	t.Fatalf("%s has no active key: %+v", issuer, active)
	return key
}

func wantAllowed(t *testing.T, what string, err error) {
	t.Helper()
	if err != nil {
		t.Errorf("%s: %v", what, err)
	}
}

func wantForbidden(t *testing.T, what string, err error) {
	t.Helper()
	if !apierrors.IsForbidden(err) || apierrors.ReasonForError(err) != metav1.StatusReasonForbidden {
		t.Errorf("%s: %v, want 403", what, fmt.Sprint(err))
	}
}
