package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
)

var (
	// errInvalidToken: the token is not one of our issuer, for us, at this time.
	errInvalidToken = errors.New("invalid token")
	// errNoKeys: whether the token is good cannot be told, because the issuer's keys are out of reach.
	errNoKeys = errors.New("the issuer's keys are out of reach")
)

// caller is what a verified token says of who calls.
type caller struct {
	clientID string
	scopes   []string
}

// verifier checks access tokens as RFC 9068 section 4 says: type, signature, issuer, audience, expiry.
type verifier struct {
	issuer, audience string
	keys             oidc.KeySet
	config           *oidc.Config
}

// newVerifier reads the files of a verifier ConfigMap.
func newVerifier(ctx context.Context, dir string) (*verifier, error) {
	values := map[string]string{}
	for _, name := range []string{"issuer", "audience", "jwks_uri"} {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			return nil, fmt.Errorf("read the verifier's settings: %w", err)
		}
		if values[name] = strings.TrimSpace(string(text)); values[name] == "" {
			return nil, fmt.Errorf("read the verifier's settings: %s is empty", name)
		}
	}
	ctx = oidc.ClientContext(ctx, keysClient(filepath.Join(dir, "ca.crt")))
	return &verifier{
		issuer:   values["issuer"],
		audience: values["audience"],
		keys:     oidc.NewRemoteKeySet(ctx, values["jwks_uri"]),
		config: &oidc.Config{
			ClientID: values["audience"], // go-oidc's name for the expected aud
			// The algorithms that we trust, whatever the token's header says.
			SupportedSigningAlgs: []string{oidc.ES256, oidc.RS256, oidc.PS256, oidc.EdDSA},
		},
	}, nil
}

func (v *verifier) verify(ctx context.Context, token string) (caller, error) {
	// go-oidc leaves typ to its caller. Without this check an ID token of the same issuer would do as an access token.
	if err := checkType(token); err != nil {
		return caller{}, fmt.Errorf("%w: %w", errInvalidToken, err)
	}
	keys := &rememberingKeys{KeySet: v.keys}
	verified, err := oidc.NewVerifier(v.issuer, keys, v.config).Verify(ctx, token)
	if unreachable := (*url.Error)(nil); errors.As(keys.err, &unreachable) {
		return caller{}, fmt.Errorf("%w: %w", errNoKeys, keys.err)
	}
	if err != nil {
		return caller{}, fmt.Errorf("%w: %w", errInvalidToken, err)
	}
	var claims struct {
		ClientID string `json:"client_id"`
		Scope    string `json:"scope"`
	}
	if err := verified.Claims(&claims); err != nil {
		return caller{}, fmt.Errorf("%w: %w", errInvalidToken, err)
	}
	return caller{clientID: claims.ClientID, scopes: strings.Fields(claims.Scope)}, nil
}

func checkType(token string) error {
	encoded, _, _ := strings.Cut(token, ".")
	raw, err := base64.RawURLEncoding.DecodeString(encoded)
	if err != nil {
		return errors.New("the header is not base64url")
	}
	var header struct {
		Type string `json:"typ"`
	}
	if err := json.Unmarshal(raw, &header); err != nil {
		return errors.New("the header is not JSON")
	}
	// Media types ignore case, and may be written with their prefix (RFC 7515 section 4.1.9).
	if strings.TrimPrefix(strings.ToLower(header.Type), "application/") != "at+jwt" {
		return errors.New("the type is not at+jwt")
	}
	return nil
}

// rememberingKeys keeps the error of the key set, which go-oidc turns into text: a caller whose token cannot be checked
// must not be told that it is wrong.
type rememberingKeys struct {
	oidc.KeySet
	err error
}

func (k *rememberingKeys) VerifySignature(ctx context.Context, token string) ([]byte, error) {
	payload, err := k.KeySet.VerifySignature(ctx, token)
	k.err = err
	return payload, err
}

// keysClient fetches the issuer's keys. Fetches are rare, so each makes a connection of its own and reads the
// authorities anew: a mounted ca.crt changes under a running process.
func keysClient(caFile string) *http.Client {
	dial := func(ctx context.Context, network, address string) (net.Conn, error) {
		roots, err := readRoots(caFile)
		if err != nil {
			return nil, err
		}
		dialer := &tls.Dialer{Config: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}}
		return dialer.DialContext(ctx, network, address)
	}
	return &http.Client{
		Timeout:   10 * time.Second,
		Transport: keysTransport{&http.Transport{DialTLSContext: dial, DisableKeepAlives: true}},
	}
}

// readRoots is nil, which means the system's authorities, where the issuer's certificate comes from a public one.
func readRoots(caFile string) (*x509.CertPool, error) {
	pem, err := os.ReadFile(caFile)
	if errors.Is(err, fs.ErrNotExist) || (err == nil && len(pem) == 0) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s holds no certificate", caFile)
	}
	return roots, nil
}

// keysTransport makes an answer other than 200 an error of the fetch, as an unreachable server is.
type keysTransport struct{ next http.RoundTripper }

func (t keysTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	response, err := t.next.RoundTrip(r)
	if err != nil || response.StatusCode == http.StatusOK {
		return response, err
	}
	_ = response.Body.Close()
	return nil, fmt.Errorf("the issuer answered %s", response.Status)
}
