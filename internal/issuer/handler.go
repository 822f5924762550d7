package issuer

import (
	"fmt"
	"net/http"
	"runtime/debug"
	"time"
)

// maxHeader bounds the fields of a request's header. The transport has bounds of its own, in which HTTP/1.1 and HTTP/2
// differ by a little.
const maxHeader = 16 << 10

// servePublic answers on the TLS port.
func (s *Server) servePublic(w http.ResponseWriter, r *http.Request) {
	issuer, _ := s.state.issuer()
	s.serve(w, r, route(r.URL.EscapedPath(), pathOf(issuer.URL)))
}

// serveOps answers on the operations port.
func (s *Server) serveOps(w http.ResponseWriter, r *http.Request) {
	e, ok := opsPaths[r.URL.EscapedPath()]
	if !ok {
		e = endpointUnknown
	}
	if e == endpointMetrics {
		s.metricsHandler.ServeHTTP(w, r)
		return
	}
	s.serve(w, r, e)
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request, e endpoint) {
	started := time.Now()
	a := s.answer(w, r, e)
	if s.draining.Load() {
		a.closing = true // the next request shall go to another replica
	}
	a.write(w)
	s.metrics.observe(e, a, time.Since(started))
}

// answer finds the answer to a request, also when that panics.
func (s *Server) answer(w http.ResponseWriter, r *http.Request, e endpoint) (a reply) {
	defer func() {
		if p := recover(); p != nil {
			s.log.Error("panic", "endpoint", e, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			a = errInternal.reply("")
		}
	}()
	if failure := check(r, e); failure != nil {
		return failure.reply("")
	}
	switch e {
	case endpointToken:
		return s.token(w, r)
	case endpointJWKS:
		return s.jwks(r)
	case endpointMetadata, endpointDiscovery:
		return s.metadata(e, r)
	case endpointLive:
		return textReply(http.StatusOK, "ok")
	default:
		return s.ready()
	}
}

// check refuses what no endpoint takes.
func check(r *http.Request, e endpoint) *oauthError {
	size := 0
	for name, values := range r.Header {
		for _, value := range values {
			size += len(name) + len(value) + len(": \r\n")
		}
	}
	switch {
	case size > maxHeader:
		return errHeaderTooLarge
	case e == endpointUnknown:
		return errNotFound
	case e == endpointToken && r.Method != http.MethodPost: // RFC 6749 section 3.2
		return errMethod("POST")
	case e != endpointToken && r.Method != http.MethodGet && r.Method != http.MethodHead:
		return errMethod("GET, HEAD")
	}
	return nil
}

// ready says whether requests should be sent here.
func (s *Server) ready() reply {
	why := s.state.whyNotReady()
	if s.draining.Load() {
		why = "shutting down"
	}
	if why != "" {
		return textReply(http.StatusServiceUnavailable, why)
	}
	return textReply(http.StatusOK, "ok")
}
