package controllers_test

import (
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/test/assertion"
	"github.com/m2m-operator/m2m-operator/test/suite"
)

// TestUnfitKeyIsReported: the client is told which key is unfit; its secret goes on working, and a better key heals it.
func TestUnfitKeyIsReported(t *testing.T) {
	newIssuer(t, "keys", nil)
	namespace := newNamespace(t)
	good := assertion.NewKey("ES256").JWK("good")
	bad := assertion.NewKey("ES256").JWK("bad")
	bad.Y = bad.X
	c := newClient(t, namespace, "signer", "keys", func(c *v1alpha1.M2MClient) {
		c.Spec.Authentication = []v1alpha1.AuthenticationMethod{v1alpha1.AuthenticateBySecret, v1alpha1.AuthenticateByKey}
		c.Spec.JWKS = &v1alpha1.JSONWebKeySet{Keys: []v1alpha1.JSONWebKey{good, bad}}
	})
	condition := awaitCondition(t, c, v1alpha1.ConditionAccepted, metav1.ConditionFalse, v1alpha1.ReasonJWKSInvalid)
	if !strings.Contains(condition.Message, `spec.jwks.keys[1] (kid "bad")`) || strings.Contains(condition.Message, bad.X) {
		t.Errorf("the message is %s", condition.Message)
	}
	awaitCondition(t, c, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonJWKSInvalid)
	awaitCondition(t, c, v1alpha1.ConditionStalled, metav1.ConditionTrue, v1alpha1.ReasonJWKSInvalid)
	awaitCondition(t, c, v1alpha1.ConditionProgrammed, metav1.ConditionTrue, v1alpha1.ReasonProgrammed)
	awaitEvent(t, "M2MClient", "signer", v1alpha1.ReasonJWKSInvalid)
	awaitAccepted(t, namespace, "signer", "keys", secretValue(t, namespace, "signer"))
	c.Spec.JWKS.Keys = c.Spec.JWKS.Keys[:1]
	suite.Save(t, admin, c)
	awaitReady(t, c)
}
