package controllers_test

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/internal/keyring"
	"github.com/m2m-operator/m2m-operator/internal/manifests"
	"github.com/m2m-operator/m2m-operator/internal/pki"
	"github.com/m2m-operator/m2m-operator/test/suite"
)

// TestRefusedSecretIsReportedAndNotTriedWithEverNewCredentials: each announced credential is an event for every issuer.
func TestRefusedSecretIsReportedAndNotTriedWithEverNewCredentials(t *testing.T) {
	newIssuer(t, "quotas", nil)
	namespace := newNamespace(t)
	quota := &corev1.ResourceQuota{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "none"}}
	quota.Spec.Hard = corev1.ResourceList{"count/secrets": resource.MustParse("0")}
	create(t, quota)
	quota.Status = corev1.ResourceQuotaStatus{Hard: quota.Spec.Hard, Used: corev1.ResourceList{"count/secrets": resource.MustParse("0")}}
	if err := admin.Status().Update(context.Background(), quota); err != nil {
		t.Fatal(err)
	}
	c := newClient(t, namespace, "publisher", "quotas", nil)
	awaitCondition(t, c, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonSecretRefused)
	awaitCondition(t, c, v1alpha1.ConditionStalled, metav1.ConditionTrue, v1alpha1.ReasonSecretRefused)
	awaitEvent(t, "M2MClient", "publisher", v1alpha1.ReasonSecretRefused)
	pending := c.Status.Credentials[0].ID
	for _, description := range []string{"one", "two", "three"} {
		c.Spec.Description = description
		suite.Save(t, admin, c)
		awaitCondition(t, c, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonSecretRefused)
	}
	if len(c.Status.Credentials) != 1 || c.Status.Credentials[0].ID != pending {
		t.Errorf("another credential was announced: %v", c.Status.Credentials)
	}
	if err := admin.Delete(context.Background(), quota); err != nil {
		t.Fatal(err)
	}
	awaitReady(t, c)
	awaitAccepted(t, namespace, "publisher", "quotas", secretValue(t, namespace, "publisher"))
}

func TestSwappedPepperIsAnAlarmAndDestroysNothing(t *testing.T) {
	issuer := newIssuer(t, "swapped", nil)
	namespace := newNamespace(t)
	c := newClient(t, namespace, "publisher", "swapped", nil)
	awaitReady(t, c)
	value := secretValue(t, namespace, "publisher")
	pepper := get(t, &corev1.Secret{}, installNamespace, manifests.PepperName("swapped"))
	right := pepper.Data[manifests.KeyPepper]
	pepper.Data[manifests.KeyPepper] = bytes.Repeat([]byte("x"), 32)
	suite.Save(t, admin, pepper)
	awaitCondition(t, issuer, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonPepperLost)
	awaitCondition(t, c, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonPepperLost)
	pepper.Data[manifests.KeyPepper] = right
	suite.Save(t, admin, pepper)
	awaitReady(t, c)
	awaitReady(t, issuer)
	if secretValue(t, namespace, "publisher") != value {
		t.Error("the credential changed")
	}
	awaitAccepted(t, namespace, "publisher", "swapped", value)
}

// TestRestoreWithoutThePepperIsAnAlarm: objects and tenants' Secrets came back, status and pepper did not, or not yet.
func TestRestoreWithoutThePepperIsAnAlarm(t *testing.T) {
	ctx := context.Background()
	issuer := newIssuer(t, "velero", nil)
	namespace := newNamespace(t)
	c := newClient(t, namespace, "publisher", "velero", nil)
	awaitReady(t, c)
	value := secretValue(t, namespace, "publisher")
	pepper := get(t, &corev1.Secret{}, installNamespace, manifests.PepperName("velero"))
	if err := admin.Delete(ctx, c); err != nil {
		t.Fatal(err)
	}
	if err := admin.Delete(ctx, issuer); err != nil {
		t.Fatal(err)
	}
	if err := admin.Delete(ctx, pepper.DeepCopy()); err != nil {
		t.Fatal(err)
	}
	c = newClient(t, namespace, "publisher", "velero", nil)
	awaitCondition(t, c, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonIssuerNotFound)
	issuer = &v1alpha1.TokenIssuer{ObjectMeta: metav1.ObjectMeta{Name: "velero"}}
	create(t, issuer)
	awaitCondition(t, issuer, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonPepperLost)
	condition := awaitCondition(t, c, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonSecretNotOwned)
	if !strings.Contains(condition.Message, pepper.Name) {
		t.Errorf("the message does not say what to restore: %s", condition.Message)
	}
	// By hand, without labels, as the message says.
	create(t, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: installNamespace, Name: pepper.Name}, Data: pepper.Data})
	awaitReady(t, issuer)
	awaitReady(t, c)
	if secretValue(t, namespace, "publisher") != value {
		t.Error("the credential changed")
	}
	awaitAccepted(t, namespace, "publisher", "velero", value)
	if get(t, &corev1.Secret{}, installNamespace, pepper.Name).Labels[manifests.LabelIssuer] != "velero" {
		t.Error("the pepper got no labels")
	}
}

// TestRestoreBesideANewPepperIsNoCredential: the TokenIssuer was there before the backup came, and has a pepper of its own.
func TestRestoreBesideANewPepperIsNoCredential(t *testing.T) {
	ctx := context.Background()
	issuer := newIssuer(t, "repeppered", nil)
	namespace := newNamespace(t)
	c := newClient(t, namespace, "publisher", "repeppered", nil)
	awaitReady(t, c)
	secret := get(t, &corev1.Secret{}, namespace, "publisher")
	pepper := get(t, &corev1.Secret{}, installNamespace, manifests.PepperName("repeppered"))
	for _, object := range []client.Object{c, issuer, pepper.DeepCopy()} {
		if err := admin.Delete(ctx, object); err != nil {
			t.Fatal(err)
		}
	}
	issuer = newIssuer(t, "repeppered", nil)
	c = newClient(t, namespace, "publisher", "repeppered", nil)
	condition := awaitCondition(t, c, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonSecretNotOwned)
	if !strings.Contains(condition.Message, pepper.Name) {
		t.Errorf("the message does not say what to restore: %s", condition.Message)
	}
	awaitEvent(t, "M2MClient", "publisher", v1alpha1.ReasonSecretNotOwned)
	if after := get(t, &corev1.Secret{}, namespace, "publisher"); after.ResourceVersion != secret.ResourceVersion {
		t.Error("the Secret was written")
	}
	other := get(t, &corev1.Secret{}, installNamespace, pepper.Name)
	other.Data = pepper.Data
	suite.Save(t, admin, other)
	awaitReady(t, c)
	awaitReady(t, issuer)
	if value := secretValue(t, namespace, "publisher"); value != string(secret.Data[manifests.KeyClientSecret]) {
		t.Error("the credential changed")
	}
	awaitAccepted(t, namespace, "publisher", "repeppered", string(secret.Data[manifests.KeyClientSecret]))
}

func TestStrippedLabelsComeBack(t *testing.T) {
	newIssuer(t, "stripped", nil)
	namespace := newNamespace(t)
	awaitReady(t, newAPI(t, namespace, "api", "stripped", "https://stripped.example.com"))
	for _, name := range []string{
		manifests.PepperName("stripped"), manifests.AuthorityName("stripped"), "m2m-stripped-tls",
		manifests.KeyName("stripped", keyring.Slot{Algorithm: v1alpha1.ES256, Generation: 1}),
	} {
		secret := get(t, &corev1.Secret{}, installNamespace, name)
		seal := secret.Annotations[manifests.AnnotationKeySeal]
		secret.Labels, secret.Annotations = nil, nil
		suite.Save(t, admin, secret)
		suite.Eventually(t, func() string {
			get(t, secret, installNamespace, name)
			if secret.Labels[manifests.LabelIssuer] != "stripped" || secret.Annotations[manifests.AnnotationKeySeal] != seal {
				return name + " has no labels, or no seal"
			}
			return ""
		})
	}
	configMap := get(t, &corev1.ConfigMap{}, namespace, "api-verifier")
	configMap.Labels = nil
	suite.Save(t, admin, configMap)
	suite.Eventually(t, func() string {
		if get(t, configMap, namespace, "api-verifier").Labels[manifests.LabelApiResource] != "api" {
			return "the verifier ConfigMap has no labels"
		}
		return ""
	})
}

func TestLostKeyRingIsMadeAnewFromTheKeys(t *testing.T) {
	newIssuer(t, "ringless", nil)
	lost := get(t, &corev1.Secret{}, installNamespace, manifests.KeyName("ringless", keyring.Slot{Algorithm: v1alpha1.ES256, Generation: 1}))
	if err := admin.Delete(context.Background(), lost); err != nil { // so that the active one is not the first
		t.Fatal(err)
	}
	suite.Eventually(t, func() string {
		if n := len(readRing(t, "ringless").Keys); n != 3 {
			return "the lost key is not replaced"
		}
		return ""
	})
	before := readRing(t, "ringless")
	configMap := get(t, &corev1.ConfigMap{}, installNamespace, manifests.RingName("ringless"))
	uid := configMap.UID
	if err := admin.Delete(context.Background(), configMap); err != nil {
		t.Fatal(err)
	}
	suite.Eventually(t, func() string {
		found := &corev1.ConfigMap{}
		if err := admin.Get(context.Background(), client.ObjectKeyFromObject(configMap), found); err != nil || found.UID == uid {
			return "the ring is not back"
		}
		return ""
	})
	after := readRing(t, "ringless")
	if len(after.Keys) != 2 || after.Keys[0].KID != before.Keys[1].KID || after.Keys[0].State != v1alpha1.KeyActive || after.Keys[1].KID != before.Keys[2].KID {
		t.Errorf("ring %+v instead of the keys that there are: %+v", after.Keys, before.Keys[1:])
	}
}

// TestLostAuthorityIsReplacedInOrder: who trusts the old one must not meet a certificate of the new one within a day.
func TestLostAuthorityIsReplacedInOrder(t *testing.T) {
	newIssuer(t, "authorities", nil)
	namespace := newNamespace(t)
	c := newClient(t, namespace, "publisher", "authorities", nil)
	awaitReady(t, c)
	before := get(t, &corev1.Secret{}, installNamespace, "m2m-authorities-tls")
	if err := admin.Delete(context.Background(), get(t, &corev1.Secret{}, installNamespace, "m2m-authorities-ca")); err != nil {
		t.Fatal(err)
	}
	bundles := func() []byte { return get(t, &corev1.Secret{}, namespace, "publisher").Data[manifests.KeyAuthority] }
	suite.Eventually(t, func() string {
		if bytes.Count(bundles(), []byte("BEGIN CERTIFICATE")) != 2 {
			return "the client is not told of both authorities"
		}
		return ""
	})
	after := get(t, &corev1.Secret{}, installNamespace, "m2m-authorities-tls")
	if !bytes.Equal(before.Data[corev1.TLSCertKey], after.Data[corev1.TLSCertKey]) || !bytes.Contains(bundles(), bytes.TrimSpace(before.Data[manifests.KeyAuthority])) {
		t.Error("the serving certificate changed at once, or the old authority is trusted no more")
	}
	after.Data[manifests.KeyAuthority] = []byte("garbage")
	suite.Save(t, admin, after)
	suite.Eventually(t, func() string {
		secret := get(t, &corev1.Secret{}, installNamespace, "m2m-authorities-tls")
		if !bytes.Contains(secret.Data[manifests.KeyAuthority], bytes.TrimSpace(before.Data[manifests.KeyAuthority])) {
			return "garbage in ca.crt is not healed"
		}
		return ""
	})
}

func TestExpiredCertificateOfOthersIsNotReady(t *testing.T) {
	past := time.Now().Add(-2 * pki.ServingLife)
	authority, err := pki.NewAuthority("test", past)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := pki.NewServing(authority, []string{"tokens.example.com"}, past)
	if err != nil {
		t.Fatal(err)
	}
	create(t, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: installNamespace, Name: "expired"}, Type: corev1.SecretTypeTLS,
		Data: map[string][]byte{corev1.TLSCertKey: pair.Certificate, corev1.TLSPrivateKeyKey: pair.Key},
	})
	issuer := &v1alpha1.TokenIssuer{ObjectMeta: metav1.ObjectMeta{Name: "expired-certificate"}}
	issuer.Spec.TLS = &v1alpha1.TokenIssuerTLS{SecretName: "expired"}
	create(t, issuer)
	awaitCondition(t, issuer, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonTLSSecretInvalid)
}
