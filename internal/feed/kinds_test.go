package feed

import (
	"encoding/json"
	"log/slog"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/internal/access"
	"github.com/m2m-operator/m2m-operator/internal/issuer"
	"github.com/m2m-operator/m2m-operator/internal/manifests"
)

func testMaterial() *material {
	return newMaterial(Options{Namespace: "m2m-system", TokenIssuer: "default", Logger: slog.New(slog.DiscardHandler)},
		issuer.NewState("default", access.NewIndex("m2m-system")))
}

// TestKindsAreHeard: what is followed is what is listened to, and the other way round.
func TestKindsAreHeard(t *testing.T) {
	followed := map[string]string{}
	for _, k := range kinds {
		followed[k.resource] = k.name
	}
	if !maps.Equal(followed, watched) {
		t.Errorf("followed are %v, listened to %v", followed, watched)
	}
}

// fill sets every text, time and number of a value, and one element of each list and map.
func fill(v reflect.Value) {
	switch {
	case v.Type() == reflect.TypeFor[metav1.Time]():
		v.Set(reflect.ValueOf(metav1.NewTime(time.Date(2026, 11, 1, 2, 3, 4, 500_000_000, time.UTC))))
	case v.Type() == reflect.TypeFor[metav1.Duration]():
		v.Set(reflect.ValueOf(metav1.Duration{Duration: 90 * time.Second}))
	case v.Kind() == reflect.Struct:
		for i := range v.NumField() {
			fill(v.Field(i))
		}
	case v.Kind() == reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem())
	case v.Kind() == reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0))
	case v.Kind() == reflect.String:
		v.SetString("filled")
	case v.Kind() == reflect.Bool:
		v.SetBool(true)
	}
}

// TestSavedObjectsAreTheSame: what comes out of a snapshot is what went in, moments within a second included, which JSON
// alone would cut off: a token could be revoked, and after a restart not be.
func TestSavedObjectsAreTheSame(t *testing.T) {
	m := testMaterial()
	for _, k := range kinds {
		o := k.object()
		if spec := reflect.ValueOf(o).Elem().FieldByName("Spec"); spec.IsValid() && k.group == v1alpha1.GroupVersion {
			fill(spec)
		}
		o.SetNamespace("jobs")
		o.SetName("x")
		o.SetResourceVersion("5")
		o.SetGeneration(3)
		o.SetCreationTimestamp(metav1.Unix(1_800_000_000, 0))
		o.SetDeletionTimestamp(&metav1.Time{Time: time.Unix(1_800_000_005, 0)})
		o.SetLabels(map[string]string{"team": "a"})
		o.SetAnnotations(map[string]string{v1alpha1.GroupVersion.Group + "/key-seal": "kept", "kubectl.kubernetes.io/last-applied-configuration": "dropped"})
		m.trim(o)
		if len(o.GetAnnotations()) != 1 {
			t.Errorf("%s: the annotations are %v", k.name, o.GetAnnotations())
		}
		text, err := json.Marshal(newSaved(o))
		if err != nil {
			t.Fatal(err)
		}
		again := k.object()
		if err := parseSaved(text, again); err != nil {
			t.Fatal(err)
		}
		if !apiequality.Semantic.DeepEqual(o, again) {
			t.Errorf("%s:\n%+v\nbecomes\n%+v", k.name, o, again)
		}
	}
	if err := parseSaved([]byte(`{"object":{},"moments":["2026-11-01T02:03:04.5Z"]}`), &v1alpha1.ScopeGrant{}); err == nil {
		t.Error("moments are taken that the object does not have")
	}
	if err := parseSaved([]byte(`{"object":"x"}`), &v1alpha1.ScopeGrant{}); err == nil {
		t.Error("a text is taken for an object")
	}
}

// TestTrimmedObjectsDecideTheSame: nothing that the index looks at is dropped.
func TestTrimmedObjectsDecideTheSame(t *testing.T) {
	m := testMaterial()
	for _, k := range kinds {
		if k.group != v1alpha1.GroupVersion {
			continue
		}
		o := k.object()
		fill(reflect.ValueOf(o).Elem().FieldByName("Spec"))
		if status := reflect.ValueOf(o).Elem().FieldByName("Status").FieldByName("Credentials"); status.IsValid() {
			fill(status)
		}
		o.SetNamespace("jobs")
		o.SetName("x")
		o.SetLabels(map[string]string{"team": "a"})
		whole, trimmed := access.NewIndex("m2m-system"), access.NewIndex("m2m-system")
		whole.Upsert(o.DeepCopyObject().(client.Object))
		m.trim(o)
		trimmed.Upsert(o)
		for _, differ := range []bool{
			!reflect.DeepEqual(first(whole.Client("jobs.x")), first(trimmed.Client("jobs.x"))),
			!reflect.DeepEqual(first(whole.Issuer("x")), first(trimmed.Issuer("x"))),
		} {
			if differ {
				t.Errorf("the index knows another %s", k.name)
			}
		}
	}
}

func first[T any](v T, _ bool) T { return v }

// TestSecretsAreTrimmed: of the install namespace an issuer keeps what it serves with, and nothing else.
func TestSecretsAreTrimmed(t *testing.T) {
	m := testMaterial()
	all := map[string][]byte{
		manifests.KeyPepper: {1}, manifests.KeyPrivateJWK: {2}, corev1.TLSCertKey: {3}, corev1.TLSPrivateKeyKey: {4},
		manifests.KeyAuthority: {5}, manifests.KeyClientSecret: {6}, "next.key": {7},
	}
	for name, test := range map[string]struct {
		secret corev1.Secret
		kept   string
	}{
		"pepper":                  {corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "m2m-default-pepper"}}, "pepper"},
		"another issuer's pepper": {corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "m2m-other-pepper"}}, ""},
		"signing key":             {corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "m2m-default-key-es256-1"}}, "private.jwk"},
		"another issuer's key":    {corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "m2m-other-key-es256-1"}}, ""},
		"certificate":             {corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "tokens"}, Type: corev1.SecretTypeTLS}, "tls.crt tls.key"},
		"authority": {corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "m2m-default-ca", Labels: map[string]string{
			manifests.LabelContent: manifests.ContentAuthority}}, Type: corev1.SecretTypeTLS}, ""},
		"credential": {corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "publisher"}}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			test.secret.Data = maps.Clone(all)
			m.trim(&test.secret)
			if kept := strings.Join(slices.Sorted(maps.Keys(test.secret.Data)), " "); kept != test.kept {
				t.Errorf("kept is %q", kept)
			}
		})
	}
	ring := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "m2m-default-key-ring"}, Data: map[string]string{
		manifests.KeyRing: "r", manifests.KeyRingSeal: "s", "x": "y",
	}}
	other := ring.DeepCopy()
	other.Name = "other"
	m.trim(ring)
	m.trim(other)
	if len(ring.Data) != 2 || len(other.Data) != 0 {
		t.Errorf("kept are %v and %v", ring.Data, other.Data)
	}
}
