package cli

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/spf13/cobra"

	"github.com/m2m-operator/m2m-operator/internal/doctor"
)

const (
	// requestTimeout bounds one request to an issuer.
	requestTimeout = 15 * time.Second
	// maxAnswer bounds what an issuer may answer, in bytes.
	maxAnswer = 1 << 20
)

// addEndpoint gives a command --endpoint.
func addEndpoint(cmd *cobra.Command, endpoint *string) {
	cmd.Flags().StringVar(endpoint, "endpoint", "", "Connect to this HOST:PORT instead of the host of the issuer's URL, "+
		"which its certificate is still checked for: the end of a kubectl port-forward, for example")
}

// issuerEndpoint is how an issuer is reached.
type issuerEndpoint struct {
	// authority is the PEM bundle to trust; nil: the system's.
	authority []byte
	// instead is the address to connect to; "": that of the URL.
	instead string
}

func (s *session) httpClient(e issuerEndpoint) (*http.Client, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if len(e.authority) > 0 {
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(e.authority) {
			return nil, errors.New("the issuer's ca.crt holds no certificate")
		}
	}
	transport := &http.Transport{TLSClientConfig: config, Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true, DialContext: s.Dial}
	if e.instead != "" {
		transport.Proxy = nil
		transport.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
			return s.Dial(ctx, network, e.instead)
		}
	}
	return &http.Client{
		Transport: transport, Timeout: requestTimeout,
		// A redirect would send a secret to where nobody said that it may go.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}, nil
}

// ask sends a request and reads the answer.
func (s *session) ask(request *http.Request, e issuerEndpoint) (int, http.Header, []byte, error) {
	c, err := s.httpClient(e)
	if err != nil {
		return 0, nil, nil, err
	}
	response, err := c.Do(request)
	if err != nil {
		return 0, nil, nil, unreachable(request.URL, e, err)
	}
	defer func() { _ = response.Body.Close() }() // it was read
	body, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	return response.StatusCode, response.Header, body, err
}

// issuerError is what is wrong with the answer of an issuer, or with the way to it, and what to do about that.
type issuerError struct {
	level doctor.Level
	// check of doctor's that found it.
	check string
	err   error
	do    string
}

func (e *issuerError) Error() string { return e.err.Error() + "; " + e.do }
func (e *issuerError) Unwrap() error { return e.err }

// unreachable says what to do about an issuer that cannot be reached.
func unreachable(at *url.URL, e issuerEndpoint, err error) error {
	var problem *url.Error
	if errors.As(err, &problem) {
		err = problem.Err // without the URL, which is said below
	}
	var certificate *tls.CertificateVerificationError
	if errors.As(err, &certificate) {
		return &issuerError{doctor.Problem, "tls", fmt.Errorf("%s: its certificate is not trusted: %w", at.Host, err),
			"is something else at that address? Else renew the certificate, with the host of spec.url among its names, or put its authority into ca.crt of the Secret that spec.tls names"}
	}
	service, rest, inside := strings.Cut(at.Hostname(), ".")
	namespace, after, _ := strings.Cut(rest, ".")
	if inside && (after == "svc" || strings.HasPrefix(after, "svc.")) && e.instead == "" {
		return &issuerError{doctor.Unknown, "jwks", fmt.Errorf("%s can be reached from inside the cluster only: %w", at.Host, err),
			fmt.Sprintf("run `kubectl port-forward -n %s service/%s 8443:443`, and give --endpoint 127.0.0.1:8443", namespace, service)}
	}
	if e.instead != "" {
		return &issuerError{doctor.Unknown, "jwks", fmt.Errorf("%s cannot be reached at %s: %w", at.Host, e.instead, err),
			"see what listens at --endpoint: is the port-forward running?"}
	}
	return &issuerError{doctor.Warning, "jwks", fmt.Errorf("%s cannot be reached from here: %w", at.Host, err),
		"see whether clients reach it, its name, Service and what is in front of it; --endpoint connects elsewhere"}
}

// jwks fetches public keys.
func (s *session) jwks(ctx context.Context, uri string, e issuerEndpoint) (jose.JSONWebKeySet, http.Header, error) {
	keys := jose.JSONWebKeySet{}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, uri, nil)
	if err != nil {
		return keys, nil, err
	}
	code, header, body, err := s.ask(request, e)
	if err != nil {
		return keys, nil, err
	}
	if code != http.StatusOK {
		return keys, header, strange(fmt.Errorf("%s answers %d", uri, code))
	}
	if err := json.Unmarshal(body, &keys); err != nil {
		return keys, header, strange(fmt.Errorf("%s answers something that is no JWK Set: %w", uri, err))
	}
	return keys, header, nil
}

// strange is an answer that issuers do not give.
func strange(err error) error {
	return &issuerError{doctor.Problem, "jwks", err, "is that an issuer? See what is in front of it, and the logs of its pods"}
}
