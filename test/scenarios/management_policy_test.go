package scenarios

import (
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/test/assertion"
	"github.com/m2m-operator/m2m-operator/test/suite"
)

// wantPolicy: without credentials:read a token makes no client that has a credential. Whoever has no scopes is not asked.
func wantPolicy(t *testing.T, portal workload) {
	t.Helper()
	writing := apiWith(t, portal.ask(kubernetesAPI, "m2mclients:read m2mclients:write").AccessToken)
	awaitPolicy(t, writing)
	all := apiWith(t, portal.ask(kubernetesAPI, "").AccessToken)

	keyed := keyOnly(newClient("partners", "keyed", nil))
	wantAllowed(t, "a client with a key of its own", writing.Create(ctx, keyed))
	secret := newClient("partners", "secret", nil)
	wantRefusedByPolicy(t, "a client with a secret", writing.Create(ctx, secret.DeepCopy()))
	wantAllowed(t, "the same with credentials:read", all.Create(ctx, secret))
	byAdmin := newClient("partners", "by-admin", nil)
	wantAllowed(t, "an administrator's", administrator(t).Create(ctx, byAdmin))

	secretToo := client.RawPatch("application/merge-patch+json", []byte(`{"spec":{"authentication":["ClientSecret","PrivateKeyJWT"]}}`))
	wantRefusedByPolicy(t, "a secret for one that has none", writing.Patch(ctx, keyed, secretToo))
	suspend := client.RawPatch("application/merge-patch+json", []byte(`{"spec":{"suspend":true}}`))
	wantAllowed(t, "suspending one with a secret", writing.Patch(ctx, secret, suspend))
	for _, object := range []client.Object{keyed, secret, byAdmin} {
		wantAllowed(t, "delete "+object.GetName(), writing.Delete(ctx, object))
	}
}

// awaitPolicy waits until kube-apiserver has taken note of the policy and its binding.
func awaitPolicy(t *testing.T, api client.Client) {
	t.Helper()
	suite.Eventually(t, func() string {
		if err := api.Create(ctx, newClient("partners", "probe", nil), client.DryRunAll); err == nil {
			return "a client with a secret is taken without credentials:read"
		}
		return ""
	})
}

// administrator has no extra at all. That of the tests' own has the fingerprint of its certificate there.
func administrator(t *testing.T) client.Client {
	t.Helper()
	config := rest.CopyConfig(world.Plane.Admin())
	config.Impersonate = rest.ImpersonationConfig{UserName: "admin@example.com", Groups: []string{"system:masters"}}
	api, err := client.New(config, client.Options{Scheme: world.Admin.Scheme(), Mapper: world.Admin.RESTMapper()})
	if err != nil {
		t.Fatal(err)
	}
	return api
}

// keyOnly has a client prove who it is by a key of its own.
func keyOnly(c *v1alpha1.M2MClient) *v1alpha1.M2MClient {
	c.Spec.Authentication = []v1alpha1.AuthenticationMethod{v1alpha1.AuthenticateByKey}
	c.Spec.JWKS = &v1alpha1.JSONWebKeySet{Keys: []v1alpha1.JSONWebKey{assertion.NewKey("ES256").JWK("own")}}
	return c
}

func wantRefusedByPolicy(t *testing.T, what string, err error) {
	t.Helper()
	if !apierrors.IsInvalid(err) || !strings.Contains(err.Error(), "without the scope credentials:read") {
		t.Errorf("%s: %v, want the policy's refusal", what, err)
	}
}

// wantSeen: the portal updates a client, and the auditor, who watches, is told.
func wantSeen(t *testing.T, portal client.Client, auditor client.WithWatch, partner *v1alpha1.M2MClient) {
	t.Helper()
	watching, err := auditor.Watch(ctx, &v1alpha1.M2MClientList{}, client.InNamespace("partners"))
	if err != nil {
		t.Errorf("watch: %v", err)
		return
	}
	defer watching.Stop()
	partner.Spec.DisplayName = "Acme"
	suite.Eventually(t, func() string {
		err := portal.Update(ctx, partner)
		if apierrors.IsConflict(err) { // the operator has written its status
			partner.ResourceVersion = get(t, &v1alpha1.M2MClient{}, partner.Namespace, partner.Name).ResourceVersion
			return err.Error()
		}
		wantAllowed(t, "update", err)
		return ""
	})
	suite.Eventually(t, func() string {
		select {
		case event := <-watching.ResultChan():
			if seen, ok := event.Object.(*v1alpha1.M2MClient); ok && seen.Name == partner.Name && seen.Spec.DisplayName == partner.Spec.DisplayName {
				return ""
			}
		default:
		}
		return "the auditor's watch has not told of the update"
	})
}

// wantReserved: under the sample's issuer nobody else claims the identifier of the Kubernetes API, nor any other one.
func wantReserved(t *testing.T, issuer *v1alpha1.TokenIssuer) {
	t.Helper()
	newNamespaces(t, "claimants")
	for name, identifier := range map[string]string{"same": kubernetesAPI, "below": kubernetesAPI + "pods", "other": "https://other.example.com/"} {
		claimed := newAPI("claimants", name, identifier, "m2mclients:write")
		claimed.Spec.IssuerRef.Name = issuer.Name
		create(t, claimed)
		awaitCondition(t, claimed, v1alpha1.ConditionAccepted, metav1.ConditionFalse, v1alpha1.ReasonIdentifierReserved)
	}
	owned := newAPI("kubernetes-api", "other", "https://another.example.com/", "m2mclients:write")
	owned.Spec.IssuerRef.Name = issuer.Name
	create(t, owned)
	awaitCondition(t, owned, v1alpha1.ConditionAccepted, metav1.ConditionFalse, v1alpha1.ReasonIdentifierReserved)
}
