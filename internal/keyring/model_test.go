package keyring

import (
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
)

var (
	modelSeed  = flag.Uint64("model.seed", 0, "run the model with this seed alone")
	modelRuns  = flag.Uint64("model.runs", 4, "how many seeds the model is run with")
	modelSteps = flag.Int("model.steps", 10_000, "steps of virtual time in a run")
)

// TestModel plays issuers, verifiers and leaders that have every mishap which the design allows for, and asserts the
// invariants at every step: see model.check.
func TestModel(t *testing.T) {
	seeds := []uint64{*modelSeed}
	if *modelSeed == 0 {
		seeds = nil
		for seed := range *modelRuns {
			seeds = append(seeds, seed+1)
		}
	}
	for _, seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			m := newModel(seed, Step)
			if err := m.run(*modelSteps); err != nil {
				t.Fatalf("%v\n(again: go test ./internal/keyring -run TestModel -model.seed=%d -model.steps=%d)", err, seed, *modelSteps)
			}
			t.Logf("%s of virtual time: %v", m.now, m.count)
			for _, wanted := range []string{"rotation", "removal", "revocation", "failover", "crash", "conflict", "loss"} {
				if m.count[wanted] == 0 && *modelSteps >= 10_000 {
					t.Errorf("there was no %s in the whole run", wanted)
				}
			}
		})
	}
}

// mutants break the machine in one way each, from outside: they change what it sees, or what it decides.
var mutants = map[string]func(Ring, Memory, Input) Result{
	"no dwell": func(ring Ring, memory Memory, in Input) Result {
		return Step(ring, impatient(memory, v1alpha1.KeyAnnounced), in)
	},
	"a dwell of half the time": func(ring Ring, memory Memory, in Input) Result {
		memory = Memory{seen: maps.Clone(memory.seen), due: memory.due}
		for kid, e := range memory.seen {
			if e.state == v1alpha1.KeyAnnounced && in.Elapsed-e.since >= dwell/2 {
				e.done = true
				memory.seen[kid] = e
			}
		}
		return Step(ring, memory, in)
	},
	"activation without a look at the endpoints": func(ring Ring, memory Memory, in Input) Result {
		in.Endpoints = slices.Clone(in.Endpoints)
		for i := range in.Endpoints {
			in.Endpoints[i].Problem, in.Endpoints[i].KIDs = "", nil
			for _, key := range ring.Keys {
				in.Endpoints[i].KIDs = append(in.Endpoints[i].KIDs, key.KID)
			}
		}
		return Step(ring, memory, in)
	},
	"one endpoint is as good as all": func(ring Ring, memory Memory, in Input) Result {
		in.Endpoints = in.Endpoints[:min(1, len(in.Endpoints))]
		return Step(ring, memory, in)
	},
	"endpoints that cannot be asked do not count": func(ring Ring, memory Memory, in Input) Result {
		in.Endpoints = slices.DeleteFunc(slices.Clone(in.Endpoints), func(e Endpoint) bool { return e.Problem != "" })
		return Step(ring, memory, in)
	},
	"removal without a look at the endpoints": func(ring Ring, memory Memory, in Input) Result {
		in.Endpoints = slices.Clone(in.Endpoints)
		for i := range in.Endpoints {
			in.Endpoints[i].KeyRing, in.Endpoints[i].Problem = ring.Version(), ""
		}
		return Step(ring, memory, in)
	},
	"retired keys are removed early": func(ring Ring, memory Memory, in Input) Result {
		early := ring.clone()
		for i := range early.Keys {
			key := &early.Keys[i]
			if key.State == v1alpha1.KeyRetired {
				key.Lifetime.Duration = time.Second
			}
		}
		in.MaxLifetime = time.Second
		r := Step(early, memory, in)
		return restoreLifetimes(r, ring)
	},
	"tokens live as long as they may now": func(ring Ring, memory Memory, in Input) Result {
		short := ring.clone()
		for i := range short.Keys {
			short.Keys[i].Lifetime.Duration = in.MaxLifetime
		}
		return Step(short, memory, in)
	},
	"the wall clock alone": func(ring Ring, memory Memory, in Input) Result {
		in.Elapsed = in.Now.Sub(modelEpoch)
		return Step(ring, memory, in)
	},
	"a leader remembers what the last one saw of time": func(ring Ring, memory Memory, in Input) Result {
		for i := range ring.Keys { // the state in the ring is what it goes by
			key := ring.Keys[i]
			if key.State == v1alpha1.KeyAnnounced && in.Now.Sub(key.Since) >= dwell {
				memory = impatient(memory, v1alpha1.KeyAnnounced)
			}
		}
		return Step(ring, memory, in)
	},
	"the next key is announced late": func(ring Ring, memory Memory, in Input) Result {
		r := Step(ring, memory, in)
		for _, change := range r.Changes {
			if change.State == v1alpha1.KeyAnnounced && len(r.Changes) > 1 {
				r.Ring.drop(change.KID)
			}
		}
		return r
	},
	"an unpublished key signs": func(ring Ring, memory Memory, in Input) Result {
		r := Step(ring, memory, in)
		for _, change := range r.Changes {
			if next := r.Ring.in(change.Algorithm, v1alpha1.KeyAnnounced); change.State == v1alpha1.KeyRetired && next >= 0 {
				if active := r.Ring.in(change.Algorithm, v1alpha1.KeyActive); active >= 0 {
					keys := r.Ring.Keys
					keys[next].State, keys[active].State = v1alpha1.KeyActive, v1alpha1.KeyAnnounced
				}
			}
		}
		return r
	},
	"an active key is removed when it is not listed any more": func(ring Ring, memory Memory, in Input) Result {
		r := Step(ring, memory, in)
		for _, change := range r.Changes {
			if change.State == v1alpha1.KeyRetired && !slices.Contains(in.Algorithms, change.Algorithm) {
				r.Ring.drop(change.KID)
			}
		}
		return r
	},
	"an unlisted algorithm goes at once": func(ring Ring, memory Memory, in Input) Result {
		r := Step(ring, memory, in)
		for i := range r.Ring.Keys {
			if key := &r.Ring.Keys[i]; !slices.Contains(in.Algorithms, key.Algorithm) && key.State == v1alpha1.KeyActive {
				key.State, key.Since, r.Changed = v1alpha1.KeyRetired, in.Now, true
			}
		}
		return r
	},
	"an added algorithm signs at once": func(ring Ring, memory Memory, in Input) Result {
		r := Step(ring, memory, in)
		for _, change := range r.Changes {
			if change.State == v1alpha1.KeyAnnounced && r.Ring.in(change.Algorithm, v1alpha1.KeyActive) < 0 {
				r.Ring.Keys[r.Ring.in(change.Algorithm, v1alpha1.KeyAnnounced)].State = v1alpha1.KeyActive
			}
		}
		return r
	},
	"no bound": func(ring Ring, memory Memory, in Input) Result {
		var retired []Key
		visible := Ring{Revoked: ring.Revoked}
		for _, key := range ring.Keys {
			if key.State == v1alpha1.KeyRetired && !slices.Contains(in.Revoked, key.KID) && len(retired) < len(ring.Keys)-6 {
				retired = append(retired, key)
			} else {
				visible.Keys = append(visible.Keys, key)
			}
		}
		r := Step(visible, memory, in)
		for _, key := range retired {
			r.Ring.add(key)
		}
		return r
	},
	"revocation waits": func(ring Ring, memory Memory, in Input) Result {
		in.Revoked = nil
		return Step(ring, memory, in)
	},
}

// impatient is a memory in which everything was seen for long enough as soon as it was seen once.
func impatient(memory Memory, state v1alpha1.SigningKeyState) Memory {
	memory = Memory{seen: maps.Clone(memory.seen), due: memory.due}
	for kid, e := range memory.seen {
		if e.state == state && e.begun {
			e.done = true
			memory.seen[kid] = e
		}
	}
	return memory
}

func restoreLifetimes(r Result, from Ring) Result {
	r.Changed = len(r.Changes) > 0
	for i := range r.Ring.Keys {
		for _, key := range from.Keys {
			if key.KID == r.Ring.Keys[i].KID {
				r.Ring.Keys[i].Lifetime = key.Lifetime
			}
		}
	}
	return r
}

// TestModelCatchesMutants: a model that notices nothing proves nothing.
func TestModelCatchesMutants(t *testing.T) {
	for name, mutant := range mutants {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for seed := uint64(1); seed <= 40; seed++ {
				if err := newModel(seed, mutant).run(4000); err != nil {
					t.Logf("seed %d: %v", seed, err)
					return
				}
			}
			t.Error("40 runs found nothing wrong with it")
		})
	}
}

var modelEpoch = time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)

// model is a cluster with its verifiers. Its clock is the true time since modelEpoch; who has a clock of his own is off
// by something.
type model struct {
	rng   *rand.Rand
	step  func(Ring, Memory, Input) Result
	now   time.Duration
	count map[string]int
	err   error
	quiet bool // no more mishaps

	specs   []spec   // the TokenIssuer, with what it was before
	rings   []stored // the ConfigMap, with what it was before
	secrets map[Slot]jose.JSONWebKey
	keys    uint64 // made so far

	leader    leader
	servers   []*server
	verifiers [3]*verifier

	tokens    map[string]token // by kid: one that lives the longest
	emergency map[v1alpha1.SigningAlgorithm]bool
	excused   map[string]bool // kids that had to sign before everybody knew them
}

type spec struct {
	Policy
	at time.Duration
}

type stored struct {
	Ring
	at time.Duration
}

// leader is the manager that leads. What it remembers goes with it.
type leader struct {
	memory   Memory
	begun    time.Duration
	ahead    time.Duration // its wall clock
	observed time.Duration
	away     time.Duration // until then nobody leads
}

// server is an issuer.
type server struct {
	name       string
	up         bool // as far as it depends on the node
	stuck      time.Duration
	ahead      time.Duration
	spec, ring int // which it has taken in
	private    map[string]jose.JSONWebKey
	set        *KeySet
}

// verifier keeps a JWKS for as long as it may and asks for no other before.
type verifier struct {
	ahead   time.Duration
	fetched time.Duration
	kids    []string // nil: none yet
}

type token struct {
	algorithm v1alpha1.SigningAlgorithm
	expiry    time.Duration // by the clock of who signed it
}

var modelAlgorithms = []v1alpha1.SigningAlgorithm{v1alpha1.ES256, v1alpha1.RS256, v1alpha1.PS256, v1alpha1.EdDSA}

func newModel(seed uint64, step func(Ring, Memory, Input) Result) *model {
	m := &model{
		rng: rand.New(rand.NewPCG(seed, 6)), step: step, count: map[string]int{}, secrets: map[Slot]jose.JSONWebKey{},
		tokens: map[string]token{}, emergency: map[v1alpha1.SigningAlgorithm]bool{}, excused: map[string]bool{},
		rings: []stored{{}},
	}
	m.specs = []spec{{Policy: Policy{
		Algorithms: modelAlgorithms[:1+m.rng.IntN(2)], Interval: 20 * time.Minute, MaxLifetime: 20 * time.Minute,
	}}}
	m.lead()
	for len(m.ring().Keys) == 0 {
		m.manage()
	}
	for range 3 {
		m.startServer()
	}
	for i := range m.verifiers {
		m.verifiers[i] = &verifier{ahead: m.clockError(), fetched: -time.Hour}
	}
	return m
}

func (m *model) fail(format string, args ...any) {
	if m.err == nil {
		m.err = fmt.Errorf("at %s: "+format, append([]any{m.now}, args...)...)
	}
}

func (m *model) chance(p float64) bool { return m.rng.Float64() < p }

// between draws a duration, in whole seconds.
func (m *model) between(low, high time.Duration) time.Duration {
	return low + time.Duration(m.rng.Int64N(int64((high-low)/time.Second)+1))*time.Second
}

func (m *model) clockError() time.Duration { return m.between(-60*time.Second, 60*time.Second) }

func (m *model) policy() Policy { return m.specs[len(m.specs)-1].Policy }
func (m *model) ring() Ring     { return m.rings[len(m.rings)-1].Ring }

func (m *model) revoked(kid string) bool { return slices.Contains(m.policy().Revoked, kid) }

func (m *model) run(steps int) error {
	for i := 0; i < steps && m.err == nil; i++ {
		if i%400 < 390 { // the manager can see a dwell through
			m.now += m.between(time.Second, 12*time.Second)
		} else {
			m.now += m.between(time.Second, 15*time.Minute)
		}
		m.live()
	}
	m.quiet = true
	for _, s := range m.servers {
		s.stuck, s.up = 0, true
	}
	for len(m.servers) < 2 {
		m.startServer()
	}
	m.leader.away = 0
	for i := 0; i < 1500 && m.err == nil; i++ { // an hour and more: as long as any token lives
		m.now += 5 * time.Second
		m.live()
	}
	if m.err == nil && !m.ring().Current(m.policy()) {
		m.fail("long after all was well, the keys are not those that the policy asks for: %s", m.describe())
	}
	return m.err
}

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
	for _, algorithm := range modelAlgorithms {
		if i := m.ring().in(algorithm, v1alpha1.KeyActive); m.emergency[algorithm] {
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
