package conformance

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/internal/access"
	"github.com/m2m-operator/m2m-operator/internal/credential"
	"github.com/m2m-operator/m2m-operator/internal/issuer"
	"github.com/m2m-operator/m2m-operator/internal/keyring"
	"github.com/m2m-operator/m2m-operator/internal/pki"
)

const (
	issuerURL  = "https://tokens.example.com"
	courses    = "https://courses.example.com/api"
	payments   = "https://pay.example.com/" // nothing there is granted to anybody
	publisher  = "jobs.publisher"
	tokenPath  = "/oauth2/token"
	jwksPath   = "/oauth2/jwks"
	oauthPath  = "/.well-known/oauth-authorization-server"
	openIDPath = "/.well-known/openid-configuration"
)

// world is a server, what it knows, and ways to talk to it.
type world struct {
	t       *testing.T
	state   *issuer.State
	index   *access.Index
	pepper  credential.Pepper
	offset  atomic.Int64 // of the server's clock, in nanoseconds
	broken  atomic.Bool  // its source of randomness
	secrets map[string]string
	log     *syncBuffer
	audit   *syncBuffer

	address, opsAddress string
	roots               *x509.CertPool
	http1, http2        *http.Client
	stop                context.CancelFunc
	stopped             chan error
}

var epoch = time.Date(2026, 11, 22, 18, 0, 0, 0, time.UTC)

func (w *world) now() time.Time { return epoch.Add(time.Duration(w.offset.Load())) }

// later lets time pass for the server.
func (w *world) later(d time.Duration) { w.offset.Add(int64(d)) }

// Read is the server's source of randomness.
func (w *world) Read(p []byte) (int, error) {
	if w.broken.Load() {
		return 0, errBroken
	}
	return rand.Read(p)
}

// fixed is what takes long to make and never changes.
var fixed = sync.OnceValue(func() (f struct {
	keys    []jose.JSONWebKey
	ring    keyring.Ring
	serving *tls.Certificate
	roots   *x509.CertPool
}) {
	check := func(err error) {
		if err != nil {
			panic(err)
		}
	}
	for _, slot := range f.ring.Vacant([]v1alpha1.SigningAlgorithm{v1alpha1.ES256, v1alpha1.RS256}) {
		key, err := keyring.Generate(slot.Algorithm)
		check(err)
		f.keys = append(f.keys, key)
		f.ring = f.ring.Fill(slot, key, epoch)
	}
	authority, err := pki.NewAuthority("conformance", time.Now())
	check(err)
	serving, err := pki.NewServing(authority, []string{"127.0.0.1", "tokens.example.com"}, time.Now())
	check(err)
	certificate, err := tls.X509KeyPair(serving.Certificate, serving.Key)
	check(err)
	f.serving = &certificate
	f.roots = x509.NewCertPool()
	f.roots.AppendCertsFromPEM(authority.Certificate)
	return f
})

// retire is the ring in which a key signs no more and the next one does.
func retire(kid string) keyring.Ring {
	ring := keyring.Ring{Keys: slices.Clone(fixed().ring.Keys)}
	for i, key := range ring.Keys {
		if key.KID == kid {
			ring.Keys[i].State, ring.Keys[i+1].State = v1alpha1.KeyRetired, v1alpha1.KeyActive
		}
	}
	return ring
}

// newWorld starts a server that is ready, with the course API, a client that may publish, and a few that may not.
func newWorld(t *testing.T) *world {
	t.Helper()
	w := startWorld(t)
	w.fill()
	return w
}

// startWorld starts a server that knows nothing.
func startWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, index: access.NewIndex("m2m-system"), secrets: map[string]string{}, log: &syncBuffer{}, audit: &syncBuffer{}, stopped: make(chan error, 1)}
	w.state = issuer.NewState("default", w.index)
	w.state.SetCertificate(fixed().serving)
	w.roots = fixed().roots
	server := issuer.New(w.state, issuer.Options{
		Now: w.now, Random: w, DrainDelay: time.Millisecond,
		Logger: slog.New(slog.NewJSONHandler(w.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Audit:  w.audit,
	})
	public, ops := listen(t), listen(t)
	w.address, w.opsAddress = public.Addr().String(), ops.Addr().String()
	ctx, stop := context.WithCancel(context.Background())
	w.stop = stop
	go func() { w.stopped <- server.Serve(ctx, public, ops); close(w.stopped) }()
	w.http1, w.http2 = w.newClient(false), w.newClient(true)
	t.Cleanup(func() {
		w.http1.CloseIdleConnections()
		w.http2.CloseIdleConnections()
		stop()
		<-w.stopped
		canaries.Saw("the log of "+t.Name(), w.log.String())
		canaries.Saw("the audit log of "+t.Name(), w.audit.String())
	})
	return w
}

// run is a subtest, whose failures are its own.
func (w *world) run(name string, test func(t *testing.T)) {
	w.t.Helper()
	w.t.Run(name, func(t *testing.T) {
		parent := w.t
		w.t = t
		defer func() { w.t = parent }()
		test(t)
	})
}

func (w *world) fill() {
	var err error
	if w.pepper, err = credential.ParsePepper(bytes.Repeat([]byte{42}, 32)); err != nil {
		w.t.Fatal(err)
	}
	w.state.SetPepper(w.pepper)
	w.setRing(fixed().ring)
	w.issuer("default", issuerURL)
	w.issuer("other", "https://other.example.com")
	w.api("courses", "course-api", courses, "courses:read-published", "courses:read-approved", "courses:write", "courses:publish")
	w.api("payments", "pay-api", payments, "pay:read")
	w.client("jobs", "publisher", nil)
	w.grant("courses", "publisher", "course-api", "jobs", "publisher", "courses:read-approved", "courses:publish")
	w.state.SetSynced(func() bool { return true })
}

func (w *world) setRing(ring keyring.Ring) {
	set, err := keyring.NewKeySet(ring, fixed().keys)
	if err != nil {
		w.t.Fatal(err)
	}
	w.state.SetKeys(set)
}

func (w *world) issuer(name, url string) {
	w.index.Upsert(&v1alpha1.TokenIssuer{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: v1alpha1.TokenIssuerSpec{
			URL:     url,
			Signing: v1alpha1.TokenIssuerSigning{Algorithms: []v1alpha1.SigningAlgorithm{v1alpha1.ES256, v1alpha1.RS256}},
		},
	})
}

func (w *world) api(namespace, name, identifier string, scopes ...string) *v1alpha1.ApiResource {
	api := &v1alpha1.ApiResource{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, CreationTimestamp: metav1.NewTime(epoch)},
		Spec:       v1alpha1.ApiResourceSpec{IssuerRef: v1alpha1.TokenIssuerReference{Name: "default"}, Identifier: identifier},
	}
	for _, scope := range scopes {
		api.Spec.Scopes = append(api.Spec.Scopes, v1alpha1.ApiScope{Name: v1alpha1.ScopeName(scope)})
	}
	w.index.Upsert(api)
	return api
}

// client makes a client with one secret that never expires, and returns its client_id.
func (w *world) client(namespace, name string, change func(*v1alpha1.M2MClient)) string {
	client := &v1alpha1.M2MClient{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, CreationTimestamp: metav1.NewTime(epoch)},
		Spec:       v1alpha1.M2MClientSpec{IssuerRef: v1alpha1.TokenIssuerReference{Name: "default"}},
	}
	client.Status.Credentials = []v1alpha1.CredentialStatus{w.credential(client, time.Time{})}
	if change != nil {
		change(client)
	}
	w.index.Upsert(client)
	return client.ClientID()
}

// credential makes a secret for a client, which becomes the one that it uses.
func (w *world) credential(client *v1alpha1.M2MClient, expiry time.Time) v1alpha1.CredentialStatus {
	made, err := credential.New(rand.Reader)
	if err != nil {
		w.t.Fatal(err)
	}
	w.secrets[client.ClientID()] = made.Secret
	canaries.Secret("the client_secret of "+client.ClientID()+" in "+w.t.Name(), made.Secret)
	owner := credential.Owner{Issuer: client.Spec.IssuerRef.Name, ClientID: client.ClientID()}
	return w.pepper.Entry(owner, made, v1alpha1.CredentialCurrent, epoch, expiry)
}

func (w *world) grant(namespace, name, api, clientNamespace, clientName string, scopes ...string) {
	grant := &v1alpha1.ScopeGrant{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec: v1alpha1.ScopeGrantSpec{
			ApiResourceRef: v1alpha1.LocalApiResourceReference{Name: v1alpha1.ObjectName(api)},
			Subjects:       []v1alpha1.GrantSubject{{Namespace: v1alpha1.NamespaceName(clientNamespace), Name: v1alpha1.ObjectName(clientName)}},
		},
	}
	for _, scope := range scopes {
		grant.Spec.Scopes = append(grant.Spec.Scopes, v1alpha1.ScopeName(scope))
	}
	w.index.Upsert(grant)
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return listener
}

// syncBuffer is a buffer that may be written to while it is read.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}
