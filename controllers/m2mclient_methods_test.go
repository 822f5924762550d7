package controllers_test

import (
	"context"
	"reflect"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/internal/manifests"
	"github.com/m2m-operator/m2m-operator/test/suite"
)

// byAccount lets a client authenticate by the ServiceAccount, and by nothing else unless more is named.
func byAccount(account string, more ...v1alpha1.AuthenticationMethod) func(*v1alpha1.M2MClient) {
	return func(c *v1alpha1.M2MClient) {
		c.Spec.Authentication = append([]v1alpha1.AuthenticationMethod{v1alpha1.AuthenticateByServiceAccount}, more...)
		c.Spec.ServiceAccountName = account
	}
}

func missing(t testing.TB, object client.Object, namespace, name string) bool {
	t.Helper()
	err := admin.Get(context.Background(), client.ObjectKey{Namespace: namespace, Name: name}, object)
	if err != nil && !apierrors.IsNotFound(err) {
		t.Fatal(err)
	}
	return err != nil
}

func TestClientWithoutSecretGetsAConfigMap(t *testing.T) {
	newIssuer(t, "secretless", nil)
	namespace := newNamespace(t)
	c := newClient(t, namespace, "publisher", "secretless", byAccount("runner"))
	awaitReady(t, c)
	want := map[string]string{
		"client_id": namespace + ".publisher", "issuer": "https://m2m-issuer-secretless.m2m-system.svc",
		"token_endpoint": "https://m2m-issuer-secretless.m2m-system.svc/oauth2/token",
		"ca.crt":         string(get(t, &corev1.Secret{}, installNamespace, "m2m-secretless-ca").Data[corev1.TLSCertKey]),
	}
	configMap := get(t, &corev1.ConfigMap{}, namespace, "publisher-endpoint")
	if !reflect.DeepEqual(configMap.Data, want) {
		t.Errorf("data %v, want %v", configMap.Data, want)
	}
	if len(configMap.OwnerReferences) != 1 || configMap.OwnerReferences[0].UID != c.UID {
		t.Errorf("owners %v", configMap.OwnerReferences)
	}
	if c.Status.ConfigMapName != "publisher-endpoint" || c.Status.SecretName != "" || len(c.Status.Credentials) != 0 || c.Status.ClientID == "" {
		t.Errorf("status %+v", c.Status)
	}
	if !missing(t, &corev1.Secret{}, namespace, "publisher") {
		t.Error("there is a Secret")
	}

	configMap.Data["issuer"] = "https://evil.example.com"
	suite.Save(t, admin, configMap)
	suite.Eventually(t, func() string {
		if got := get(t, &corev1.ConfigMap{}, namespace, "publisher-endpoint").Data; !reflect.DeepEqual(got, want) {
			return "what somebody edited is not healed"
		}
		return ""
	})
	if err := admin.Delete(context.Background(), configMap); err != nil {
		t.Fatal(err)
	}
	suite.Eventually(t, func() string {
		if missing(t, &corev1.ConfigMap{}, namespace, "publisher-endpoint") {
			return "what somebody deleted is not back"
		}
		return ""
	})
}

func TestStrangersEndpointConfigMapIsLeftAlone(t *testing.T) {
	newIssuer(t, "taken-endpoint", nil)
	namespace := newNamespace(t)
	stranger := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "publisher-endpoint"}, Data: map[string]string{"issuer": "theirs"}}
	create(t, stranger)
	c := newClient(t, namespace, "publisher", "taken-endpoint", byAccount("runner", v1alpha1.AuthenticateBySecret))
	awaitCondition(t, c, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonConfigMapNotOwned)
	awaitCondition(t, c, v1alpha1.ConditionStalled, metav1.ConditionTrue, v1alpha1.ReasonConfigMapNotOwned)
	if after := get(t, &corev1.ConfigMap{}, namespace, "publisher-endpoint"); after.ResourceVersion != stranger.ResourceVersion {
		t.Error("a stranger's ConfigMap was written")
	}
	if c.Status.ConfigMapName != "" {
		t.Errorf("status %+v", c.Status)
	}
	awaitAccepted(t, namespace, "publisher", "taken-endpoint", secretValue(t, namespace, "publisher")) // the Secret does not wait for it
	if err := admin.Delete(context.Background(), stranger); err != nil {
		t.Fatal(err)
	}
	awaitReady(t, c)
}

// TestSecretGoesWithItsMethodAndComesBackAsAnother: the value that was taken out is never accepted again.
func TestSecretGoesWithItsMethodAndComesBackAsAnother(t *testing.T) {
	newIssuer(t, "changing-methods", nil)
	namespace := newNamespace(t)
	c := newClient(t, namespace, "publisher", "changing-methods", nil)
	awaitReady(t, c)
	old := secretValue(t, namespace, "publisher")
	if c.Status.ConfigMapName != "" || !missing(t, &corev1.ConfigMap{}, namespace, "publisher-endpoint") {
		t.Error("there is a ConfigMap beside the Secret")
	}

	byAccount("runner")(c)
	suite.Save(t, admin, c)
	awaitReady(t, c)
	if !missing(t, &corev1.Secret{}, namespace, "publisher") || len(c.Status.Credentials) != 0 || c.Status.SecretName != "" {
		t.Errorf("the Secret is still there, or in the status: %+v", c.Status)
	}
	if accepted(t, namespace, "publisher", "changing-methods", old, time.Now()) {
		t.Error("the old value is accepted")
	}
	awaitEvent(t, "M2MClient", "publisher", v1alpha1.ReasonCredentialRemoved)

	c.Spec.Authentication = append(c.Spec.Authentication, v1alpha1.AuthenticateBySecret)
	suite.Save(t, admin, c)
	awaitReady(t, c)
	value := secretValue(t, namespace, "publisher")
	if value == old || !accepted(t, namespace, "publisher", "changing-methods", value, time.Now()) || accepted(t, namespace, "publisher", "changing-methods", old, time.Now()) {
		t.Error("it did not come back with a value of its own")
	}
	if len(c.Status.Credentials) != 1 || c.Status.SecretName != "publisher" || c.Status.ConfigMapName != "publisher-endpoint" {
		t.Errorf("status %+v", c.Status)
	}
}

// TestSecretsOfOthersStayWhenTheMethodGoes: only what is ours beyond doubt is deleted.
func TestSecretsOfOthersStayWhenTheMethodGoes(t *testing.T) {
	newIssuer(t, "keeping", nil)
	for name, change := range map[string]func(*corev1.Secret){
		"without the proof": func(s *corev1.Secret) { s.Annotations = nil },
		"owned by nobody":   func(s *corev1.Secret) { s.OwnerReferences = nil },
	} {
		t.Run(name, func(t *testing.T) {
			namespace := newNamespace(t)
			c := newClient(t, namespace, "publisher", "keeping", nil)
			awaitReady(t, c)
			secret := get(t, &corev1.Secret{}, namespace, "publisher")
			byAccount("runner")(c)
			suite.Save(t, admin, c)
			awaitReady(t, c)
			again := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{
				Namespace: namespace, Name: "publisher", Labels: secret.Labels, Annotations: secret.Annotations, OwnerReferences: secret.OwnerReferences,
			}, Data: secret.Data}
			change(again)
			create(t, again)
			c.Labels = map[string]string{"look": "again"}
			c.Spec.Description = "looked at again"
			suite.Save(t, admin, c)
			awaitReady(t, c)
			if after := get(t, &corev1.Secret{}, namespace, "publisher"); after.UID != again.UID || after.ResourceVersion != again.ResourceVersion {
				t.Error("it was written")
			}
			if len(c.Status.Credentials) != 0 || accepted(t, namespace, "publisher", "keeping", string(secret.Data[manifests.KeyClientSecret]), time.Now()) {
				t.Error("what it holds is a credential")
			}
		})
	}
}

func TestRivalsForAServiceAccount(t *testing.T) {
	newIssuer(t, "rivals", nil)
	namespace := newNamespace(t)
	first := newClient(t, namespace, "a-first", "rivals", byAccount("runner"))
	awaitReady(t, first)
	second := newClient(t, namespace, "b-second", "rivals", byAccount("runner"))
	condition := awaitCondition(t, second, v1alpha1.ConditionAccepted, metav1.ConditionFalse, v1alpha1.ReasonConflicted)
	awaitCondition(t, second, v1alpha1.ConditionStalled, metav1.ConditionTrue, v1alpha1.ReasonConflicted)
	if !strings.Contains(condition.Message, `"a-first"`) || !strings.Contains(condition.Message, "spec.serviceAccountName") {
		t.Errorf("message %q", condition.Message)
	}
	awaitEvent(t, "M2MClient", "b-second", v1alpha1.ReasonConflicted)
	awaitReady(t, first)
	first.Spec.ServiceAccountName = "other"
	suite.Save(t, admin, first)
	awaitReady(t, second)
	first.Spec.ServiceAccountName = "runner"
	suite.Save(t, admin, first)
	awaitCondition(t, second, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonConflicted)
	if err := admin.Delete(context.Background(), first); err != nil {
		t.Fatal(err)
	}
	awaitReady(t, second)
}
