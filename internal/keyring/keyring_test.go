package keyring_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/internal/keyring"
)

var (
	now        = time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	algorithms = []v1alpha1.SigningAlgorithm{v1alpha1.ES256, v1alpha1.RS256, v1alpha1.PS256, v1alpha1.EdDSA}
)

func generate(t testing.TB, algorithm v1alpha1.SigningAlgorithm) jose.JSONWebKey {
	t.Helper()
	key, err := keyring.Generate(algorithm)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// fill makes the keys that the ring wants.
func fill(t testing.TB, ring keyring.Ring, at time.Time, algorithms ...v1alpha1.SigningAlgorithm) (keyring.Ring, []jose.JSONWebKey) {
	t.Helper()
	var private []jose.JSONWebKey
	for _, slot := range ring.Vacant(algorithms) {
		key := generate(t, slot.Algorithm)
		private = append(private, key)
		ring = ring.Fill(slot, key, at)
	}
	return ring, private
}

func states(ring keyring.Ring, algorithm v1alpha1.SigningAlgorithm) string {
	var s []string
	for _, key := range ring.Keys {
		if key.Algorithm == algorithm {
			s = append(s, string(key.State))
		}
	}
	return strings.Join(s, " ")
}

func TestKeysSignVerifyAndSurviveTheirSecret(t *testing.T) {
	for _, algorithm := range algorithms {
		t.Run(string(algorithm), func(t *testing.T) {
			key := generate(t, algorithm)
			data, err := keyring.MarshalPrivate(key)
			if err != nil {
				t.Fatal(err)
			}
			read, err := keyring.ParsePrivate(data)
			if err != nil {
				t.Fatal(err)
			}
			if thumbprint, _ := keyring.Thumbprint(read); thumbprint != read.KeyID {
				t.Errorf("kid %q is not the thumbprint %q", read.KeyID, thumbprint)
			}
			signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.SignatureAlgorithm(algorithm), Key: read}, nil)
			if err != nil {
				t.Fatal(err)
			}
			signed, err := signer.Sign([]byte("payload"))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := signed.Verify(key.Public()); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestParsePrivateRefuses(t *testing.T) {
	key := generate(t, v1alpha1.ES256)
	public, _ := key.Public().MarshalJSON()
	other := key
	other.KeyID = generate(t, v1alpha1.ES256).KeyID
	renamed, _ := other.MarshalJSON()
	wrong := key
	wrong.Algorithm = "RS256"
	misused, _ := wrong.MarshalJSON()
	for name, data := range map[string][]byte{
		"nothing": nil, "text": []byte("secret-text"), "a public key": public, "another's kid": renamed, "another algorithm": misused,
		"a symmetric key": []byte(`{"kty":"oct","k":"c2VjcmV0","kid":"x","alg":"HS256"}`),
	} {
		if _, err := keyring.ParsePrivate(data); err == nil || strings.Contains(err.Error(), "secret-text") {
			t.Errorf("%s: error %v", name, err)
		}
	}
}

func TestRingIsBornWithAnActiveAndAnAnnouncedKey(t *testing.T) {
	ring, private := fill(t, keyring.Ring{}, now, v1alpha1.ES256, v1alpha1.RS256)
	for _, algorithm := range []v1alpha1.SigningAlgorithm{v1alpha1.ES256, v1alpha1.RS256} {
		if got := states(ring, algorithm); got != "Active Announced" {
			t.Errorf("%s: %s", algorithm, got)
		}
	}
	if vacant := ring.Vacant([]v1alpha1.SigningAlgorithm{v1alpha1.ES256, v1alpha1.RS256}); len(vacant) != 0 {
		t.Errorf("a full ring wants %v", vacant)
	}
	set, err := keyring.NewKeySet(ring, private)
	if err != nil {
		t.Fatal(err)
	}
	for _, algorithm := range []v1alpha1.SigningAlgorithm{v1alpha1.ES256, v1alpha1.RS256} {
		key, ok := set.SigningKey(algorithm)
		if !ok || key.Algorithm != string(algorithm) {
			t.Errorf("no signing key for %s", algorithm)
		}
	}
	if _, ok := set.SigningKey(v1alpha1.EdDSA); ok {
		t.Error("a signing key for an algorithm that the ring does not have")
	}
}

func TestJWKSIsPublicStableAndComplete(t *testing.T) {
	ring, private := fill(t, keyring.Ring{}, now, algorithms...)
	set, err := keyring.NewKeySet(ring, private)
	if err != nil {
		t.Fatal(err)
	}
	again, _ := keyring.NewKeySet(ring, nil)
	if string(set.JWKS()) != string(again.JWKS()) {
		t.Error("same ring, other bytes")
	}
	var document struct{ Keys []map[string]any }
	if err := json.Unmarshal(set.JWKS(), &document); err != nil {
		t.Fatal(err)
	}
	if len(document.Keys) != 8 {
		t.Errorf("%d keys, want 8", len(document.Keys))
	}
	for _, key := range document.Keys {
		for _, member := range []string{"d", "p", "q", "dp", "dq", "qi", "k"} {
			if _, ok := key[member]; ok {
				t.Errorf("private member %q is published", member)
			}
		}
		for _, member := range []string{"kty", "use", "alg", "kid"} {
			if key[member] == "" || key[member] == nil {
				t.Errorf("member %q is missing", member)
			}
		}
	}
}

func TestAnUnpublishedKeySignsNothing(t *testing.T) {
	ring, _ := fill(t, keyring.Ring{}, now, v1alpha1.ES256)
	stranger := generate(t, v1alpha1.ES256)
	set, err := keyring.NewKeySet(ring, []jose.JSONWebKey{stranger})
	if err != nil {
		t.Fatal(err)
	}
	if key, ok := set.SigningKey(v1alpha1.ES256); ok {
		t.Errorf("key %s signs and is not published", key.KeyID)
	}
}

func TestParseRingRefusesWhatDoesNotMatch(t *testing.T) {
	ring, private := fill(t, keyring.Ring{}, now, v1alpha1.ES256)
	good, err := ring.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	read, err := keyring.ParseRing(good)
	if err != nil || len(read.Keys) != 2 {
		t.Fatalf("%d keys, %v", len(read.Keys), err)
	}
	change := func(f func(*keyring.Ring)) string {
		r, err := keyring.ParseRing(good)
		if err != nil {
			t.Fatal(err)
		}
		f(&r)
		data, err := r.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	for name, data := range map[string]string{
		"not JSON":       "{",
		"a private key":  change(func(r *keyring.Ring) { r.Keys[0].Public = private[0] }),
		"another kid":    change(func(r *keyring.Ring) { r.Keys[0].KID = "x"; r.Keys[0].Public.KeyID = "x" }),
		"swapped halves": change(func(r *keyring.Ring) { r.Keys[0].Public, r.Keys[1].Public = r.Keys[1].Public, r.Keys[0].Public }),
		"a key twice":    change(func(r *keyring.Ring) { r.Keys[1] = r.Keys[0] }),
		"no public half": `{"keys":[{"kid":"x","algorithm":"ES256","generation":1,"state":"Active","since":"2026-11-01T12:00:00Z"}]}`,
	} {
		if _, err := keyring.ParseRing([]byte(data)); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestPublicKeyIsFoundWhileItIsPublished(t *testing.T) {
	ring, private := fill(t, keyring.Ring{}, now, v1alpha1.ES256, v1alpha1.EdDSA)
	set, err := keyring.NewKeySet(ring, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range private {
		if got, ok := set.PublicKey(key.KeyID); !ok || !got.IsPublic() || got.KeyID != key.KeyID || got.Algorithm != key.Algorithm {
			t.Errorf("key %s: %+v, %t", key.KeyID, got, ok)
		}
	}
	for _, kid := range []string{"", "unknown", strings.ToUpper(private[0].KeyID)} {
		if _, ok := set.PublicKey(kid); ok {
			t.Errorf("there is a key %q", kid)
		}
	}
	if set, err = keyring.NewKeySet(keyring.Ring{Keys: ring.Keys[1:]}, private); err != nil {
		t.Fatal(err)
	}
	if _, ok := set.PublicKey(ring.Keys[0].KID); ok {
		t.Error("a key that is published no more is found")
	}
}
