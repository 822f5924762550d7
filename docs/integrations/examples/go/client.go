// Package m2m is how a program in Go gets access tokens and shows them to an API, and how an API in Go verifies them.
package m2m

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"
)

// NewTransport returns a RoundTripper for requests to one API. Each carries an access token, and a new one is asked for in
// time. directory is where the M2MClient's Secret is mounted. Use it for that API alone: it shows the token to every host.
func NewTransport(ctx context.Context, directory, audience string, scopes ...string) http.RoundTripper {
	return &oauth2.Transport{Source: oauth2.ReuseTokenSource(nil, &source{ctx, directory, audience, scopes})}
}

type source struct {
	ctx                 context.Context
	directory, audience string
	scopes              []string
}

// Token implements oauth2.TokenSource. It reads the credential anew each time, because the operator rotates it.
func (s *source) Token() (*oauth2.Token, error) {
	files, err := readAll(s.directory, "client_id", "client_secret", "token_endpoint")
	if err != nil {
		return nil, err
	}
	issuer, err := trusting(s.directory)
	if err != nil {
		return nil, err
	}
	config := clientcredentials.Config{
		ClientID: files["client_id"], ClientSecret: files["client_secret"], TokenURL: files["token_endpoint"],
		AuthStyle: oauth2.AuthStyleInHeader,
		Scopes:    s.scopes, EndpointParams: url.Values{"audience": {s.audience}},
	}
	return config.Token(context.WithValue(s.ctx, oauth2.HTTPClient, issuer))
}

// trusting is a client for the issuer. Without ca.crt it trusts the system's authorities.
func trusting(directory string) (*http.Client, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	authority, err := fs.ReadFile(os.DirFS(directory), "ca.crt")
	switch {
	case err == nil:
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(authority) {
			return nil, errors.New("ca.crt holds no certificate")
		}
	case !errors.Is(err, fs.ErrNotExist):
		return nil, err
	}
	return &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
		Proxy: http.ProxyFromEnvironment, TLSClientConfig: config, ForceAttemptHTTP2: true, IdleConnTimeout: time.Minute,
	}}, nil
}

func readAll(directory string, names ...string) (map[string]string, error) {
	files := map[string]string{}
	for _, name := range names {
		text, err := fs.ReadFile(os.DirFS(directory), name)
		if err != nil {
			return nil, err
		}
		files[name] = string(text)
	}
	return files, nil
}
