package integration

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/internal/manifests"
	"github.com/m2m-operator/m2m-operator/internal/pki"
	"github.com/m2m-operator/m2m-operator/test/suite"
)

// handshakes are made all the time, each with a new connection, until stop.
type handshakes struct {
	address string
	config  *tls.Config
	count   atomic.Int64
	failed  chan error
	stop    func()
}

func startHandshakes(address string, config *tls.Config) *handshakes {
	h := &handshakes{address: address, config: config, failed: make(chan error, 1)}
	var workers sync.WaitGroup
	ended := make(chan struct{})
	for range 4 {
		workers.Go(func() {
			for {
				select {
				case <-ended:
					return
				default:
				}
				if _, err := h.served(); err != nil {
					select {
					case h.failed <- err:
					default: // one is enough
					}
				}
				h.count.Add(1)
			}
		})
	}
	h.stop = sync.OnceFunc(func() {
		close(ended)
		workers.Wait()
	})
	return h
}

// served is the certificate that a new connection meets.
func (h *handshakes) served() (*x509.Certificate, error) {
	connection, err := tls.Dial("tcp", h.address, h.config)
	if err != nil {
		return nil, err
	}
	defer connection.Close()
	return connection.ConnectionState().PeerCertificates[0], nil
}

// TestReplacedCertificate has spec.tls.secretName's Secret replaced as cert-manager does: certificate and key in one
// write, every renewal with a new key, the last by another authority. The issuer, which goes on running, serves each, and
// no handshake fails.
func TestReplacedCertificate(t *testing.T) {
	first, second := newAuthority(t), newAuthority(t)
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: suite.InstallNamespace, Name: "bought"}, Type: corev1.SecretTypeTLS}
	secret.Data = newCertificate(t, first)
	create(t, secret)
	issuer := &v1alpha1.TokenIssuer{ObjectMeta: metav1.ObjectMeta{Name: "certified"}}
	issuer.Spec.URL = "https://127.0.0.1/certified"
	issuer.Spec.TLS = &v1alpha1.TokenIssuerTLS{SecretName: secret.Name}
	create(t, issuer)
	running, err := world.StartIssuer(issuer.Name)
	if err != nil {
		t.Fatal(err)
	}
	defer running.Stop()
	suite.Eventually(t, func() string { return notReady(running) })
	newCaller(t, "jobs", "certified", func(c *v1alpha1.M2MClient) { c.Spec.IssuerRef.Name = issuer.Name })

	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(first.Certificate)
	roots.AppendCertsFromPEM(second.Certificate)
	config := &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	old, err := tls.Dial("tcp", running.Address, config)
	if err != nil {
		t.Fatal(err)
	}
	defer old.Close()
	h := startHandshakes(running.Address, config)
	defer h.stop()
	for i, authority := range []pki.Pair{first, first, first, second} {
		secret.Data = newCertificate(t, authority)
		update(t, secret)
		pair, err := tls.X509KeyPair(secret.Data[corev1.TLSCertKey], secret.Data[corev1.TLSPrivateKeyKey])
		if err != nil {
			t.Fatal(err)
		}
		suite.Eventually(t, func() string {
			served, err := h.served()
			if err != nil {
				t.Fatal(err)
			}
			if !served.Equal(pair.Leaf) {
				return fmt.Sprintf("certificate %d is not served", i+1)
			}
			return ""
		})
		before := h.count.Load()
		suite.Eventually(t, func() string {
			if n := h.count.Load() - before; n < 25 {
				return fmt.Sprintf("%d handshakes with certificate %d", n, i+1)
			}
			return ""
		})
		suite.Eventually(t, func() string {
			if !bytes.Equal(get(t, &corev1.Secret{}, "jobs", "certified").Data[manifests.KeyAuthority], authority.Certificate) {
				return "the client's Secret has another ca.crt"
			}
			return ""
		})
	}
	h.stop()
	select {
	case err := <-h.failed:
		t.Errorf("while the certificate was replaced a handshake failed: %v", err)
	default:
	}
	t.Logf("%d handshakes", h.count.Load())
	answersOn(t, old)
}

// answersOn: the certificate of a connection that is open does not matter any more.
func answersOn(t *testing.T, connection *tls.Conn) {
	t.Helper()
	if err := connection.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(connection, "GET /certified/oauth2/jwks HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
	response, err := http.ReadResponse(bufio.NewReader(connection), nil)
	if err != nil || response.StatusCode != http.StatusOK {
		t.Errorf("the connection of before the first renewal: %v, %v", response, err)
	}
}

func newAuthority(t *testing.T) pki.Pair {
	t.Helper()
	authority, err := pki.NewAuthority("test", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return authority
}

func newCertificate(t *testing.T, authority pki.Pair) map[string][]byte {
	t.Helper()
	pair, err := pki.NewServing(authority, []string{"127.0.0.1"}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return map[string][]byte{corev1.TLSCertKey: pair.Certificate, corev1.TLSPrivateKeyKey: pair.Key, manifests.KeyAuthority: authority.Certificate}
}
