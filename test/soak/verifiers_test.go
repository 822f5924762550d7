//go:build soak

package soak

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"
)

// howMany verifiers there are. They fetch the JWKS one after the other, and each keeps it for the whole of its max-age.
const howMany = 5

// verifiers meet every token when it is issued; every twentieth, and the first of each key, again with each newer JWKS.
type verifiers struct {
	mu              sync.Mutex
	sets            [howMany]*oidc.IDTokenVerifier
	kept            []string
	signed, refused map[string]int // by kid: tokens, and times that one was refused
	checks          int
}

var errRefused = errors.New("a verifier refused the token")

func (v *verifiers) verify(token string) error {
	parsed, err := jose.ParseSignedCompact(token, algorithms)
	if err != nil {
		return fmt.Errorf("not a token: %w", err)
	}
	kid := parsed.Signatures[0].Header.KeyID
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.signed == nil {
		v.signed, v.refused = map[string]int{}, map[string]int{}
	}
	if v.signed[kid]++; v.signed[kid]%20 == 1 {
		v.kept = append(v.kept, token)
	}
	for _, set := range v.sets {
		if set != nil { // that verifier's first turn is yet to come
			err = errors.Join(err, v.check(set, token, kid))
		}
	}
	return err
}

func (v *verifiers) check(set *oidc.IDTokenVerifier, token, kid string) error {
	v.checks++
	_, err := set.Verify(ctx, token)
	if err == nil {
		return nil
	}
	v.refused[kid]++
	return fmt.Errorf("%w of key %s: %w", errRefused, kid, err)
}

// keep fetches a JWKS for one verifier after the other. The clock of keys goes faster here.
func (v *verifiers) keep(ctx context.Context, fetch func() (*http.Response, error), count func(time.Duration, error)) {
	next := time.Now()
	for turn := 0; ctx.Err() == nil; turn++ {
		begin := time.Now()
		set, maxAge, err := parseJWKS(fetch())
		if err == nil {
			err = v.replace(turn, set)
		}
		count(time.Since(begin), err)
		next = next.Add(max(maxAge/haste/howMany, time.Second))
		select {
		case <-ctx.Done():
		case <-time.After(time.Until(next)):
		}
	}
}

func (v *verifiers) replace(turn int, set *oidc.IDTokenVerifier) (err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.sets[turn%howMany] = set
	for _, token := range v.kept {
		err = errors.Join(err, v.check(set, token, "of before"))
	}
	return err
}

func parseJWKS(response *http.Response, err error) (*oidc.IDTokenVerifier, time.Duration, error) {
	if err != nil {
		return nil, 0, fmt.Errorf("fetch JWKS: %w", err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, 0, fmt.Errorf("fetch JWKS: %s", response.Status)
	}
	var keys keySet
	if err := json.NewDecoder(response.Body).Decode(&keys); err != nil {
		return nil, 0, fmt.Errorf("fetch JWKS: %w", err)
	}
	maxAge, err := maxAgeOf(response.Header.Get("Cache-Control"))
	return oidc.NewVerifier(issuerURL, keys, &oidc.Config{ClientID: audience, SupportedSigningAlgs: []string{oidc.ES256}}), maxAge, err
}

func maxAgeOf(cacheControl string) (time.Duration, error) {
	for directive := range strings.SplitSeq(cacheControl, ",") {
		if text, ok := strings.CutPrefix(strings.TrimSpace(directive), "max-age="); ok {
			seconds, err := strconv.Atoi(text)
			return time.Duration(seconds) * time.Second, err
		}
	}
	return 0, errors.New("the JWKS has no max-age")
}

var algorithms = []jose.SignatureAlgorithm{jose.ES256}

// keySet of go-oidc that asks for no other keys, whatever kid it meets.
type keySet struct{ jose.JSONWebKeySet }

// VerifySignature by the key that the token names.
func (k keySet) VerifySignature(_ context.Context, token string) ([]byte, error) {
	parsed, err := jose.ParseSignedCompact(token, algorithms)
	if err != nil {
		return nil, err
	}
	return parsed.Verify(k.JSONWebKeySet)
}

// judge fails if a token was refused, or none was checked.
func (v *verifiers) judge(t testing.TB) {
	t.Helper()
	v.mu.Lock()
	defer v.mu.Unlock()
	measured("tokens by key: %v, verified %d times with the JWKS of %d verifiers; refused: %v", v.signed, v.checks, howMany, v.refused)
	if v.checks == 0 || len(v.refused) > 0 {
		t.Errorf("%d checks, refused by key: %v", v.checks, v.refused)
	}
}
