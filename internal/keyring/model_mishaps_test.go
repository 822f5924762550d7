package keyring

import (
	"fmt"
	"slices"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
)

// live is one step of virtual time.
func (m *model) live() {
	if !m.quiet {
		m.mishaps()
	}
	early := m.chance(0.5)
	if early {
		m.fetch()
	}
	m.spread()
	if m.now >= m.leader.away {
		m.manage()
	}
	m.spread()
	m.sign()
	if !early {
		m.fetch()
	}
	m.verify()
	m.relent()
}

func (m *model) mishaps() {
	if m.chance(0.003) {
		m.change(func(p *Policy) { p.Revision = fmt.Sprint(m.now) })
	}
	if m.chance(0.002) {
		m.change(func(p *Policy) {
			shuffled := slices.Clone(modelAlgorithms)
			m.rng.Shuffle(4, func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
			p.Algorithms = shuffled[:1+m.rng.IntN(3)]
		})
	}
	if m.chance(0.004) {
		m.change(func(p *Policy) { p.MaxLifetime = m.between(time.Minute, 15*time.Minute) })
	}
	if m.chance(0.0015) {
		m.revoke()
	}
	if keys := m.ring().Keys; m.chance(0.001) && len(keys) > 0 {
		delete(m.secrets, keys[m.rng.IntN(len(keys))].slot())
		m.count["loss"]++
	}
	if m.chance(0.003) {
		m.lead()
		m.leader.away = m.now + m.between(0, time.Minute)
		if m.chance(0.1) {
			m.leader.away += m.between(0, 3*time.Hour)
		}
	}
	if m.chance(0.005) {
		m.leader.ahead = m.between(-time.Hour, time.Hour)
	}
	for _, s := range m.servers {
		switch {
		case m.chance(0.004):
			s.stuck = m.now + m.between(0, 20*time.Minute)
		case m.chance(0.001):
			s.stuck = m.now + m.between(0, 4*time.Hour)
		case m.chance(0.002):
			s.up = !s.up
			m.catchUp(s)
		}
	}
	if m.chance(0.003) && len(m.servers) > 0 {
		m.servers = slices.Delete(m.servers, 0, 1)
	}
	if m.chance(0.005) && len(m.servers) < 5 {
		m.startServer()
	}
}

func (m *model) change(edit func(*Policy)) {
	next := spec{Policy: m.policy(), at: m.now}
	edit(&next.Policy)
	m.specs = append(m.specs, next)
}

// revoke takes a published key, or two at once.
func (m *model) revoke() {
	keys := m.ring().Keys
	if len(keys) == 0 {
		return
	}
	for range 1 + m.rng.IntN(2) {
		key := keys[m.rng.IntN(len(keys))]
		m.change(func(p *Policy) { p.Revoked = append(slices.Clone(p.Revoked), key.KID) })
		delete(m.tokens, key.KID)
		signing := key.State == v1alpha1.KeyActive
		for _, s := range m.servers {
			signs, _ := s.set.SigningKey(key.Algorithm)
			signing = signing || signs.KeyID == key.KID
		}
		m.emergency[key.Algorithm] = m.emergency[key.Algorithm] || signing
	}
	m.count["revocation"]++
	if !slices.ContainsFunc(keys, func(k Key) bool { return k.State == v1alpha1.KeyActive && !m.revoked(k.KID) }) {
		for _, algorithm := range modelAlgorithms {
			m.emergency[algorithm] = true
		}
	}
}

// lead begins with nothing but a clock.
func (m *model) lead() {
	m.leader = leader{begun: m.now, ahead: m.leader.ahead, observed: m.now - time.Hour}
	m.count["failover"]++
}

func (m *model) startServer() {
	s := &server{name: fmt.Sprint(m.rng.Uint32()), up: true, ahead: m.clockError(), private: map[string]jose.JSONWebKey{}}
	m.servers = append(m.servers, s)
	m.catchUp(s)
}

// catchUp is what a server does before it is ready: what it knows then is not older than Skew/2.
func (m *model) catchUp(s *server) {
	since := m.now - m.between(0, Skew/2-5*time.Second)
	for s.ring < len(m.rings)-1 && (m.rings[s.ring+1].at <= since || s.set == nil && s.ring == 0) {
		s.ring++
	}
	for s.spec < len(m.specs)-1 && m.specs[s.spec+1].at <= since {
		s.spec++
	}
	m.load(s)
}

func (m *model) load(s *server) {
	for _, key := range m.secrets {
		s.private[key.KeyID] = key
	}
	private := make([]jose.JSONWebKey, 0, len(s.private))
	for _, key := range s.private {
		private = append(private, key)
	}
	set, err := NewKeySet(m.rings[s.ring].Ring, private, m.specs[s.spec].Revoked...)
	if err != nil {
		m.fail("%v", err)
		return
	}
	s.set = set
}

// spread lets the servers that are not stuck hear what has changed.
func (m *model) spread() {
	for _, s := range m.servers {
		if m.now < s.stuck || (!m.quiet && m.chance(0.1)) {
			continue
		}
		if s.ring != len(m.rings)-1 || s.spec != len(m.specs)-1 {
			s.ring, s.spec = len(m.rings)-1, len(m.specs)-1
			m.load(s)
		}
	}
}

// wishes are the algorithms that a server signs by where the API names none.
func (m *model) wishes(s *server) []v1alpha1.SigningAlgorithm {
	return append(slices.Clone(m.specs[s.spec].Algorithms), modelAlgorithms...)
}

// serving are the ready endpoints.
func (m *model) serving() []*server {
	return slices.DeleteFunc(slices.Clone(m.servers), func(s *server) bool {
		_, signs := s.set.SigningKey(m.wishes(s)...)
		return !s.up || !signs
	})
}
