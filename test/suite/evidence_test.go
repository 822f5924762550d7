package suite

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/test/canary"
)

// TestTakeDown: what is secret in a Secret is found wherever it is written down, but for the place where it belongs.
func TestTakeDown(t *testing.T) {
	const tlsKey = "-----BEGIN PRIVATE KEY-----\nMIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg\nthe-second-line-of-the-key\n-----END PRIVATE KEY-----\n"
	secrets := map[string]string{
		"client_secret": "the-secret-of-a-client", "pepper": "the-pepper-of-an-issuer",
		"private.jwk": `{"kty":"EC","d":"the-private-half-of-a-key"}`, "tls.key": tlsKey,
	}
	data := map[string][]byte{}
	for name, value := range secrets {
		data[name] = []byte(value)
	}
	condition := func(message string) []metav1.Condition { return []metav1.Condition{{Type: "Ready", Message: message}} }
	annotation := func(value string) metav1.ObjectMeta {
		return metav1.ObjectMeta{Name: "x", Annotations: map[string]string{"x": value}}
	}
	for name, test := range map[string]struct {
		object client.Object
		leaks  int
	}{
		"harmless":              {&corev1.ConfigMap{ObjectMeta: annotation("a harmless text")}, 0},
		"a spec":                {&v1alpha1.M2MClient{Spec: v1alpha1.M2MClientSpec{DefaultAudience: secrets["client_secret"]}}, 0},
		"condition":             {&v1alpha1.M2MClient{Status: v1alpha1.M2MClientStatus{Conditions: condition("it is " + secrets["client_secret"])}}, 1},
		"event":                 {&eventsv1.Event{Note: "it is " + secrets["pepper"]}, 1},
		"annotation":            {&v1alpha1.ApiResource{ObjectMeta: annotation("the-private-half-of-a-key")}, 1},
		"ConfigMap":             {&corev1.ConfigMap{Data: map[string]string{"x": tlsKey}}, 1},
		"a Secret's annotation": {&corev1.Secret{ObjectMeta: annotation(secrets["client_secret"])}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			run := canary.NewRun()
			takeDown(run, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "secret"}, Data: data})
			takeDown(run, test.object)
			if leaks := run.Leaks(); len(leaks) != test.leaks {
				t.Errorf("found %q", leaks)
			}
		})
	}
}
