package keyring

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
)

// manage is what the controller does.
func (m *model) manage() {
	observe := false
	for range 40 {
		at := len(m.rings) - 1
		if m.chance(0.01) && at > 0 && !m.quiet {
			at-- // of a cache that lags, or of a manager that still believes to lead
		}
		read := m.rings[at].Ring
		in := m.input(observe)
		r := m.step(read, m.leader.memory, in)
		if r.Again() && m.crashes() {
			return
		}
		m.leader.memory = r.Memory
		for _, slot := range r.Make {
			m.makeKey(slot)
		}
		if r.Changed && at != len(m.rings)-1 {
			m.count["conflict"]++
			continue
		}
		if r.Changed {
			m.store(read, r)
			if m.crashes() {
				return
			}
		}
		for _, slot := range r.Drop {
			delete(m.secrets, slot)
		}
		if r.Again() {
			continue
		}
		if observe = r.Observe && m.now-m.leader.observed >= ObserveEvery; !observe {
			if at == len(m.rings)-1 {
				m.settled()
			}
			return
		}
		m.leader.observed = m.now
	}
	m.fail("the machine does not come to rest: %s", m.describe())
}

func (m *model) crashes() bool {
	if m.quiet || !m.chance(0.03) {
		return false
	}
	m.lead()
	m.count["crash"]++
	return true
}

func (m *model) input(observe bool) Input {
	in := Input{
		Policy: m.policy(), Private: maps.Clone(m.secrets), Observed: observe,
		Now: modelEpoch.Add(m.now + m.leader.ahead), Elapsed: m.now - m.leader.begun,
	}
	for slot := range m.secrets {
		in.Taken = append(in.Taken, slot)
	}
	if !observe {
		return in
	}
	for _, s := range m.serving() {
		e := Endpoint{Address: s.name, KeyRing: s.set.Version()}
		for _, key := range s.set.Keys() {
			e.KIDs = append(e.KIDs, key.KID)
		}
		if m.chance(0.005) || (m.now < s.stuck && m.chance(0.01)) {
			e = Endpoint{Address: s.name, Problem: "timeout"}
		}
		in.Endpoints = append(in.Endpoints, e)
	}
	if len(in.Endpoints) == 0 && !slices.ContainsFunc(m.ring().Keys, func(k Key) bool {
		return k.State == v1alpha1.KeyActive && m.secrets[k.slot()].KeyID == k.KID
	}) {
		for _, algorithm := range modelAlgorithms { // nothing signs, so whatever does next has to begin at once
			m.emergency[algorithm] = true
		}
	}
	return in
}

// store is a write of the ring.
func (m *model) store(before Ring, r Result) {
	m.rings = append(m.rings, stored{Ring: r.Ring, at: m.now})
	if len(r.Ring.Keys) > MaxKeys {
		m.fail("%d keys are published: %s", len(r.Ring.Keys), m.describe())
	}
	for _, change := range r.Changes {
		switch {
		case change.State == v1alpha1.KeyActive:
			m.count["rotation"]++
		case change.State == "" && !change.Revoked:
			m.count["removal"]++
		}
	}
	for _, algorithm := range modelAlgorithms {
		if has(r.Ring, algorithm, v1alpha1.KeyActive) && !has(r.Ring, algorithm, v1alpha1.KeyAnnounced) &&
			has(before, algorithm, v1alpha1.KeyAnnounced) && !m.lostOne(before, algorithm) && !m.emergency[algorithm] {
			m.fail("%s has no next key any more: %s", algorithm, m.describe())
		}
	}
}

// lostOne reports whether a key of the algorithm in the ring is revoked.
func (m *model) lostOne(ring Ring, algorithm v1alpha1.SigningAlgorithm) bool {
	return slices.ContainsFunc(ring.Keys, func(k Key) bool { return k.Algorithm == algorithm && m.revoked(k.KID) })
}

func has(ring Ring, algorithm v1alpha1.SigningAlgorithm, state v1alpha1.SigningKeyState) bool {
	return ring.in(algorithm, state) >= 0
}

// settled is how the ring must be when the manager has nothing more to do at once.
func (m *model) settled() {
	ring := m.ring()
	for _, key := range ring.Keys {
		if m.revoked(key.KID) {
			m.fail("the revoked key %s is in the ring", key.KID)
		}
	}
	for slot, key := range m.secrets {
		if m.revoked(key.KeyID) {
			m.fail("the revoked key %s is in the Secret of %v", key.KeyID, slot)
		}
	}
	for _, algorithm := range m.policy().Algorithms {
		if !has(ring, algorithm, v1alpha1.KeyAnnounced) && len(ring.Keys) < MaxKeys {
			m.fail("%s has no next key: %s", algorithm, m.describe())
		}
	}
}

func (m *model) makeKey(slot Slot) {
	if _, made := m.secrets[slot]; made {
		return // create-only
	}
	m.keys++
	m.secrets[slot] = modelKey(m.keys, slot.Algorithm)
}

// sign has every server that is ready sign by every algorithm that can be asked of it.
func (m *model) sign() {
	serving := m.serving()
	for _, s := range m.servers {
		current := s.up && s.ring == len(m.rings)-1 && s.spec == len(m.specs)-1
		if current && !slices.Contains(serving, s) && !m.anyEmergency() && !m.lost(s) {
			m.fail("server %s signs nothing: %s", s.name, m.describe())
		}
	}
	for _, s := range serving {
		wanted := [][]v1alpha1.SigningAlgorithm{m.wishes(s)}
		for _, algorithm := range m.specs[s.spec].Algorithms {
			wanted = append(wanted, []v1alpha1.SigningAlgorithm{algorithm})
		}
		for _, algorithms := range wanted {
			key, ok := s.set.SigningKey(algorithms...)
			if !ok {
				continue
			}
			m.signed(s, key, serving)
		}
	}
}

func (m *model) signed(s *server, key jose.JSONWebKey, serving []*server) {
	kid := key.KeyID
	if m.revoked(kid) {
		return // by a server that has not heard of it: the token is worth nothing
	}
	t, again := m.tokens[kid]
	t.algorithm = v1alpha1.SigningAlgorithm(key.Algorithm)
	if !again && m.emergency[t.algorithm] {
		m.excused[kid] = true
		m.count["emergency"]++
	}
	t.expiry = max(t.expiry, m.now+s.ahead+m.specs[s.spec].MaxLifetime)
	m.tokens[kid] = t
	if _, published := s.set.PublicKey(kid); !published {
		m.fail("server %s signs by %s, which it does not publish", s.name, kid)
	}
	if m.excused[kid] {
		return
	}
	for _, other := range serving {
		if _, published := other.set.PublicKey(kid); !published {
			m.fail("server %s signs by %s, which server %s does not publish: %s", s.name, kid, other.name, m.describe())
		}
	}
}

func (m *model) anyEmergency() bool {
	return slices.ContainsFunc(modelAlgorithms, func(a v1alpha1.SigningAlgorithm) bool { return m.emergency[a] })
}

// lost reports whether a server lacks the private half of an active key.
func (m *model) lost(s *server) bool {
	return slices.ContainsFunc(m.ring().Keys, func(k Key) bool {
		return k.State == v1alpha1.KeyActive && s.private[k.KID].KeyID == ""
	})
}

// fetch has verifiers ask for the JWKS when theirs is too old, and sometimes for no reason, of any server.
func (m *model) fetch() {
	serving := m.serving()
	for _, v := range m.verifiers {
		if len(serving) == 0 || (m.now-v.fetched < MaxAge && !m.chance(0.01)) {
			continue
		}
		v.fetched, v.kids = m.now, []string{}
		for _, key := range serving[m.rng.IntN(len(serving))].set.Keys() {
			v.kids = append(v.kids, key.KID)
		}
	}
}

// verify presents every token to every verifier.
func (m *model) verify() {
	for kid, t := range m.tokens {
		if t.expiry <= m.now-60*time.Second { // by every clock
			delete(m.tokens, kid)
			continue
		}
		if m.excused[kid] {
			continue
		}
		for i, v := range m.verifiers {
			kept := m.now-v.fetched < MaxAge // else there is nobody to ask
			if kept && m.now+v.ahead < t.expiry && !slices.Contains(v.kids, kid) {
				m.fail("verifier %d refuses a token of %s that expires at %s; its JWKS is %s old: %s",
					i, kid, t.expiry, m.now-v.fetched, m.describe())
			}
		}
	}
}

// relent ends emergencies and excuses.
func (m *model) relent() {
	serving := m.serving()
	signs := slices.ContainsFunc(m.ring().Keys, func(k Key) bool { return k.State == v1alpha1.KeyActive && !m.revoked(k.KID) })
	for _, algorithm := range modelAlgorithms {
		if i := m.ring().in(algorithm, v1alpha1.KeyActive); signs && m.emergency[algorithm] {
			listed := slices.Contains(m.policy().Algorithms, algorithm)
			over := (i < 0 && !listed) || i >= 0 && !m.revoked(m.ring().Keys[i].KID) && m.secrets[m.ring().Keys[i].slot()].KeyID != ""
			for _, s := range m.servers {
				over = over && (m.now < s.stuck || (s.ring == len(m.rings)-1 && s.spec == len(m.specs)-1))
			}
			if over && i >= 0 {
				_, over = m.tokens[m.ring().Keys[i].KID]
			}
			if over && len(serving) > 0 {
				delete(m.emergency, algorithm)
			}
		}
	}
	for kid := range m.excused {
		known := true
		for _, s := range m.servers {
			_, published := s.set.PublicKey(kid)
			known = known && published
		}
		for _, v := range m.verifiers {
			known = known && slices.Contains(v.kids, kid)
		}
		if known {
			delete(m.excused, kid)
		}
	}
}

func (m *model) describe() string {
	text := fmt.Sprintf("policy %v", m.policy().Algorithms)
	for _, key := range m.ring().Keys {
		text += fmt.Sprintf("\n  %s %s %d %s since %s", key.KID, key.Algorithm, key.Generation, key.State, key.Since.Sub(modelEpoch))
	}
	for _, s := range m.servers {
		text += fmt.Sprintf("\n  server %s up %t stuck until %s ring %d of %d", s.name, s.up, s.stuck, s.ring, len(m.rings)-1)
	}
	return text
}
