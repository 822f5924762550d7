package keyring

import (
	"flag"
	"fmt"
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
