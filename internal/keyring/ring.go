package keyring

import (
	"cmp"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/go-jose/go-jose/v4"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
)

const (
	// MaxAge is how long a verifier may cache the JWKS (Cache-Control max-age).
	MaxAge = 300 * time.Second
	// Skew is how far the clocks of issuers and verifiers may differ.
	Skew = 60 * time.Second
	// Header of the answer with the JWKS that holds the ring's Version.
	Header = "M2M-Key-Ring"
	// MaxKeys is how many keys a JWKS may hold: verifiers bound what they read.
	MaxKeys = 10
)

// Key is one published signing key. Its private half is kept elsewhere.
type Key struct {
	KID        string                    `json:"kid"`
	Algorithm  v1alpha1.SigningAlgorithm `json:"algorithm"`
	Generation int                       `json:"generation"`
	State      v1alpha1.SigningKeyState  `json:"state"`
	Since      time.Time                 `json:"since"`
	// Revision that was asked for when the key became active.
	Revision string `json:"revision,omitempty"`
	// Lifetime is the longest of a token that it may have signed. Zero: as long as any.
	Lifetime metav1.Duration `json:"lifetime,omitzero"`
	Public   jose.JSONWebKey `json:"public"`
}

func (k Key) slot() Slot { return Slot{Algorithm: k.Algorithm, Generation: k.Generation} }

// Ring is every published key of one TokenIssuer, ordered by algorithm and generation.
type Ring struct {
	Keys []Key `json:"keys"`
	// Revoked are keys that are never to come back, sorted.
	Revoked []string `json:"revoked,omitempty"`
	// Youngest generation that each algorithm has ever had: no name is given to two keys.
	Youngest map[v1alpha1.SigningAlgorithm]int `json:"youngest,omitempty"`
}

// ParseRing reads what Marshal wrote. It fails when a key is private, or not the one that its kid names.
func ParseRing(data []byte) (Ring, error) {
	var ring Ring
	if err := json.Unmarshal(data, &ring); err != nil {
		return Ring{}, fmt.Errorf("key ring: %w", err)
	}
	seen := map[string]bool{}
	for _, key := range ring.Keys {
		if !key.Public.IsPublic() || !key.Public.Valid() {
			return Ring{}, fmt.Errorf("key ring: key %q is not a valid public key", key.KID)
		}
		if key.KID != key.Public.KeyID || string(key.Algorithm) != key.Public.Algorithm || seen[key.KID] {
			return Ring{}, fmt.Errorf("key ring: key %q does not match its description", key.KID)
		}
		if err := checkKey(key.Public); err != nil {
			return Ring{}, fmt.Errorf("key ring: %w", err)
		}
		seen[key.KID] = true
	}
	return ring, nil
}

// Has reports whether the ring publishes the key.
func (r Ring) Has(kid string) bool {
	return slices.ContainsFunc(r.Keys, func(k Key) bool { return k.KID == kid })
}

// Marshal is the form in which the ring is kept. Same ring, same bytes.
func (r Ring) Marshal() ([]byte, error) { return json.MarshalIndent(r, "", "  ") }

// Version names what the ring publishes and which keys sign. An issuer tells it, so that the manager knows what the
// issuer has taken in: the JWKS does not show which of its keys sign.
func (r Ring) Version() string {
	h := sha256.New()
	for _, key := range r.Keys {
		fmt.Fprintf(h, "%s %s\n", key.KID, key.State)
	}
	return base64.RawURLEncoding.EncodeToString(h.Sum(nil)[:12])
}

// Rebuild makes a ring from the private keys that were found, when the ring itself was lost. Of each algorithm the
// youngest key is taken for the announced one and the one before it for the active one; older ones may have signed.
// Keys whose private half is gone are lost with the ring. Where there is nothing but what the birth of an issuer makes, it
// is that which was interrupted, and Step goes on with it.
func Rebuild(keys map[Slot]jose.JSONWebKey, policy Policy, now time.Time) Ring {
	slots := slices.Collect(maps.Keys(keys))
	slices.SortFunc(slots, func(a, b Slot) int {
		return cmp.Or(cmp.Compare(a.Algorithm, b.Algorithm), cmp.Compare(a.Generation, b.Generation))
	})
	if !slices.ContainsFunc(slots, func(s Slot) bool { return s.Generation > 2 || !slices.Contains(policy.Algorithms, s.Algorithm) }) {
		return Ring{}
	}
	var ring Ring
	for i, slot := range slots {
		if slices.Contains(policy.Revoked, keys[slot].KeyID) || ring.Has(keys[slot].KeyID) {
			continue
		}
		younger := 0
		for _, other := range slots[i+1:] {
			if other.Algorithm == slot.Algorithm {
				younger++
			}
		}
		key := newKey(slot, keys[slot], v1alpha1.KeyRetired, now)
		switch {
		case younger == 1, younger == 0 && ring.in(slot.Algorithm, v1alpha1.KeyActive) < 0:
			key.State, key.Revision = v1alpha1.KeyActive, policy.Revision
		case younger == 0:
			key.State = v1alpha1.KeyAnnounced
		}
		ring.add(key)
	}
	return ring
}

// Slot is a place in the ring that wants a key.
type Slot struct {
	Algorithm  v1alpha1.SigningAlgorithm
	Generation int
}

// Vacant lists the slots to fill so that each algorithm has an active and an announced key. Generations only grow, so a
// slot's name is never used for two keys.
func (r Ring) Vacant(algorithms []v1alpha1.SigningAlgorithm) []Slot {
	var slots []Slot
	for _, algorithm := range algorithms {
		generation := r.youngest(algorithm)
		live := 0
		for _, key := range r.Keys {
			if key.Algorithm == algorithm && key.State != v1alpha1.KeyRetired {
				live++
			}
		}
		for ; live < 2; live++ {
			generation++
			slots = append(slots, Slot{Algorithm: algorithm, Generation: generation})
		}
	}
	return slots
}

// Fill publishes a key in a slot: as the active one if its algorithm has none, else as the announced one. It is for a
// ring's birth, when nobody knows the JWKS yet.
func (r Ring) Fill(slot Slot, key jose.JSONWebKey, now time.Time) Ring {
	state := v1alpha1.KeyActive
	if r.in(slot.Algorithm, v1alpha1.KeyActive) >= 0 {
		state = v1alpha1.KeyAnnounced
	}
	filled := r.clone()
	filled.add(newKey(slot, key, state, now))
	return filled
}

func newKey(slot Slot, key jose.JSONWebKey, state v1alpha1.SigningKeyState, now time.Time) Key {
	return Key{
		KID: key.KeyID, Algorithm: slot.Algorithm, Generation: slot.Generation,
		State: state, Since: now.UTC().Truncate(time.Second), Public: key.Public(),
	}
}

func (r Ring) clone() Ring {
	return Ring{Keys: slices.Clone(r.Keys), Revoked: slices.Clone(r.Revoked), Youngest: maps.Clone(r.Youngest)}
}

func (r *Ring) add(key Key) {
	if r.Youngest == nil {
		r.Youngest = map[v1alpha1.SigningAlgorithm]int{}
	}
	r.Youngest[key.Algorithm] = max(r.youngest(key.Algorithm), key.Generation)
	r.Keys = append(r.Keys, key)
	slices.SortFunc(r.Keys, func(a, b Key) int {
		return cmp.Or(cmp.Compare(a.Algorithm, b.Algorithm), cmp.Compare(a.Generation, b.Generation))
	})
}

// drop takes keys out of the ring.
func (r *Ring) drop(kids ...string) {
	r.Keys = slices.DeleteFunc(r.Keys, func(k Key) bool { return slices.Contains(kids, k.KID) })
}

// in is where the oldest key of an algorithm in a state is, -1 if there is none.
func (r Ring) in(algorithm v1alpha1.SigningAlgorithm, state v1alpha1.SigningKeyState) int {
	return slices.IndexFunc(r.Keys, func(k Key) bool { return k.Algorithm == algorithm && k.State == state })
}

// youngest is the highest generation that an algorithm has had, 0 if it never had a key.
func (r Ring) youngest(algorithm v1alpha1.SigningAlgorithm) int {
	generation := r.Youngest[algorithm]
	for _, key := range r.Keys {
		if key.Algorithm == algorithm {
			generation = max(generation, key.Generation)
		}
	}
	return generation
}
