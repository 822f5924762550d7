package tokens

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/test/bench/report"
)

// The sections of the table.
const (
	sectionRaw           = "bare server over raw signature"
	sectionToken         = "token"
	sectionKinds         = "kinds of token requests"
	sectionRefused       = "refused request"
	sectionIntrospection = "introspection"
	sectionJWKS          = "jwks, not modified"
	sectionSizes         = "number of clients"
	sectionAllocations   = "allocations"
	sectionLatency       = "latency at half of saturation"
)

// How many requests a probe sends in a round: it must be so many that the garbage collector has come once or twice, which
// with many clients it does rarely. RSA takes its time.
const (
	ordinaryNumber = 9000
	rsaNumber      = 1500
	sizesNumber    = 15000
	usualClients   = 1000
)

var sizes = []int{10, 1000, 10000, 50000}

// setup is the processes that are measured, and what the load needs.
type setup struct {
	secrets
	world   world
	bare    *process
	issuer  *process         // with the usual number of clients
	issuers map[int]*process // by the number of clients
}

func newSetup(ctx context.Context, on *processors) (*setup, error) {
	s := &setup{issuers: map[int]*process{}}
	var err error
	if s.world, s.secrets, err = newWorld(time.Now()); err != nil {
		return s, err
	}
	if s.bare, err = start(ctx, on, RoleBare, s.world); err != nil {
		return s, err
	}
	for _, clients := range sizes {
		w := s.world
		w.Clients = clients
		if s.issuers[clients], err = start(ctx, on, RoleIssuer, w); err != nil {
			return s, err
		}
	}
	s.issuer = s.issuers[usualClients]
	return s, nil
}

func (s *setup) stop() error {
	var err error
	for _, p := range s.issuers {
		if p != nil { // it has come up
			err = errors.Join(err, p.stop())
		}
	}
	if s.bare != nil {
		err = errors.Join(err, s.bare.stop())
	}
	return err
}

// groups are all that is measured in CPU time.
func (s *setup) groups() ([]*group, error) {
	signers, err := newSigners(s.world)
	if err != nil {
		return nil, err
	}
	input := make([]byte, signedSize)
	var groups []*group
	for _, algorithm := range algorithms {
		sign := &raw{name: "raw " + string(algorithm), n: ordinaryNumber, work: func() error { return signers[algorithm](input) }}
		goal := 1.25
		if algorithm == v1alpha1.RS256 {
			sign.n, goal = rsaNumber, 1.03
		}
		floor := s.floor(algorithm, false)
		groups = append(groups, &group{section: sectionRaw, limit: sign.name, raw: sign, probes: []probe{named(string(algorithm)+", HTTP", *floor)}})
		for _, secure := range []bool{false, true} {
			token := s.token(string(algorithm)+transport(secure), special(string(algorithm), "read"))
			token.secure, token.n = secure, floor.n
			groups = append(groups, &group{section: sectionToken, algorithm: algorithm, limit: "floor", bare: s.floor(algorithm, secure), goal: goal, probes: []probe{token}})
		}
	}
	more, err := s.others()
	return append(append(groups, s.kinds()...), more...), err
}

func transport(secure bool) string {
	if secure {
		return ", TLS"
	}
	return ", HTTP"
}

func named(name string, p probe) probe {
	p.name = name
	return p
}

// floor is the bare server that signs.
func (s *setup) floor(algorithm v1alpha1.SigningAlgorithm, secure bool) *probe {
	p := &probe{
		name: "floor " + string(algorithm), server: s.bare, secure: secure, status: http.StatusOK,
		of: same(pathSign+string(algorithm), special(string(algorithm), "read")), n: ordinaryNumber,
	}
	if algorithm == v1alpha1.RS256 {
		p.n = rsaNumber
	}
	return p
}

// token is requests for tokens that are granted.
func (s *setup) token(name string, of requests) probe {
	return probe{name: name, server: s.issuer, status: http.StatusOK, of: of, n: ordinaryNumber}
}

// kinds are token requests of every kind, by plain HTTP and ES256.
func (s *setup) kinds() []*group {
	floor := s.floor(v1alpha1.ES256, false)
	verify := verification()
	verifyRSA := verificationRSA()
	byKey := s.token("private_key_jwt, ES256", s.privateKey())
	byAccount := s.token("ServiceAccount token, RS256", s.serviceAccount())
	return []*group{
		{section: sectionKinds, limit: "floor", bare: floor, probes: []probe{
			s.token("1 scope", ordinary(usualClients)),
			s.token("16 scopes", special("scopes-16", joined(16))),
			s.token("256 scopes", special("scopes-256", joined(256))),
			s.token("hierarchical scopes", special("hierarchical", "courses:17:read lessons:read rooms")),
			s.token("three rules, three claims", special("expressions", "read")),
		}},
		{section: sectionKinds, limit: "floor and " + verify.name, bare: floor, raw: verify, probes: []probe{byKey}},
		{section: sectionKinds, limit: "floor and " + verifyRSA.name, bare: floor, raw: verifyRSA, probes: []probe{byAccount}},
	}
}

// others are refusals, introspection, keys, and many clients.
func (s *setup) others() ([]*group, error) {
	tokens, err := s.tokens(fewClients)
	if err != nil {
		return nil, err
	}
	etag, err := s.etag()
	if err != nil {
		return nil, err
	}
	answered := func(name, path string, status int, like requests) *probe {
		return &probe{name: name, server: s.bare, status: status, of: same(path, like), n: ordinaryNumber}
	}
	refused := func(name string, status int, of requests) probe {
		return probe{name: name, server: s.issuer, status: status, of: of, n: ordinaryNumber}
	}
	keys := each(func(int) []byte { return get(v1alpha1.PathJWKS, etag) })
	asked := introspections(tokens)
	groups := []*group{
		{section: sectionRefused, limit: "fixed 401", bare: answered("fixed 401", pathUnauthorized, http.StatusUnauthorized, unknownClients()), goal: 1.3, probes: []probe{
			refused("unknown client", http.StatusUnauthorized, unknownClients()),
			refused("wrong secret", http.StatusUnauthorized, wrongSecrets(usualClients)),
			refused("bad form", http.StatusBadRequest, badForms()),
		}},
		{section: sectionIntrospection, limit: "bare server and raw verification", bare: answered("bare", pathIntrospect, http.StatusOK, asked), raw: verification(), goal: 1.5,
			probes: []probe{refused("active, ES256", http.StatusOK, asked)}},
		{section: sectionJWKS, limit: "bare server", bare: answered("bare", pathJWKS, http.StatusNotModified, keys), goal: 1.2,
			probes: []probe{refused("If-None-Match", http.StatusNotModified, keys)}},
	}
	few := named("few", s.token("", ordinary(sizes[0])))
	few.server, few.n = s.issuers[sizes[0]], sizesNumber
	many := &group{section: sectionSizes, limit: fmt.Sprintf("%d clients", sizes[0]), bare: &few, goal: 1.1}
	for _, clients := range sizes[1:] {
		p := s.token(fmt.Sprintf("%d clients", clients), ordinary(clients))
		p.server, p.n = s.issuers[clients], sizesNumber
		many.probes = append(many.probes, p)
	}
	return append(groups, many), nil
}

// verification of an ES256 signature, raw.
func verification() *raw {
	key, digest := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)), sha256.Sum256(nil)
	signature := must(ecdsa.SignASN1(rand.Reader, key, digest[:]))
	return &raw{name: "raw verification", n: ordinaryNumber, work: func() error {
		if !ecdsa.VerifyASN1(&key.PublicKey, digest[:], signature) {
			return errors.New("it does not verify")
		}
		return nil
	}}
}

// verificationRSA of an RS256 signature, raw.
func verificationRSA() *raw {
	key, digest := must(rsa.GenerateKey(rand.Reader, 2048)), sha256.Sum256(nil)
	signature := must(rsa.SignPKCS1v15(nil, key, crypto.SHA256, digest[:]))
	return &raw{name: "raw verification", n: ordinaryNumber, work: func() error {
		return rsa.VerifyPKCS1v15(&key.PublicKey, crypto.SHA256, digest[:], signature)
	}}
}

// must is for what fails only when the system has no randomness.
func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// tokens gets some, to introspect.
func (s *setup) tokens(n int) (all []string, err error) {
	over, err := open(s.issuer, false, 1)
	if err != nil {
		return nil, err
	}
	defer over.close()
	for _, request := range special(string(v1alpha1.ES256), "read")(0, n) {
		status, body, err := over[0].ask(request)
		if err != nil || status != http.StatusOK {
			return nil, fmt.Errorf("no token: %d %s %w", status, body, err)
		}
		var answer struct {
			AccessToken string `json:"access_token"`
		}
		if err := json.Unmarshal(body, &answer); err != nil {
			return nil, err
		}
		all = append(all, answer.AccessToken)
	}
	return all, nil
}

// etag of the keys.
func (s *setup) etag() (string, error) {
	response, err := http.Get("http://" + s.issuer.Plain + v1alpha1.PathJWKS) //nolint:noctx // it is our own process
	if err != nil {
		return "", err
	}
	return response.Header.Get("Etag"), response.Body.Close()
}

// allowedAllocations a token, besides those in the standard library's signature.
const allowedAllocations = 60

// allocations of token requests, which were counted on the way, and those in the signatures, which nobody can save.
func (s *setup) allocations(groups []*group) ([]report.Row, error) {
	signers, err := newSigners(s.world)
	if err != nil {
		return nil, err
	}
	input := make([]byte, signedSize)
	var rows []report.Row
	for _, g := range groups {
		if g.section != sectionToken || len(g.limits) == 0 {
			continue
		}
		inSignature := testing.AllocsPerRun(100, func() { err = errors.Join(err, signers[g.algorithm](input)) })
		row := func(name string, goal, less float64, costs []cost) {
			var counts, limits []float64
			for _, c := range costs {
				counts, limits = append(counts, c.allocations-less), append(limits, allowedAllocations)
			}
			rows = append(rows, report.NewRow(sectionAllocations, name, "per request", counts, "allowed", limits, goal))
		}
		row(g.probes[0].name+", floor, all", 0, 0, g.limits)
		row(g.probes[0].name+", all", 0, 0, g.measured[0])
		row(g.probes[0].name+", besides the signature's", 1, inSignature, g.measured[0])
	}
	return rows, err
}

// profile saves what the issuer does while it answers each sort of request.
func (s *setup) profile(o Options) error {
	tokens, err := s.tokens(fewClients)
	if err != nil {
		return err
	}
	for _, p := range []struct {
		name   string
		of     requests
		status int
	}{
		{"token", ordinary(usualClients), http.StatusOK},
		{"refused", unknownClients(), http.StatusUnauthorized},
		{"introspection", introspections(tokens), http.StatusOK},
	} {
		if err := s.profileOf(filepath.Join(o.Profiles, "bench-"+p.name), p.of(o.Rounds, int(sizesNumber*o.Scale)), p.status); err != nil {
			return fmt.Errorf("profile of %s: %w", p.name, err)
		}
	}
	return nil
}

// profileOf saves what the issuer does while it answers these requests, to files that begin so.
func (s *setup) profileOf(path string, all [][]byte, status int) (err error) {
	over, err := open(s.issuer, false, connections)
	if err != nil {
		return err
	}
	defer over.close()
	if _, err := s.issuer.order(commandProfile + " " + path + "-cpu.pprof"); err != nil {
		return err
	}
	if err := over.send(all, status); err != nil {
		return err
	}
	if _, err := s.issuer.order(commandStopProfile); err != nil {
		return err
	}
	_, err = s.issuer.order(commandHeap + " " + path + "-heap.pprof")
	return err
}

// joined are the names of so many scopes, as a request asks for them.
func joined(n int) string {
	var names []string
	for _, name := range manyScopes(n) {
		names = append(names, string(name))
	}
	return strings.Join(names, " ")
}
