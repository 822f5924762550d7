//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
)

// revoke names keys in revokedKeys, the one that signs first, and measures in each pod, asked at its own address, how long
// after the API server accepted that it is heeded. No request may fail for it.
func (c *caller) revoke(t *testing.T, title string, kids ...string) {
	t.Helper()
	next := signingKey(t, v1alpha1.KeyAnnounced)
	token := c.token(t, c.at(doors(t)["Service"]))
	if signer, err := kidOf(token); signer != kids[0] {
		t.Fatalf("%s signs, not %s: %v", signer, kids[0], err)
	}
	pods := doors(t)
	delete(pods, "Service")
	if len(pods) != 2 {
		t.Fatalf("%d issuer pods", len(pods))
	}
	var witnesses []witness
	for pod, address := range pods {
		at := c.at(address)
		witnesses = append(witnesses,
			witness{pod, "the JWKS no longer holds it", func(ctx context.Context) (bool, error) { return c.unpublished(ctx, at, kids, next) }},
			witness{pod, "introspection calls its tokens inactive", func(ctx context.Context) (bool, error) { return c.inactive(ctx, at, token) }},
			witness{pod, "the next key signs", func(ctx context.Context) (bool, error) { return c.signedBy(ctx, at, kids[0], next) }})
	}
	for _, w := range witnesses {
		if heeded, err := w.sees(t.Context()); heeded || err != nil {
			t.Fatalf("%s: before the key is revoked, %s: %t %v", w.pod, w.what, heeded, err)
		}
	}
	changeIssuer(t, func(issuer *v1alpha1.TokenIssuer) {
		for _, kid := range kids {
			issuer.Spec.Signing.RevokedKeys = append(issuer.Spec.Signing.RevokedKeys, v1alpha1.KeyID(kid))
		}
	})
	for what, took := range slowestToSee(t, witnesses) {
		say("%s: in every pod %s within %s", title, what, took.Round(time.Millisecond))
		if took > time.Second {
			t.Errorf("%s: %s after %s", title, what, took)
		}
	}
}

// revokeAndAwait lets the manager do its part, too.
func (c *caller) revokeAndAwait(t *testing.T, title string, kids ...string) {
	t.Helper()
	next := signingKey(t, v1alpha1.KeyAnnounced)
	c.revoke(t, title, kids...)
	await(t, 30*time.Second, "another next key", func(context.Context) string {
		if active, announced := signingKey(t, v1alpha1.KeyActive), signingKey(t, v1alpha1.KeyAnnounced); active != next || announced == "" {
			return fmt.Sprintf("active is %q, not %s; announced is %q", active, next, announced)
		}
		return ""
	})
}

// witness asks one pod one question: whether it heeds a revocation.
type witness struct {
	pod, what string
	sees      func(context.Context) (bool, error)
}

// slowestToSee is how long after now each question is answered with yes by every pod.
func slowestToSee(t *testing.T, witnesses []witness) map[string]time.Duration {
	accepted := time.Now()
	slowest := map[string]time.Duration{}
	var wait sync.WaitGroup
	var lock sync.Mutex
	for _, w := range witnesses {
		wait.Go(func() {
			for {
				heeded, err := w.sees(t.Context())
				took := time.Since(accepted)
				switch {
				case err != nil:
					t.Errorf("%s: whether %s: %v", w.pod, w.what, err)
					return
				case heeded:
					lock.Lock()
					slowest[w.what] = max(slowest[w.what], took)
					lock.Unlock()
					return
				case took > 10*time.Second:
					t.Errorf("%s: %s: not within %s", w.pod, w.what, took)
					return
				}
				time.Sleep(5 * time.Millisecond)
			}
		})
	}
	wait.Wait()
	return slowest
}

// unpublished reports whether the JWKS holds none of the keys, and fails unless it holds the next one.
func (c *caller) unpublished(ctx context.Context, at *http.Client, kids []string, next string) (bool, error) {
	var keys jose.JSONWebKeySet
	if err := c.request(ctx, at, "/oauth2/jwks", nil, &keys); err != nil {
		return false, err
	}
	if len(keys.Key(next)) == 0 {
		return false, fmt.Errorf("the JWKS does not hold the next key %s", next)
	}
	return !slices.ContainsFunc(kids, func(kid string) bool { return len(keys.Key(kid)) > 0 }), nil
}

func (c *caller) inactive(ctx context.Context, at *http.Client, token string) (bool, error) {
	answer := struct{ Active *bool }{}
	if err := c.request(ctx, at, "/oauth2/introspect", url.Values{"token": {token}}, &answer); err != nil {
		return false, err
	}
	if answer.Active == nil {
		return false, errors.New("introspection does not say")
	}
	return !*answer.Active, nil
}

// signedBy reports whether the next key signs, and fails if it is another one than that or the one before.
func (c *caller) signedBy(ctx context.Context, at *http.Client, before, next string) (bool, error) {
	token, err := c.newToken(ctx, at)
	if err != nil {
		return false, err
	}
	kid, err := kidOf(token)
	if err == nil && kid != before && kid != next {
		err = fmt.Errorf("%s signs, and neither %s nor %s", kid, before, next)
	}
	return kid == next, err
}

// request gets a document, or posts a form as the caller.
func (c *caller) request(ctx context.Context, at *http.Client, path string, form url.Values, document any) error {
	method := http.MethodGet
	if form != nil {
		method = http.MethodPost
	}
	request, err := http.NewRequestWithContext(ctx, method, "https://"+host+path, strings.NewReader(form.Encode()))
	if err != nil {
		return err
	}
	if form != nil {
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		request.SetBasicAuth(url.QueryEscape(c.id), url.QueryEscape(c.secret))
	}
	response, err := at.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", path, response.Status)
	}
	return json.NewDecoder(response.Body).Decode(document)
}

// signingKey is the oldest ES256 key in a state, by kid; "" if there is none.
func signingKey(t *testing.T, state v1alpha1.SigningKeyState) string {
	t.Helper()
	for _, key := range defaultIssuer(t).Status.Keys {
		if key.Algorithm == v1alpha1.ES256 && key.State == state {
			return key.KID
		}
	}
	return ""
}

func kidOf(token string) (string, error) {
	parsed, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{jose.ES256, jose.RS256, jose.PS256, jose.EdDSA})
	if err != nil {
		return "", err
	}
	return parsed.Signatures[0].Header.KeyID, nil
}
