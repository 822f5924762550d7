package controllers_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/internal/keyring"
	"github.com/m2m-operator/m2m-operator/internal/manifests"
	"github.com/m2m-operator/m2m-operator/internal/pki"
	"github.com/m2m-operator/m2m-operator/test/suite"
)

func readRing(t testing.TB, issuer string) keyring.Ring {
	t.Helper()
	configMap := get(t, &corev1.ConfigMap{}, installNamespace, manifests.RingName(issuer))
	ring, err := keyring.ParseRing([]byte(configMap.Data[manifests.KeyRing]))
	if err != nil {
		t.Fatal(err)
	}
	return ring
}

func TestTokenIssuerGetsPepperKeysAndCertificate(t *testing.T) {
	issuer := newIssuer(t, "complete", func(s *v1alpha1.TokenIssuerSpec) {
		s.Signing.Algorithms = []v1alpha1.SigningAlgorithm{v1alpha1.RS256, v1alpha1.ES256}
	})
	awaitReady(t, issuer)
	if issuer.Status.URL != "https://m2m-issuer-complete.m2m-system.svc" || issuer.Status.TokenEndpoint != issuer.Status.URL+"/oauth2/token" {
		t.Errorf("URL %q, token endpoint %q", issuer.Status.URL, issuer.Status.TokenEndpoint)
	}
	if len(issuer.Status.Keys) != 4 || issuer.Status.PepperID == "" || issuer.Status.CertificateExpiryTime == nil {
		t.Errorf("status %+v", issuer.Status)
	}
	for _, key := range readRing(t, "complete").Keys {
		secret := get(t, &corev1.Secret{}, installNamespace, manifests.KeyName("complete", keyring.Slot{Algorithm: key.Algorithm, Generation: key.Generation}))
		private, err := keyring.ParsePrivate(secret.Data[manifests.KeyPrivateJWK])
		if err != nil || private.KeyID != key.KID || secret.Immutable == nil || !*secret.Immutable || len(secret.OwnerReferences) != 0 {
			t.Errorf("%s: %v, immutable %v, owners %v", secret.Name, err, secret.Immutable, secret.OwnerReferences)
		}
	}
	serving := get(t, &corev1.Secret{}, installNamespace, "m2m-complete-tls")
	pair, err := tls.X509KeyPair(serving.Data[corev1.TLSCertKey], serving.Data[corev1.TLSPrivateKeyKey])
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(serving.Data[manifests.KeyAuthority])
	if _, err := pair.Leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: "m2m-issuer-complete.m2m-system.svc"}); err != nil {
		t.Error(err)
	}
}

func TestChangingTheURLBringsANewCertificateNotANewAuthority(t *testing.T) {
	issuer := newIssuer(t, "moving", nil)
	before := get(t, &corev1.Secret{}, installNamespace, "m2m-moving-tls")
	issuer.Spec.URL = "https://tokens.example.com/machines"
	suite.Save(t, admin, issuer)
	awaitReady(t, issuer)
	after := get(t, &corev1.Secret{}, installNamespace, "m2m-moving-tls")
	pair, err := tls.X509KeyPair(after.Data[corev1.TLSCertKey], after.Data[corev1.TLSPrivateKeyKey])
	if err != nil || pair.Leaf.VerifyHostname("tokens.example.com") != nil {
		t.Errorf("the certificate is not for the new host: %v", err)
	}
	if string(before.Data[manifests.KeyAuthority]) != string(after.Data[manifests.KeyAuthority]) {
		t.Error("the authority changed, and with it everything that trusts it")
	}
	if issuer.Status.JWKSURI != "https://tokens.example.com/machines/oauth2/jwks" {
		t.Error(issuer.Status.JWKSURI)
	}
}

func TestDeletedTokenIssuerLosesNothing(t *testing.T) {
	issuer := newIssuer(t, "phoenix", nil)
	pepper, kids := issuer.Status.PepperID, issuer.Status.Keys
	if err := admin.Delete(context.Background(), issuer); err != nil {
		t.Fatal(err)
	}
	again := newIssuer(t, "phoenix", nil)
	if again.Status.PepperID != pepper || len(again.Status.Keys) != len(kids) || again.Status.Keys[0].KID != kids[0].KID {
		t.Errorf("pepper %s and keys %v instead of %s and %v", again.Status.PepperID, again.Status.Keys, pepper, kids)
	}
}

func TestLostPepperIsAnAlarmAndNeverRemade(t *testing.T) {
	issuer := newIssuer(t, "forgetful", nil)
	secret := get(t, &corev1.Secret{}, installNamespace, manifests.PepperName("forgetful"))
	if err := admin.Delete(context.Background(), secret.DeepCopy()); err != nil {
		t.Fatal(err)
	}
	condition := awaitCondition(t, issuer, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonPepperLost)
	awaitCondition(t, issuer, v1alpha1.ConditionStalled, metav1.ConditionTrue, v1alpha1.ReasonPepperLost)
	if !strings.Contains(condition.Message, "Restore it from a backup") {
		t.Errorf("the message does not help: %s", condition.Message)
	}
	if err := admin.Get(context.Background(), client.ObjectKeyFromObject(secret), &corev1.Secret{}); err == nil {
		t.Error("the pepper was made anew")
	}
	secret.ResourceVersion = ""
	create(t, secret)
	awaitReady(t, issuer)
}

func TestLostSigningKeyIsReplacedAndStaysPublished(t *testing.T) {
	issuer := newIssuer(t, "butterfingers", nil)
	before := readRing(t, "butterfingers")
	active := before.Keys[0]
	secret := get(t, &corev1.Secret{}, installNamespace, manifests.KeyName("butterfingers", keyring.Slot{Algorithm: active.Algorithm, Generation: active.Generation}))
	if err := admin.Delete(context.Background(), secret); err != nil {
		t.Fatal(err)
	}
	suite.Eventually(t, func() string {
		ring := readRing(t, "butterfingers")
		if len(ring.Keys) != 3 || !ring.Has(active.KID) || ring.Keys[1].KID != before.Keys[1].KID || ring.Keys[1].State != v1alpha1.KeyActive || ring.Keys[2].State != v1alpha1.KeyAnnounced {
			text, _ := json.Marshal(ring)
			return "ring " + string(text)
		}
		return ""
	})
	awaitReady(t, issuer)
	awaitEvent(t, "TokenIssuer", "butterfingers", v1alpha1.ReasonSigningKeyLost)
}

func TestBrokenKeyRingIsReported(t *testing.T) {
	issuer := newIssuer(t, "garbled", nil)
	configMap := get(t, &corev1.ConfigMap{}, installNamespace, manifests.RingName("garbled"))
	good := configMap.Data[manifests.KeyRing]
	configMap.Data[manifests.KeyRing] = "{"
	suite.Save(t, admin, configMap)
	awaitCondition(t, issuer, v1alpha1.ConditionProgrammed, metav1.ConditionFalse, v1alpha1.ReasonKeyInvalid)
	if got := get(t, &corev1.ConfigMap{}, installNamespace, manifests.RingName("garbled")).Data[manifests.KeyRing]; got != "{" {
		t.Error("somebody's ring was overwritten")
	}
	configMap.Data[manifests.KeyRing] = good
	suite.Save(t, admin, configMap)
	awaitReady(t, issuer)
}

func TestOwnCertificate(t *testing.T) {
	issuer := &v1alpha1.TokenIssuer{ObjectMeta: metav1.ObjectMeta{Name: "own-certificate"}}
	issuer.Spec.TLS = &v1alpha1.TokenIssuerTLS{SecretName: "bought"}
	create(t, issuer)
	awaitCondition(t, issuer, v1alpha1.ConditionResolvedRefs, metav1.ConditionFalse, v1alpha1.ReasonTLSSecretNotFound)
	awaitCondition(t, issuer, v1alpha1.ConditionStalled, metav1.ConditionFalse, v1alpha1.ReasonProgressing)

	authority, err := pki.NewAuthority("test", issuer.CreationTimestamp.Time)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := pki.NewServing(authority, []string{"tokens.example.com"}, issuer.CreationTimestamp.Time)
	if err != nil {
		t.Fatal(err)
	}
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: installNamespace, Name: "bought"}, Type: corev1.SecretTypeTLS,
		Data: map[string][]byte{corev1.TLSCertKey: pair.Certificate, corev1.TLSPrivateKeyKey: []byte("not a key")},
	}
	create(t, secret)
	awaitCondition(t, issuer, v1alpha1.ConditionResolvedRefs, metav1.ConditionFalse, v1alpha1.ReasonTLSSecretInvalid)
	awaitCondition(t, issuer, v1alpha1.ConditionStalled, metav1.ConditionTrue, v1alpha1.ReasonTLSSecretInvalid)

	secret.Data[corev1.TLSPrivateKeyKey] = pair.Key
	secret.Data[manifests.KeyAuthority] = authority.Certificate
	suite.Save(t, admin, secret)
	awaitReady(t, issuer)
	if len(get(t, &corev1.Secret{}, installNamespace, "bought").Labels) != 0 {
		t.Error("the operator wrote on somebody else's Secret")
	}
	namespace := newNamespace(t)
	c := newClient(t, namespace, "publisher", "own-certificate", nil)
	awaitReady(t, c)
	if got := get(t, &corev1.Secret{}, namespace, "publisher").Data[manifests.KeyAuthority]; string(got) != string(authority.Certificate) {
		t.Error("ca.crt is not that of the named Secret")
	}
}
