package controllers_test

import (
	"context"
	"fmt"
	"maps"
	"reflect"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/internal/credential"
	"github.com/m2m-operator/m2m-operator/internal/manifests"
	"github.com/m2m-operator/m2m-operator/test/suite"
)

func awaitEvent(t testing.TB, kind, name, reason string) {
	t.Helper()
	suite.Eventually(t, func() string {
		var list eventsv1.EventList
		if err := admin.List(context.Background(), &list); err != nil {
			return err.Error()
		}
		for _, event := range list.Items {
			if event.Regarding.Kind == kind && event.Regarding.Name == name && event.Reason == reason {
				return ""
			}
		}
		return fmt.Sprintf("no event %s on %s %s", reason, kind, name)
	})
}

// accepted asks as an issuer does: with the pepper, the verifiers of the client's status, and a clock.
func accepted(t testing.TB, namespace, name, issuer, secret string, at time.Time) bool {
	t.Helper()
	data := get(t, &corev1.Secret{}, installNamespace, manifests.PepperName(issuer)).Data[manifests.KeyPepper]
	pepper, err := credential.ParsePepper(data)
	if err != nil {
		t.Fatal(err)
	}
	c := get(t, &v1alpha1.M2MClient{}, namespace, name)
	_, ok := pepper.Verify(credential.Owner{Issuer: issuer, ClientID: namespace + "." + name}, c.Status.Credentials, secret, at)
	return ok
}

func secretValue(t testing.TB, namespace, name string) string {
	t.Helper()
	return string(get(t, &corev1.Secret{}, namespace, name).Data[manifests.KeyClientSecret])
}

// awaitOtherValue waits until the Secret holds a value of ours other than those given, and returns it.
func awaitOtherValue(t testing.TB, namespace, name string, not ...string) string {
	t.Helper()
	var value string
	suite.Eventually(t, func() string {
		secret := &corev1.Secret{}
		if err := admin.Get(context.Background(), client.ObjectKey{Namespace: namespace, Name: name}, secret); err != nil {
			return err.Error()
		}
		value = string(secret.Data[manifests.KeyClientSecret])
		for _, old := range not {
			if value == old {
				return "the Secret still holds the value that should go"
			}
		}
		return ""
	})
	return value
}

func awaitAccepted(t testing.TB, namespace, name, issuer, secret string) {
	t.Helper()
	suite.Eventually(t, func() string {
		if !accepted(t, namespace, name, issuer, secret, time.Now()) {
			return "what the Secret holds is not accepted"
		}
		return ""
	})
}

func TestM2MClientGetsItsCredential(t *testing.T) {
	newIssuer(t, "credentials", nil)
	namespace := newNamespace(t)
	c := newClient(t, namespace, "publisher", "credentials", func(c *v1alpha1.M2MClient) { c.Spec.Credential.SecretName = "publisher-credentials" })
	awaitReady(t, c)
	secret := get(t, &corev1.Secret{}, namespace, "publisher-credentials")
	want := map[string]string{
		"client_id": namespace + ".publisher", "issuer": "https://m2m-issuer-credentials.m2m-system.svc",
		"token_endpoint": "https://m2m-issuer-credentials.m2m-system.svc/oauth2/token",
		"ca.crt":         string(get(t, &corev1.Secret{}, installNamespace, "m2m-credentials-ca").Data[corev1.TLSCertKey]),
	}
	for key, value := range want {
		if string(secret.Data[key]) != value {
			t.Errorf("%s is %q, want %q", key, secret.Data[key], value)
		}
	}
	if !accepted(t, namespace, "publisher", "credentials", string(secret.Data["client_secret"]), time.Now()) {
		t.Error("the secret is not accepted")
	}
	if c.Status.ClientID != namespace+".publisher" || c.Status.SecretName != "publisher-credentials" || len(c.Status.Credentials) != 1 {
		t.Errorf("status %+v", c.Status)
	}
	if len(secret.OwnerReferences) != 1 || secret.OwnerReferences[0].UID != c.UID {
		t.Errorf("owners %v", secret.OwnerReferences)
	}
	if text := fmt.Sprintf("%+v", c.Status); strings.Contains(text, string(secret.Data["client_secret"])) {
		t.Error("the secret is in the status")
	}
	awaitEvent(t, "M2MClient", "publisher", v1alpha1.ReasonCredentialCreated)
}

func TestCredentialWaitsForItsIssuer(t *testing.T) {
	namespace := newNamespace(t)
	c := newClient(t, namespace, "early", "late", nil)
	condition := awaitCondition(t, c, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonIssuerNotFound)
	if !strings.Contains(condition.Message, "late") {
		t.Errorf("the message does not say which issuer: %s", condition.Message)
	}
	awaitCondition(t, c, v1alpha1.ConditionStalled, metav1.ConditionFalse, v1alpha1.ReasonProgressing)
	newIssuer(t, "late", nil)
	awaitReady(t, c)
}

func TestMissingReferenceStallsOnlyAfterAWhile(t *testing.T) {
	namespace := newNamespace(t)
	c := newClient(t, namespace, "lonely", "nowhere", nil)
	awaitCondition(t, c, v1alpha1.ConditionStalled, metav1.ConditionFalse, v1alpha1.ReasonProgressing)
	clockAhead.Store(int64(61 * time.Second))
	defer clockAhead.Store(0)
	c.Labels = map[string]string{"look": "again"}
	suite.Save(t, admin, c)
	awaitCondition(t, c, v1alpha1.ConditionStalled, metav1.ConditionTrue, v1alpha1.ReasonIssuerNotFound)
}

func TestDeletedSecretComesBackWithANewValue(t *testing.T) {
	newIssuer(t, "healing", nil)
	namespace := newNamespace(t)
	c := newClient(t, namespace, "publisher", "healing", nil)
	awaitReady(t, c)
	values := []string{secretValue(t, namespace, "publisher")}
	for range 2 { // twice, sooner than the first overlap ends
		if err := admin.Delete(context.Background(), get(t, &corev1.Secret{}, namespace, "publisher")); err != nil {
			t.Fatal(err)
		}
		values = append(values, awaitOtherValue(t, namespace, "publisher", values...))
		awaitAccepted(t, namespace, "publisher", "healing", values[len(values)-1])
		last := values[len(values)-2]
		if !accepted(t, namespace, "publisher", "healing", last, time.Now()) || accepted(t, namespace, "publisher", "healing", last, time.Now().Add(credential.Overlap)) {
			t.Error("the value before is not accepted for the overlap and then never")
		}
		if n := len(get(t, c, namespace, "publisher").Status.Credentials); n > 3 {
			t.Errorf("%d credentials are live", n)
		}
	}
	awaitEvent(t, "M2MClient", "publisher", v1alpha1.ReasonCredentialReplaced)
}

func TestEditedSecretIsReplacedAndTheEditedValueNeverAccepted(t *testing.T) {
	newIssuer(t, "tampering", nil)
	namespace := newNamespace(t)
	awaitReady(t, newClient(t, namespace, "publisher", "tampering", nil))
	secret := get(t, &corev1.Secret{}, namespace, "publisher")
	old := string(secret.Data[manifests.KeyClientSecret])
	secret.Data[manifests.KeyClientSecret] = []byte("chosen-by-a-stranger")
	secret.Data[manifests.KeyIssuer] = []byte("https://evil.example")
	suite.Save(t, admin, secret)
	value := awaitOtherValue(t, namespace, "publisher", "chosen-by-a-stranger")
	awaitAccepted(t, namespace, "publisher", "tampering", value)
	if value == old || accepted(t, namespace, "publisher", "tampering", "chosen-by-a-stranger", time.Now()) || !accepted(t, namespace, "publisher", "tampering", old, time.Now()) {
		t.Error("it was not replaced as in a rotation")
	}
	if got := get(t, &corev1.Secret{}, namespace, "publisher").Data[manifests.KeyIssuer]; string(got) != "https://m2m-issuer-tampering.m2m-system.svc" {
		t.Errorf("issuer is %s", got)
	}
}

func TestWhatOthersAddToTheSecretStays(t *testing.T) {
	newIssuer(t, "sharing", nil)
	namespace := newNamespace(t)
	awaitReady(t, newClient(t, namespace, "publisher", "sharing", nil))
	secret := get(t, &corev1.Secret{}, namespace, "publisher")
	value := string(secret.Data[manifests.KeyClientSecret])
	secret.Data["extra"] = []byte("theirs")
	secret.Labels = map[string]string{"theirs": "yes"} // ours are gone: the cache no longer knows this Secret
	secret.OwnerReferences = nil
	suite.Save(t, admin, secret)
	suite.Eventually(t, func() string {
		secret := get(t, &corev1.Secret{}, namespace, "publisher")
		if secret.Labels[manifests.LabelManagedBy] == "" || len(secret.OwnerReferences) != 1 {
			return "our labels and owner are not back"
		}
		if secret.Labels["theirs"] != "yes" || string(secret.Data["extra"]) != "theirs" || string(secret.Data[manifests.KeyClientSecret]) != value {
			t.Fatal("what was theirs, or the value, changed")
		}
		return ""
	})
}

func TestStrangersSecretStaysByteIdentical(t *testing.T) {
	newIssuer(t, "strangers", nil)
	namespace := newNamespace(t)
	stranger := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "publisher", Labels: map[string]string{manifests.LabelManagedBy: manifests.ManagedBy}},
		Data:       map[string][]byte{manifests.KeyClientSecret: []byte("theirs")},
	}
	create(t, stranger)
	c := newClient(t, namespace, "publisher", "strangers", nil)
	condition := awaitCondition(t, c, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonSecretNotOwned)
	awaitCondition(t, c, v1alpha1.ConditionStalled, metav1.ConditionTrue, v1alpha1.ReasonSecretNotOwned)
	if !strings.Contains(condition.Message, "Rename or delete it") || strings.Contains(condition.Message, "theirs") {
		t.Errorf("message %q", condition.Message)
	}
	awaitEvent(t, "M2MClient", "publisher", v1alpha1.ReasonSecretNotOwned)
	after := get(t, &corev1.Secret{}, namespace, "publisher")
	if !reflect.DeepEqual(stranger.Data, after.Data) || stranger.ResourceVersion != after.ResourceVersion {
		t.Error("a stranger's Secret was written")
	}
	if accepted(t, namespace, "publisher", "strangers", "theirs", time.Now()) || len(c.Status.Credentials) != 0 {
		t.Error("a stranger's value is a credential")
	}
	if err := admin.Delete(context.Background(), after); err != nil {
		t.Fatal(err)
	}
	awaitReady(t, c)
}

func TestCopiedSecretOfAnotherClientIsAStrangers(t *testing.T) {
	newIssuer(t, "copies", nil)
	namespace := newNamespace(t)
	awaitReady(t, newClient(t, namespace, "first", "copies", nil))
	original := get(t, &corev1.Secret{}, namespace, "first")
	create(t, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "second", Labels: original.Labels, Annotations: original.Annotations},
		Data:       original.Data,
	})
	c := newClient(t, namespace, "second", "copies", nil)
	awaitCondition(t, c, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonSecretNotOwned)
	if accepted(t, namespace, "second", "copies", string(original.Data[manifests.KeyClientSecret]), time.Now()) {
		t.Error("one client's secret is another's")
	}
}

func TestLostStatusIsRebuiltWithoutANewSecret(t *testing.T) {
	newIssuer(t, "restored", nil)
	namespace := newNamespace(t)
	c := newClient(t, namespace, "publisher", "restored", nil)
	awaitReady(t, c)
	value := secretValue(t, namespace, "publisher")
	before := maps.Clone(get(t, &corev1.Secret{}, namespace, "publisher").Annotations)
	// As a backup brings it: the object anew, with another UID and no status.
	if err := admin.Delete(context.Background(), c); err != nil {
		t.Fatal(err)
	}
	again := newClient(t, namespace, "publisher", "restored", nil)
	awaitReady(t, again)
	awaitAccepted(t, namespace, "publisher", "restored", value)
	secret := get(t, &corev1.Secret{}, namespace, "publisher")
	if string(secret.Data[manifests.KeyClientSecret]) != value || !maps.Equal(before, secret.Annotations) {
		t.Error("a new secret was made")
	}
	if len(secret.OwnerReferences) != 1 || secret.OwnerReferences[0].UID != again.UID {
		t.Error("the Secret is not owned by the new object")
	}
}

func TestSuspendedClientIsAsAsked(t *testing.T) {
	newIssuer(t, "suspending", nil)
	namespace := newNamespace(t)
	c := newClient(t, namespace, "publisher", "suspending", func(c *v1alpha1.M2MClient) { c.Spec.Suspend = true })
	awaitCondition(t, c, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonSuspended)
}

func TestEditedIDAnnotationIsHealedWithoutANewSecret(t *testing.T) {
	newIssuer(t, "annotated", nil)
	namespace := newNamespace(t)
	awaitReady(t, newClient(t, namespace, "publisher", "annotated", nil))
	secret := get(t, &corev1.Secret{}, namespace, "publisher")
	value, id := string(secret.Data[manifests.KeyClientSecret]), secret.Annotations[credential.AnnotationID]
	secret.Annotations[credential.AnnotationID] = "other"
	suite.Save(t, admin, secret)
	suite.Eventually(t, func() string {
		if got := get(t, secret, namespace, "publisher").Annotations[credential.AnnotationID]; got != id {
			return "the annotation is " + got
		}
		return ""
	})
	if secretValue(t, namespace, "publisher") != value {
		t.Error("a valid secret was replaced")
	}
}

func TestTwoClientsOfOneSecretAreTold(t *testing.T) {
	newIssuer(t, "shared", nil)
	namespace := newNamespace(t)
	awaitReady(t, newClient(t, namespace, "first", "shared", nil))
	second := newClient(t, namespace, "second", "shared", func(c *v1alpha1.M2MClient) { c.Spec.Credential.SecretName = "first" })
	condition := awaitCondition(t, second, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonSecretNotOwned)
	if !strings.Contains(condition.Message, "credential of M2MClient first") || strings.Contains(condition.Message, "delete it") {
		t.Errorf("message %q", condition.Message)
	}
}

func TestListedAccessIsBounded(t *testing.T) {
	newIssuer(t, "bounded", nil)
	apis, clients := newNamespace(t), newNamespace(t)
	c := newClient(t, clients, "greedy", "bounded", nil)
	var scopes []string
	for i := range 70 {
		scopes = append(scopes, fmt.Sprintf("scope-%02d", i))
	}
	for i := range 34 {
		name := fmt.Sprintf("api-%02d", i)
		newAPI(t, apis, name, "bounded", "https://"+name+".bounded.example.com", scopes...)
		newGrant(t, apis, name, name, named(clients, "greedy"), nil, scopes...)
	}
	suite.Eventually(t, func() string {
		get(t, c, clients, "greedy")
		if c.Status.AccessCount != 34 || len(c.Status.Access) != 32 {
			return fmt.Sprintf("%d of %d APIs are listed, want 32 of 34", len(c.Status.Access), c.Status.AccessCount)
		}
		return ""
	})
	if first := c.Status.Access[0]; len(first.Scopes) != 64 || first.ScopeCount != 70 {
		t.Errorf("%d of %d scopes are listed, want 64 of 70", len(first.Scopes), first.ScopeCount)
	}
}
