package controllers

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/internal/keyring"
	"github.com/m2m-operator/m2m-operator/internal/manifests"
)

const (
	// askTimeout is for one endpoint's answer, maxJWKS for its size: ten keys have some 5 KiB.
	askTimeout = 2 * time.Second
	maxJWKS    = 64 << 10
	// askAtOnce is how many endpoints are asked at the same time.
	askAtOnce = 16
)

// endpointsOf maps an EndpointSlice to the TokenIssuer whose Service it is of.
func endpointsOf(reader client.Reader) func(context.Context, client.Object) []reconcile.Request {
	return func(ctx context.Context, object client.Object) []reconcile.Request {
		var issuers v1alpha1.TokenIssuerList
		if err := reader.List(ctx, &issuers); err != nil {
			return nil
		}
		for i := range issuers.Items {
			if issuers.Items[i].ServiceName() == object.GetLabels()[discoveryv1.LabelServiceName] {
				return []reconcile.Request{request("", issuers.Items[i].Name)}
			}
		}
		return nil
	}
}

// readyEndpoints are host:port of every ready endpoint of the issuer's Service, each with the name that people know it by.
func (r *issuerRun) readyEndpoints(ctx context.Context) (map[string]string, error) {
	var list discoveryv1.EndpointSliceList
	if err := r.List(ctx, &list, client.InNamespace(r.Namespace), client.MatchingLabels{discoveryv1.LabelServiceName: r.issuer.ServiceName()}); err != nil {
		return nil, fmt.Errorf("list EndpointSlices: %w", err)
	}
	return readyEndpoints(list.Items), nil
}

// observe asks endpoints which keys they publish, and by which ring they sign.
func (r *issuerRun) observe(ctx context.Context, names map[string]string) ([]keyring.Endpoint, error) {
	secret := &corev1.Secret{}
	key := types.NamespacedName{Namespace: r.Namespace, Name: manifests.ServingName(r.issuer)}
	if err := r.Get(ctx, key, secret); client.IgnoreNotFound(err) != nil {
		return nil, fmt.Errorf("read serving certificate: %w", err)
	}
	asker, err := newAsker(v1alpha1.EndpointURL(r.issuer.IssuerURL(r.Namespace), v1alpha1.PathJWKS), secret, r.Dial)
	if err != nil {
		return nil, err
	}
	defer asker.client.CloseIdleConnections()
	addresses := slices.Sorted(maps.Keys(names))
	endpoints := make([]keyring.Endpoint, len(addresses))
	turns := make(chan struct{}, askAtOnce)
	var asked sync.WaitGroup
	for i, address := range addresses {
		asked.Go(func() {
			turns <- struct{}{}
			defer func() { <-turns }()
			endpoints[i] = asker.ask(ctx, address)
			endpoints[i].Address = names[address]
		})
	}
	asked.Wait()
	return endpoints, nil
}

func readyEndpoints(list []discoveryv1.EndpointSlice) map[string]string {
	names := map[string]string{}
	for _, slice := range list {
		for _, port := range slice.Ports {
			if port.Port == nil || (len(slice.Ports) > 1 && (port.Name == nil || *port.Name != "https")) {
				continue
			}
			for _, endpoint := range slice.Endpoints {
				if endpoint.Conditions.Ready != nil && !*endpoint.Conditions.Ready {
					continue
				}
				for _, address := range endpoint.Addresses {
					host := net.JoinHostPort(address, strconv.Itoa(int(*port.Port)))
					names[host] = host
					if endpoint.TargetRef != nil {
						names[host] = endpoint.TargetRef.Name + " (" + host + ")"
					}
				}
			}
		}
	}
	return names
}

// asker asks endpoints of one issuer for their JWKS.
type asker struct {
	client *http.Client
	url    url.URL // but for the host
	host   string  // of the issuer, which the endpoint is asked as
}

func newAsker(jwksURL string, serving *corev1.Secret, dial func(context.Context, string, string) (net.Conn, error)) (*asker, error) {
	u, err := url.Parse(jwksURL)
	if err != nil {
		return nil, fmt.Errorf("issuer URL: %w", err)
	}
	transport := &http.Transport{
		// An endpoint is asked by its address, which no certificate is for, so that what the handshake found out is checked
		// here and not by the transport.
		TLSClientConfig: &tls.Config{
			InsecureSkipVerify: true, //nolint:gosec // VerifyConnection verifies
			MinVersion:         tls.VersionTLS12, ServerName: u.Hostname(),
			VerifyConnection: func(state tls.ConnectionState) error { return trusted(state.PeerCertificates, serving) },
		},
		DialContext: dial, DisableKeepAlives: true, MaxResponseHeaderBytes: maxJWKS,
	}
	return &asker{
		client: &http.Client{
			Transport: transport, Timeout: askTimeout,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		url: *u, host: u.Host,
	}, nil
}

var errNotTrusted = errors.New("its certificate is not the issuer's")

// trusted checks that a certificate is the one in the Secret, or of the Secret's authority and for the same name: while it
// is renewed, endpoints serve the one before for a moment.
func trusted(presented []*x509.Certificate, serving *corev1.Secret) error {
	pair, err := tls.X509KeyPair(serving.Data[corev1.TLSCertKey], serving.Data[corev1.TLSPrivateKeyKey])
	if err != nil || len(presented) == 0 {
		return errNotTrusted
	}
	if presented[0].Equal(pair.Leaf) {
		return nil
	}
	options := x509.VerifyOptions{Roots: x509.NewCertPool(), Intermediates: x509.NewCertPool()}
	options.Roots.AppendCertsFromPEM(serving.Data[manifests.KeyAuthority]) // none: nothing verifies
	for _, certificate := range presented[1:] {
		options.Intermediates.AddCert(certificate)
	}
	switch {
	case len(pair.Leaf.DNSNames) > 0:
		options.DNSName = pair.Leaf.DNSNames[0]
	case len(pair.Leaf.IPAddresses) > 0:
		options.DNSName = pair.Leaf.IPAddresses[0].String()
	}
	if _, err := presented[0].Verify(options); err != nil {
		return errNotTrusted
	}
	return nil
}

// ask asks one endpoint. What is wrong with it is said in words that stay the same from one time to the next.
func (a *asker) ask(ctx context.Context, address string) keyring.Endpoint {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	target := a.url
	target.Host = address
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, target.String(), nil)
	if err != nil {
		return keyring.Endpoint{Problem: "it has no address to ask"}
	}
	r.Host = a.host
	response, err := a.client.Do(r)
	switch {
	case errors.Is(err, errNotTrusted):
		return keyring.Endpoint{Problem: errNotTrusted.Error()}
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return keyring.Endpoint{Problem: fmt.Sprintf("no answer within %s", askTimeout)}
	case err != nil:
		return keyring.Endpoint{Problem: "it cannot be reached"}
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return keyring.Endpoint{Problem: fmt.Sprintf("it answers %d", response.StatusCode)}
	}
	var document struct {
		Keys []struct {
			KeyID string `json:"kid"`
		} `json:"keys"`
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, maxJWKS))
	if err != nil || json.Unmarshal(body, &document) != nil {
		return keyring.Endpoint{Problem: "its answer is no JWKS"}
	}
	endpoint := keyring.Endpoint{KeyRing: response.Header.Get(keyring.Header)}
	for _, key := range document.Keys {
		endpoint.KIDs = append(endpoint.KIDs, key.KeyID)
	}
	return endpoint
}
