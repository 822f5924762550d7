package controllers_test

import (
	"context"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/internal/keyring"
	"github.com/m2m-operator/m2m-operator/internal/manifests"
	"github.com/m2m-operator/m2m-operator/test/suite"
)

func keySecret(issuer string, generation int) *corev1.Secret {
	return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{
		Namespace: installNamespace,
		Name:      manifests.KeyName(issuer, keyring.Slot{Algorithm: v1alpha1.ES256, Generation: generation}),
	}}
}

func TestASecretThatIsNoKeyIsIgnoredAndReported(t *testing.T) {
	issuer := newIssuer(t, "littered", nil)
	awaitCondition(t, issuer, v1alpha1.ConditionKeysCurrent, metav1.ConditionTrue, v1alpha1.ReasonKeysCurrent)
	litter := keySecret("littered", 3)
	litter.Data = map[string][]byte{manifests.KeyPrivateJWK: []byte("{}")}
	create(t, litter)
	condition := awaitCondition(t, issuer, v1alpha1.ConditionKeysCurrent, metav1.ConditionFalse, v1alpha1.ReasonKeyInvalid)
	if !strings.Contains(condition.Message, litter.Name) {
		t.Errorf("the message does not name it: %s", condition.Message)
	}
	awaitReady(t, issuer)
	if err := admin.Delete(context.Background(), litter); err != nil {
		t.Fatal(err)
	}
	awaitCondition(t, issuer, v1alpha1.ConditionKeysCurrent, metav1.ConditionTrue, v1alpha1.ReasonKeysCurrent)
}

// TestASwappedKeyIsNotUsed: the Secret of the active key holds another good one.
func TestASwappedKeyIsNotUsed(t *testing.T) {
	newIssuer(t, "swapped-key", nil)
	before := readRing(t, "swapped-key")
	secret := get(t, &corev1.Secret{}, installNamespace, keySecret("swapped-key", 1).Name)
	if err := admin.Delete(context.Background(), secret); err != nil {
		t.Fatal(err)
	}
	other, err := keyring.Generate(v1alpha1.ES256)
	if err != nil {
		t.Fatal(err)
	}
	swapped := keySecret("swapped-key", 1)
	data, err := keyring.MarshalPrivate(other)
	if err != nil {
		t.Fatal(err)
	}
	swapped.Data = map[string][]byte{manifests.KeyPrivateJWK: data}
	create(t, swapped)
	suite.Eventually(t, func() string {
		ring := readRing(t, "swapped-key")
		if len(ring.Keys) != 3 || ring.Keys[0].KID != before.Keys[0].KID || ring.Keys[0].State != v1alpha1.KeyRetired || ring.Has(other.KeyID) {
			return "the ring is not the old one with a next key"
		}
		return ""
	})
	awaitEvent(t, "TokenIssuer", "swapped-key", v1alpha1.ReasonSigningKeyLost)
}

func TestARevokedKeyIsGoneWithItsSecret(t *testing.T) {
	issuer := newIssuer(t, "key-revoking", nil)
	before := readRing(t, "key-revoking")
	issuer.Spec.Signing.RevokedKeys = []v1alpha1.KeyID{v1alpha1.KeyID(before.Keys[0].KID)}
	suite.Save(t, admin, issuer)
	suite.Eventually(t, func() string {
		ring := readRing(t, "key-revoking")
		if len(ring.Keys) != 2 || ring.Keys[0].KID != before.Keys[1].KID || ring.Keys[0].State != v1alpha1.KeyActive || ring.Keys[1].State != v1alpha1.KeyAnnounced {
			return "the ring still has it, or the next key does not sign, or there is none after it"
		}
		err := admin.Get(context.Background(), client.ObjectKeyFromObject(keySecret("key-revoking", 1)), &corev1.Secret{})
		if !apierrors.IsNotFound(err) {
			return "its Secret is there"
		}
		return ""
	})
	awaitEvent(t, "TokenIssuer", "key-revoking", v1alpha1.ReasonSigningKeyRevoked)
}
