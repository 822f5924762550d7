//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"testing"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/internal/manifests"
)

// testRecreation: a deleted TokenIssuer takes its workload along and nothing that others hold of it. Made anew, it knows
// the old tokens and the old secrets.
func testRecreation(t *testing.T) {
	install(t, image)
	ensureCaller(t)
	c := newCaller(t)
	token := c.token(t, c.at(doors(t)["Service"]))
	kept := material(t)
	if len(kept) < 5 { // pepper, key ring, two keys, authority
		t.Fatalf("only %d objects hold what must be kept: %v", len(kept), kept)
	}
	issuer := &v1alpha1.TokenIssuer{ObjectMeta: metav1.ObjectMeta{Name: "default"}}
	if err := kube.Get(t.Context(), client.ObjectKeyFromObject(issuer), issuer); err != nil {
		t.Fatal(err)
	}
	if err := kube.Delete(t.Context(), issuer); err != nil {
		t.Fatal(err)
	}
	took := await(t, time.Minute, "the end of the workload", workloadIsGone)
	say("the workload of a deleted TokenIssuer is gone after %.1f s", took.Seconds())
	if now := material(t); !maps.Equal(now, kept) {
		t.Errorf("the TokenIssuer is deleted, and of\n%v\nthere is\n%v", kept, now)
	}
	if err := kube.Get(t.Context(), client.ObjectKeyFromObject(issuer), issuer); !apierrors.IsNotFound(err) {
		t.Errorf("the deleted TokenIssuer is back: %v", err)
	}

	again := &v1alpha1.TokenIssuer{ObjectMeta: metav1.ObjectMeta{Name: "default"}, Spec: issuer.Spec}
	if err := kube.Create(t.Context(), again); err != nil {
		t.Fatal(err)
	}
	awaitReady(t, again)
	awaitRollout(t, issuerName, 2)
	if now := material(t); !maps.Equal(now, kept) {
		t.Errorf("the TokenIssuer is back, and of\n%v\nthere is\n%v", kept, now)
	}
	awaitService(t)
	at := c.at(doors(t)["Service"])
	if got := c.ask(t.Context(), at); got != "granted" {
		t.Errorf("with the secret of before: %s", got)
	}
	keys := oidc.NewRemoteKeySet(oidc.ClientContext(t.Context(), at), "https://"+host+"/oauth2/jwks")
	verifier := oidc.NewVerifier("https://"+host, keys, &oidc.Config{ClientID: "https://loader.example.com", SupportedSigningAlgs: []string{oidc.ES256, oidc.RS256}})
	if _, err := verifier.Verify(t.Context(), token); err != nil {
		t.Errorf("a token of before: %v", err)
	}
	if now := newCaller(t); now.secret != c.secret {
		t.Error("the client has been given another secret")
	}
}

// token of the caller.
func (c *caller) token(t *testing.T, at *http.Client) string {
	t.Helper()
	token, err := c.newToken(t.Context(), at)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func (c *caller) newToken(ctx context.Context, at *http.Client) (string, error) {
	config := clientcredentials.Config{ClientID: c.id, ClientSecret: c.secret, TokenURL: "https://" + host + "/oauth2/token", AuthStyle: oauth2.AuthStyleInHeader}
	config.EndpointParams = map[string][]string{"audience": {"https://loader.example.com"}}
	token, err := config.Token(context.WithValue(ctx, oauth2.HTTPClient, at))
	if err != nil {
		return "", err
	}
	return token.AccessToken, nil
}

// material is what the default TokenIssuer has in Secrets and ConfigMaps, by kind and name, and which object it is.
func material(t *testing.T) map[string]string {
	t.Helper()
	of := map[string]string{}
	ours := []client.ListOption{client.InNamespace(system), client.MatchingLabels{manifests.LabelIssuer: "default"}}
	var secrets corev1.SecretList
	var configMaps corev1.ConfigMapList
	for _, list := range []client.ObjectList{&secrets, &configMaps} {
		if err := kube.List(t.Context(), list, ours...); err != nil {
			t.Fatal(err)
		}
	}
	for _, s := range secrets.Items {
		of["Secret "+s.Name] = string(s.UID)
	}
	for _, c := range configMaps.Items {
		of["ConfigMap "+c.Name] = string(c.UID)
	}
	return of
}

func workloadIsGone(ctx context.Context) string {
	key := client.ObjectKey{Namespace: system, Name: issuerName}
	for _, object := range []client.Object{&appsv1.Deployment{}, &corev1.Service{}, &policyv1.PodDisruptionBudget{}} {
		if err := kube.Get(ctx, key, object); !apierrors.IsNotFound(err) {
			return fmt.Sprintf("%T is there: %v", object, err)
		}
	}
	var pods corev1.PodList
	if err := kube.List(ctx, &pods, client.InNamespace(system), client.MatchingLabels{"app.kubernetes.io/name": "m2m-issuer"}); err != nil {
		return err.Error()
	}
	if len(pods.Items) > 0 {
		return fmt.Sprintf("%d pods are there", len(pods.Items))
	}
	return ""
}
