package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

// credential is what the M2MClient's Secret holds.
type credential struct {
	clientID, clientSecret, tokenEndpoint, issuer string
	authority                                     []byte
}

func readCredential(data map[string][]byte) (credential, error) {
	for _, key := range []string{"client_id", "client_secret", "token_endpoint", "issuer", "ca.crt"} {
		if len(data[key]) == 0 {
			return credential{}, fmt.Errorf("the credential Secret has no %s", key)
		}
	}
	return credential{
		clientID: string(data["client_id"]), clientSecret: string(data["client_secret"]),
		tokenEndpoint: string(data["token_endpoint"]), issuer: string(data["issuer"]), authority: data["ca.crt"],
	}, nil
}

// httpClient trusts the issuer's own authority and nothing else, and asks every address for the issuer's name.
func (c credential) httpClient() (*http.Client, error) {
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(c.authority) {
		return nil, errors.New("ca.crt holds no certificate")
	}
	issuer, err := url.Parse(c.issuer)
	if err != nil {
		return nil, err
	}
	return &http.Client{
		Timeout: 5 * time.Second,
		Transport: &http.Transport{
			TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: issuer.Hostname(), MinVersion: tls.VersionTLS12},
		},
	}, nil
}

// tokenAnswer is what a token endpoint says.
type tokenAnswer struct {
	Status      int    `json:"-"`
	AccessToken string `json:"access_token"`
	ExpiresIn   int    `json:"expires_in"`
	Scope       string `json:"scope"`
	Error       string `json:"error"`
	Description string `json:"error_description"`
}

func (a tokenAnswer) String() string {
	if a.Status == http.StatusOK {
		return fmt.Sprintf("200, scope %q", a.Scope)
	}
	return fmt.Sprintf("%d %s: %s", a.Status, a.Error, a.Description)
}

// requestToken asks one token endpoint, as RFC 6749 section 4.4 says.
func (c credential) requestToken(ctx context.Context, via *http.Client, endpoint string) (tokenAnswer, error) {
	form := url.Values{"grant_type": {"client_credentials"}, "audience": {audience}, "scope": {scope}}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, endpoint, strings.NewReader(form.Encode()))
	if err != nil {
		return tokenAnswer{}, err
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	request.SetBasicAuth(c.clientID, c.clientSecret)
	response, err := via.Do(request)
	if err != nil {
		return tokenAnswer{}, err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	if err != nil {
		return tokenAnswer{}, err
	}
	answer := tokenAnswer{Status: response.StatusCode}
	if err := json.Unmarshal(text, &answer); err != nil {
		return tokenAnswer{}, fmt.Errorf("the token endpoint answered %s and no JSON: %w", response.Status, err)
	}
	return answer, nil
}

// expectation of a token answer.
type expectation struct {
	status int
	code   string
}

func (e expectation) met(a tokenAnswer) bool {
	// Whoever is refused as often as we are while we wait is throttled, which is a refusal too.
	throttled := e == refusedClient && a.Status == http.StatusTooManyRequests
	return throttled || (a.Status == e.status && a.Error == e.code)
}

var (
	granted       = expectation{http.StatusOK, ""}
	refusedTarget = expectation{http.StatusBadRequest, "invalid_target"}
	refusedClient = expectation{http.StatusUnauthorized, "invalid_client"}
)

const (
	// promise is how fast a change must count.
	promise = time.Second
	// askInterval between two token requests to one issuer while a change is on its way.
	askInterval = 2 * time.Millisecond
	// confirmations in a row, before an issuer is believed to have changed its mind for good.
	confirmations = 5
)

// takeEffect makes a change while asking each issuer for tokens all the time, and says how long after the API server's
// answer each of them, asked directly, answered otherwise for good: 0 if it knew before the answer had arrived.
func (c credential) takeEffect(
	ctx context.Context, endpoints []string, from, to expectation, change func(context.Context) error,
) ([]time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	var asking, warm sync.WaitGroup
	switched := make([]time.Time, len(endpoints))
	failures := make([]error, len(endpoints))
	warm.Add(len(endpoints))
	for i, endpoint := range endpoints {
		asking.Go(func() {
			warmOnce := sync.OnceFunc(warm.Done)
			defer warmOnce()
			switched[i], failures[i] = c.askUntil(ctx, endpoint, from, to, warmOnce)
		})
	}
	warm.Wait() // connections are made, and the answer is still the old one
	err := change(ctx)
	accepted := time.Now()
	if err != nil {
		cancel()
	}
	asking.Wait()
	if err != nil {
		return nil, err
	}
	delays := make([]time.Duration, len(endpoints))
	for i := range endpoints {
		if failures[i] != nil {
			return nil, fmt.Errorf("issuer %d: %w", i+1, failures[i])
		}
		if delays[i] = max(0, switched[i].Sub(accepted)); delays[i] > promise {
			return delays, fmt.Errorf("issuer %d took %s, and %s is what is promised", i+1, delays[i], promise)
		}
	}
	return delays, nil
}

// askUntil asks until the answer has changed for good, and says when it first was the new one.
func (c credential) askUntil(
	ctx context.Context, endpoint string, from, to expectation, first func(),
) (switched time.Time, err error) {
	via, err := c.httpClient()
	if err != nil {
		return time.Time{}, err
	}
	defer via.CloseIdleConnections()
	for inARow := 0; inARow < confirmations; {
		answer, err := c.requestToken(ctx, via, endpoint)
		switch {
		case err != nil:
			return time.Time{}, err
		case to.met(answer):
			if inARow == 0 {
				switched = time.Now()
			}
			inARow++
		case from.met(answer):
			inARow = 0
		default:
			return time.Time{}, fmt.Errorf("unexpected answer: %s", answer)
		}
		first()
		select {
		case <-ctx.Done():
			return time.Time{}, fmt.Errorf("the last answer was %s: %w", answer, ctx.Err())
		case <-time.After(askInterval):
		}
	}
	return switched, nil
}
