package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"
)

// verifiers are how many keep a JWKS, each for the whole of its max-age. They fetch it one after the other, at equal
// distances in time.
const verifiers = 15

// archive has every token that was issued. Each is verified by every verifier when it comes, and again whenever a
// verifier has another JWKS. None of them lives less than an hour, which nobody waits for.
type archive struct {
	mu              sync.Mutex
	tokens          []archived // grows, and nothing in it changes
	sets            [verifiers]*oidc.IDTokenVerifier
	signed, refused map[string]int // by kid: tokens, and times that a verifier refused one
	// fetched is how many JWKS were fetched, checked by how many of these every token of before was verified.
	fetched, checked int
}

type archived struct{ token, kid string }

func (a *archive) sumUp(line map[string]any) {
	a.mu.Lock()
	defer a.mu.Unlock()
	line["signed"], line["refused"] = maps.Clone(a.signed), maps.Clone(a.refused)
	line["fetched"], line["checked"] = a.fetched, a.checked
}

func (a *archive) add(ctx context.Context, token string) error {
	parsed, err := jose.ParseSignedCompact(token, algorithms)
	if err != nil {
		return fmt.Errorf("not a token: %w", err)
	}
	one := archived{token, parsed.Signatures[0].Header.KeyID}
	a.mu.Lock()
	a.tokens = append(a.tokens, one)
	a.signed[one.kid]++
	sets := a.sets
	a.mu.Unlock()
	for _, set := range sets {
		if set != nil { // that verifier's first turn is yet to come
			a.verify(ctx, set, one)
		}
	}
	return nil
}

func (a *archive) verify(ctx context.Context, by *oidc.IDTokenVerifier, one archived) {
	if _, err := by.Verify(ctx, one.token); err != nil {
		a.mu.Lock()
		defer a.mu.Unlock()
		if a.refused[one.kid]++; a.refused[one.kid] == 1 {
			printLine(map[string]any{"refused": err.Error(), "kid": one.kid})
		}
	}
}

// replace gives a verifier another JWKS.
func (a *archive) replace(ctx context.Context, turn int, set *oidc.IDTokenVerifier) {
	a.mu.Lock()
	a.sets[turn%verifiers] = set
	a.fetched++
	before := a.tokens
	a.mu.Unlock()
	for _, one := range before {
		if ctx.Err() == nil {
			a.verify(context.WithoutCancel(ctx), set, one)
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.checked++
}

// keepSets fetches a JWKS for one verifier after the other, so that each has it for its whole max-age.
func (l *loader) keepSets(ctx context.Context) {
	client := &http.Client{Timeout: timeout, Transport: l.transport(false, true)}
	next := time.Now()
	for turn := 0; ctx.Err() == nil; turn++ {
		set, maxAge, err := l.fetch(ctx, client)
		if err != nil {
			l.fail(map[string]any{"failure": err.Error(), "started": next})
			maxAge = time.Minute // for want of another one; it has failed for good
		} else {
			l.archive.replace(ctx, turn, set)
		}
		next = next.Add(maxAge / verifiers)
		select {
		case <-time.After(time.Until(next)):
		case <-ctx.Done():
		}
	}
}

// fetch gets a verifier that knows the keys of now, and no others ever.
func (l *loader) fetch(ctx context.Context, client *http.Client) (*oidc.IDTokenVerifier, time.Duration, error) {
	m, err := l.mounted()
	if err != nil {
		return nil, 0, err
	}
	request, err := http.NewRequestWithContext(context.WithoutCancel(ctx), http.MethodGet, m.jwksURI(), nil)
	if err != nil {
		return nil, 0, err
	}
	response, err := client.Do(request)
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
	return l.verifier(m.issuer, keys), maxAge, err
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

var algorithms = []jose.SignatureAlgorithm{jose.ES256, jose.RS256, jose.PS256, jose.EdDSA}

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
