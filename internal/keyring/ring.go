package keyring

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
)

const (
	// MaxAge is how long a verifier may cache the JWKS (Cache-Control max-age).
	MaxAge = 300 * time.Second
	// Skew is how far the clocks of issuers and verifiers may differ.
	Skew = 60 * time.Second
)

// Key is one published signing key. Its private half is kept elsewhere.
type Key struct {
	KID        string                    `json:"kid"`
	Algorithm  v1alpha1.SigningAlgorithm `json:"algorithm"`
	Generation int                       `json:"generation"`
	State      v1alpha1.SigningKeyState  `json:"state"`
	Since      time.Time                 `json:"since"`
	Public     jose.JSONWebKey           `json:"public"`
}

// Ring is every published key of one TokenIssuer, ordered by algorithm and generation.
type Ring struct {
	Keys []Key `json:"keys"`
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

// Rebuild makes a ring from the private keys that were found, when the ring itself was lost. The oldest key of each
// algorithm is taken for the active one; keys whose private half is gone are lost with the ring.
func Rebuild(keys map[Slot]jose.JSONWebKey, now time.Time) Ring {
	slots := slices.Collect(maps.Keys(keys))
	slices.SortFunc(slots, func(a, b Slot) int {
		return cmp.Or(cmp.Compare(a.Algorithm, b.Algorithm), cmp.Compare(a.Generation, b.Generation))
	})
	var ring Ring
	for _, slot := range slots {
		ring = ring.Fill(slot, keys[slot], now)
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
		generation := 0
		live := 0
		for _, key := range r.Keys {
			if key.Algorithm != algorithm {
				continue
			}
			generation = max(generation, key.Generation)
			if key.State != v1alpha1.KeyRetired {
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

// Fill publishes a key in a slot: as the active one if its algorithm has none, else as the announced one.
func (r Ring) Fill(slot Slot, key jose.JSONWebKey, now time.Time) Ring {
	state := v1alpha1.KeyActive
	if r.active(slot.Algorithm) >= 0 {
		state = v1alpha1.KeyAnnounced
	}
	keys := append(slices.Clone(r.Keys), Key{
		KID: key.KeyID, Algorithm: slot.Algorithm, Generation: slot.Generation,
		State: state, Since: now.UTC().Truncate(time.Second), Public: key.Public(),
	})
	slices.SortFunc(keys, func(a, b Key) int {
		return cmp.Or(cmp.Compare(a.Algorithm, b.Algorithm), cmp.Compare(a.Generation, b.Generation))
	})
	return Ring{Keys: keys}
}

func (r Ring) active(algorithm v1alpha1.SigningAlgorithm) int {
	return slices.IndexFunc(r.Keys, func(k Key) bool { return k.Algorithm == algorithm && k.State == v1alpha1.KeyActive })
}

// Lose retires a key whose private half is gone and lets the announced one, published long since, take its place.
// The lost key stays published: tokens that it signed still verify.
func (r Ring) Lose(kid string, now time.Time) Ring {
	keys := slices.Clone(r.Keys)
	since := now.UTC().Truncate(time.Second)
	for i := range keys {
		if keys[i].KID == kid && keys[i].State != v1alpha1.KeyRetired {
			keys[i].State, keys[i].Since = v1alpha1.KeyRetired, since
			next := Ring{Keys: keys}
			next.activate(keys[i].Algorithm, since)
			return next
		}
	}
	return r
}

// activate makes the oldest announced key of an algorithm that has no active one the active one.
func (r Ring) activate(algorithm v1alpha1.SigningAlgorithm, since time.Time) {
	if r.active(algorithm) >= 0 {
		return
	}
	for i := range r.Keys {
		if r.Keys[i].Algorithm == algorithm && r.Keys[i].State == v1alpha1.KeyAnnounced {
			r.Keys[i].State, r.Keys[i].Since = v1alpha1.KeyActive, since
			return
		}
	}
}

// Prune drops retired keys whose last token has been dead for MaxAge and Skew. The second result is when the next one
// may be dropped, zero if none waits.
func (r Ring) Prune(now time.Time) (Ring, time.Time) {
	const life = v1alpha1.MaxTokenLifetime + MaxAge + Skew
	var next time.Time
	var keys []Key
	for _, key := range r.Keys {
		if key.State == v1alpha1.KeyRetired {
			end := key.Since.Add(life)
			if !now.Before(end) {
				continue
			}
			if next.IsZero() || end.Before(next) {
				next = end
			}
		}
		keys = append(keys, key)
	}
	return Ring{Keys: keys}, next
}
