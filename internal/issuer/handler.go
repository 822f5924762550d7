package issuer

import (
	"fmt"
	"net/http"
	"runtime/debug"
	"time"

	"github.com/m2m-operator/m2m-operator/internal/clientauth"
)

// maxHeader bounds the fields of a request's header. The transport has bounds of its own, in which HTTP/1.1 and HTTP/2
// differ by a little.
const maxHeader = 16 << 10

// servePublic answers on the TLS port, as long as there is a place for the request.
func (s *Server) servePublic(w http.ResponseWriter, r *http.Request) {
	started := time.Now()
	rec := s.newRecord(r)
	e := route(r.URL.EscapedPath(), rec.issuer.URL)
	network := clientauth.Network(rec.source)
	if !s.requests.take(network) {
		if !s.refusals.take(network) {
			panic(http.ErrAbortHandler) // whoever does not take so many answers gets no more; net/http logs nothing of it
		}
		defer s.refusals.giveBack(network)
		s.serve(w, r, e, rec, started, answerBusy)
		return
	}
	defer s.requests.giveBack(network)
	s.serve(w, r, e, rec, started, s.answer)
}

// serveOps answers on the operations port.
func (s *Server) serveOps(w http.ResponseWriter, r *http.Request) {
	e, ok := opsPaths[r.URL.EscapedPath()]
	if !ok {
		e = endpointUnknown
	}
	if e == endpointMetrics && check(r, e) == nil {
		s.metricsHandler.ServeHTTP(w, r)
		return
	}
	answer := s.answer
	if e == endpointReady && r.URL.Query().Has("verbose") {
		answer = s.answerVerbose
	}
	s.serve(w, r, e, s.newRecord(r), time.Now(), answer)
}

// answerer finds the answer to a request to an endpoint.
type answerer func(http.ResponseWriter, *http.Request, endpoint, *record) reply

func (s *Server) serve(w http.ResponseWriter, r *http.Request, e endpoint, rec *record, started time.Time, answer answerer) {
	a := answer(w, r, e, rec)
	// While it drains the next request shall go to another replica.
	a.closing = s.draining.Load() || (r.ProtoMajor == 1 && (a.closing || !rec.body.delimited(r)))
	s.audit(e, &a, rec, time.Since(started))
	a.write(w)
	s.metrics.observe(e, &a, rec, time.Since(started))
	rec.forget()
}

// answer finds the answer to a request, also when that panics.
func (s *Server) answer(w http.ResponseWriter, r *http.Request, e endpoint, rec *record) (a reply) {
	defer func() {
		if p := recover(); p != nil {
			s.log.Error("panic", "requestID", rec.id(), "endpoint", e, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			a, rec.reason = errInternal.reply(""), reasonInternal
		}
	}()
	if failure := check(r, e); failure != nil {
		return failure.reply("")
	}
	switch e {
	case endpointToken:
		return s.token(w, r, rec)
	case endpointIntrospection:
		return s.introspect(w, r, rec)
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
	posted := e == endpointToken || e == endpointIntrospection // RFC 6749 section 3.2, RFC 7662 section 2.1
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
	case posted && r.Method != http.MethodPost:
		return errMethod("POST")
	case !posted && r.Method != http.MethodGet && r.Method != http.MethodHead:
		return errMethod("GET, HEAD")
	}
	return nil
}

const whyDraining = "shutting down"

// ready says whether requests should be sent here.
func (s *Server) ready() reply {
	why := s.state.whyNotReady()
	if s.draining.Load() {
		why = whyDraining
	}
	if why != "" {
		return textReply(http.StatusServiceUnavailable, why)
	}
	return textReply(http.StatusOK, "ok")
}

// answerVerbose says so with everything that it depends on.
func (s *Server) answerVerbose(_ http.ResponseWriter, r *http.Request, e endpoint, _ *record) reply {
	if failure := check(r, e); failure != nil {
		return failure.reply("")
	}
	text, ready := s.verbose()
	if !ready {
		return textReply(http.StatusServiceUnavailable, text)
	}
	return textReply(http.StatusOK, text)
}
