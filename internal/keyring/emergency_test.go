package keyring_test

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/internal/keyring"
)

func TestRevokedKeysGoAtOnceAndNeverComeBack(t *testing.T) {
	k := newKeeper(t, v1alpha1.ES256)
	active, next := k.kid(v1alpha1.ES256, v1alpha1.KeyActive), k.kid(v1alpha1.ES256, v1alpha1.KeyAnnounced)
	var stolen keyring.Slot
	for slot, key := range k.private {
		if key.KeyID == active {
			stolen = slot
		}
	}
	key := k.private[stolen]
	k.policy.Revoked = []string{active}
	k.step()
	k.want(v1alpha1.ES256, "Active Announced")
	if k.ring.Has(active) || k.kid(v1alpha1.ES256, v1alpha1.KeyActive) != next || len(k.private) != 2 {
		t.Fatalf("ring %v", k.ring)
	}
	k.policy.Revoked = nil
	k.private[stolen] = key
	k.step()
	if k.ring.Has(active) || k.private[stolen].KeyID == active {
		t.Error("it is back")
	}
	if rebuilt := keyring.Rebuild(map[keyring.Slot]jose.JSONWebKey{stolen: key}, keyring.Policy{Revoked: []string{active}}, now); rebuilt.Has(active) {
		t.Error("it is back in a ring that was made anew")
	}
	k.policy.Revoked = []string{k.kid(v1alpha1.ES256, v1alpha1.KeyActive), k.kid(v1alpha1.ES256, v1alpha1.KeyAnnounced)}
	k.step()
	k.want(v1alpha1.ES256, "Active Announced") // others: to sign by keys that some do not know yet is better than not to sign
}

func TestAnAddedAlgorithmDwellsAndARemovedOneGoesAfter(t *testing.T) {
	k := newKeeper(t, v1alpha1.ES256)
	k.policy.Algorithms = []v1alpha1.SigningAlgorithm{v1alpha1.EdDSA}
	k.pass(dwell)
	k.want(v1alpha1.ES256, "Active Announced")
	k.want(v1alpha1.EdDSA, "Announced")
	k.pass(keyring.ObserveEvery)
	k.want(v1alpha1.ES256, "Retired")
	k.want(v1alpha1.EdDSA, "Active Announced")
	k.pass(time.Hour + 2*dwell + keyring.ObserveEvery)
	k.want(v1alpha1.ES256, "")
	if len(k.private) != 2 {
		t.Errorf("%d private keys are kept", len(k.private))
	}
}

func TestALostActiveKeyIsReplacedAndStaysPublished(t *testing.T) {
	k := newKeeper(t, v1alpha1.ES256)
	active := k.kid(v1alpha1.ES256, v1alpha1.KeyActive)
	k.lose(active)
	k.step()
	k.want(v1alpha1.ES256, "Active Announced") // issuers that have it sign on
	k.waits(v1alpha1.ReasonSigningKeyLost, "private half")
	k.pass(dwell)
	k.want(v1alpha1.ES256, "Retired Active Announced")
	if !k.ring.Has(active) {
		t.Error("it is not published any more")
	}
}

func TestALostActiveKeyIsReplacedAtOnceWhereNobodySigns(t *testing.T) {
	k := newKeeper(t, v1alpha1.ES256)
	k.lose(k.kid(v1alpha1.ES256, v1alpha1.KeyActive))
	k.endpoints = func(keyring.Ring) []keyring.Endpoint { return nil }
	k.step()
	k.want(v1alpha1.ES256, "Retired Active Announced")
}

func TestALostAnnouncedKeyNeverSigns(t *testing.T) {
	k := newKeeper(t, v1alpha1.ES256)
	lost := k.kid(v1alpha1.ES256, v1alpha1.KeyAnnounced)
	k.lose(lost)
	k.step()
	k.want(v1alpha1.ES256, "Active Retired Announced")
	if !k.ring.Has(lost) {
		t.Error("it is not published any more")
	}
}

func TestARotationThatWouldPublishTooManyKeysWaits(t *testing.T) {
	k := newKeeper(t, v1alpha1.ES256)
	for i := range 9 {
		k.policy.Revision = fmt.Sprint(i)
		k.pass(dwell + keyring.ObserveEvery)
	}
	if len(k.ring.Keys) != keyring.MaxKeys {
		t.Fatalf("%d keys", len(k.ring.Keys))
	}
	k.waits(v1alpha1.ReasonTooManyKeys, "10")
	k.pass(time.Hour)
	if len(k.ring.Keys) > keyring.MaxKeys || !k.ring.Current(k.policy) {
		t.Errorf("when others were removed: %d keys, waits %v", len(k.ring.Keys), k.last.Waits)
	}
}

func TestANameThatIsTakenIsLeftAlone(t *testing.T) {
	k := newKeeper(t, v1alpha1.ES256)
	k.taken = []keyring.Slot{{Algorithm: v1alpha1.ES256, Generation: 3}, {Algorithm: v1alpha1.ES256, Generation: math.MaxInt}} // by what is no key
	k.policy.Revision = "2"
	k.pass(dwell + keyring.ObserveEvery)
	k.want(v1alpha1.ES256, "Retired Active Announced")
	if got := k.ring.Keys[2].Generation; got != 4 {
		t.Errorf("generation %d", got)
	}
}

func TestNoNameIsGivenToTwoKeys(t *testing.T) {
	k := newKeeper(t, v1alpha1.ES256)
	k.policy.Algorithms = []v1alpha1.SigningAlgorithm{v1alpha1.EdDSA}
	k.pass(time.Hour + 4*dwell)
	k.want(v1alpha1.ES256, "")
	k.policy.Algorithms = []v1alpha1.SigningAlgorithm{v1alpha1.ES256}
	k.step()
	k.want(v1alpha1.ES256, "Announced")
	for _, key := range k.ring.Keys {
		if key.Algorithm == v1alpha1.ES256 && key.Generation != 3 {
			t.Errorf("generation %d after two that are gone", key.Generation)
		}
	}
	data, err := k.ring.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	again, err := keyring.ParseRing(data)
	if err != nil || again.Youngest[v1alpha1.EdDSA] != 2 || again.Youngest[v1alpha1.ES256] != 3 {
		t.Errorf("%v, %v", again.Youngest, err)
	}
}

func TestRebuildTakesTheYoungestForTheNext(t *testing.T) {
	keys := map[keyring.Slot]jose.JSONWebKey{}
	for generation := 3; generation < 7; generation++ {
		keys[keyring.Slot{Algorithm: v1alpha1.ES256, Generation: generation}] = generate(t, v1alpha1.ES256)
	}
	keys[keyring.Slot{Algorithm: v1alpha1.EdDSA, Generation: 1}] = generate(t, v1alpha1.EdDSA)
	policy := keyring.Policy{Algorithms: []v1alpha1.SigningAlgorithm{v1alpha1.ES256}, Revision: "7"}
	ring := keyring.Rebuild(keys, policy, now)
	if got := states(ring, v1alpha1.ES256) + ", " + states(ring, v1alpha1.EdDSA); got != "Retired Retired Active Announced, Active" {
		t.Error(got)
	}
	if !ring.Current(policy) {
		t.Error("a ring that was made anew asks for a rotation")
	}
}

func TestKeySetHeedsRevocationsAtOnce(t *testing.T) {
	ring, private := fill(t, keyring.Ring{}, now, v1alpha1.ES256, v1alpha1.RS256)
	active, next, other := ring.Keys[0], ring.Keys[1], ring.Keys[2]
	set, err := keyring.NewKeySet(ring, private, active.KID)
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := set.PublicKey(active.KID); ok || strings.Contains(string(set.JWKS()), active.KID) || len(set.Keys()) != 3 {
		t.Error("a revoked key is published")
	}
	if key, _ := set.SigningKey(v1alpha1.ES256); key.KeyID != next.KID {
		t.Errorf("%s signs instead of the next key", key.KeyID)
	}
	if set, _ = keyring.NewKeySet(ring, private, active.KID, next.KID); set == nil {
		t.Fatal("no set")
	}
	if key, ok := set.SigningKey(v1alpha1.ES256); ok {
		t.Errorf("%s signs", key.KeyID)
	}
	if key, _ := set.SigningKey(v1alpha1.ES256, v1alpha1.RS256); key.KeyID != other.KID {
		t.Errorf("%s signs instead of the other algorithm's key", key.KeyID)
	}
	if set, _ = keyring.NewKeySet(ring, private, next.KID); set == nil {
		t.Fatal("no set")
	}
	if key, _ := set.SigningKey(v1alpha1.ES256); key.KeyID != active.KID {
		t.Errorf("the next key is revoked, and %s signs", key.KeyID)
	}
}
