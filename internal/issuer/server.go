package issuer

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/m2m-operator/m2m-operator/internal/clientauth"
)

const (
	headerTimeout = 5 * time.Second
	readTimeout   = 15 * time.Second
	writeTimeout  = 30 * time.Second
	idleTimeout   = 2 * time.Minute

	// maxStreams bounds the requests that one HTTP/2 connection has open at once.
	maxStreams = 100
	// maxFrame is the least that HTTP/2 allows (RFC 9113 section 4.2). A frame is read as a whole, of whatever type it is,
	// and the memory that it took is kept with the connection.
	maxFrame = 16 << 10

	// shutdownTimeout bounds the wait for requests that are still being answered when the server closes.
	shutdownTimeout = 10 * time.Second
)

// Options of a server. All are required.
type Options struct {
	// DrainDelay is how long the server goes on serving after it was told to stop and says that it is not ready: so
	// long may it take until nobody sends it requests any more.
	DrainDelay time.Duration
	// Now tells the time.
	Now func() time.Time
	// Random is what token ids are made of. It must be safe for concurrent use.
	Random io.Reader
	// Logger for what a developer wants to know. Nothing that a request carries is logged.
	Logger *slog.Logger
	// Audit gets a line for each decision. Lines are written in order, several by one Write where they come
	// together, and waited for.
	Audit io.Writer
}

// Server answers for one TokenIssuer.
type Server struct {
	state          *State
	authenticator  *clientauth.Authenticator
	metrics        *metrics
	metricsHandler http.Handler
	now            func() time.Time
	started        time.Time
	random         io.Reader
	log            *slog.Logger
	auditLog       *auditLog
	drainDelay     time.Duration
	draining       atomic.Bool
	public, ops    *http.Server
	// What there is room for: connections of either port, and requests of the public one.
	publicConnections, opsConnections *connections
	requests                          *quota
	// refusals are answers to requests for which there is no place.
	refusals *quota
}

// New makes a server that answers from a state.
func New(state *State, options Options) *Server {
	s := &Server{
		state:         state,
		authenticator: clientauth.New(state.issuerName, state.index),
		metrics:       newMetrics(state, options.Now),
		now:           options.Now,
		started:       options.Now(),
		random:        options.Random,
		log:           options.Logger,
		auditLog:      &auditLog{out: options.Audit},
		drainDelay:    options.DrainDelay,
	}
	s.publicConnections = newConnections(maxConnections, maxConnections/sourceShare, s.isProxy)
	s.opsConnections = newConnections(maxOpsConnections, maxOpsConnections, s.isProxy)
	s.requests = newQuota(maxRequests, maxRequests/sourceShare)
	s.refusals = newQuota(maxRequests, maxRequests/sourceShare)
	s.metrics.registry.MustRegister(s.newLoadGauges()...)
	s.metricsHandler = s.metrics.handler()
	s.public = s.newHTTPServer(s.servePublic, s.publicConnections)
	s.public.Protocols.SetHTTP2(true)
	s.public.HTTP2 = &http.HTTP2Config{
		MaxConcurrentStreams:          maxStreams,
		MaxReceiveBufferPerConnection: maxBody,
		MaxReceiveBufferPerStream:     maxBody,
		MaxReadFrameSize:              maxFrame,
		WriteByteTimeout:              writeTimeout, // that of http.Server ends streams, not connections
	}
	s.public.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: state.getCertificate}
	s.ops = s.newHTTPServer(s.serveOps, s.opsConnections)
	return s
}

// newHTTPServer makes a server with the limits that both ports have.
func (s *Server) newHTTPServer(handler http.HandlerFunc, connections *connections) *http.Server {
	protocols := &http.Protocols{}
	protocols.SetHTTP1(true) // and no HTTP/2 without TLS
	return &http.Server{
		Handler:           handler,
		ConnState:         connections.changed,
		Protocols:         protocols,
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		// net/http would answer OPTIONS * itself, as it answers nothing else.
		DisableGeneralOptionsHandler: true,
		// Every port scan fails a handshake.
		ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
}

// Serve answers on two listeners, with TLS on the public one and without on that for operations, until the context ends
// or a listener fails. Then the server says that it is not ready, goes on serving for the drain delay, finishes what it
// has begun, and returns.
func (s *Server) Serve(ctx context.Context, public, ops net.Listener) error {
	failed := make(chan error, 2)
	go func() { failed <- s.public.ServeTLS(s.publicConnections.on(public), "", "") }()
	go func() { failed <- s.ops.Serve(s.opsConnections.on(ops)) }()
	s.log.Info("serving", "issuer", s.state.issuerName, "address", public.Addr().String(), "opsAddress", ops.Addr().String())

	var err error
	select {
	case err = <-failed:
	case <-ctx.Done():
		s.log.Info("draining", "delay", s.drainDelay.String())
		s.draining.Store(true)
		select {
		case err = <-failed:
		case <-time.After(s.drainDelay):
		}
	}
	err = errors.Join(err, s.close())
	s.log.Info("stopped")
	return err
}

// ServeWithoutTLS answers on a listener as Serve does on the public one, but for TLS: for a benchmark that tells what of
// the cost is TLS. Nothing that is installed calls it.
func (s *Server) ServeWithoutTLS(listener net.Listener) error {
	return s.public.Serve(s.publicConnections.on(listener))
}

// close finishes the requests that have begun. Health is told to the last.
func (s *Server) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), shutdownTimeout)
	defer cancel()
	err := s.public.Shutdown(ctx)
	if err != nil {
		err = errors.Join(err, s.public.Close())
	}
	return errors.Join(err, s.ops.Close())
}
