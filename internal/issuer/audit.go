package issuer

import (
	"cmp"
	"context"
	"encoding/hex"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/m2m-operator/m2m-operator/internal/access"
	"github.com/m2m-operator/m2m-operator/internal/clientauth"
)

const (
	// maxRejected and maxScopeName bound what a line repeats of a request. No ApiResource declares a longer name.
	maxRejected  = 32
	maxScopeName = 128
	// maxDetail and maxObstacles bound what a line says of expressions that refuse.
	maxDetail    = 512
	maxObstacles = 5
	// redacted stands for what must not be written down.
	redacted = "[redacted]"
)

// The outcomes of requests that are no errors. All others are named by their OAuth error.
const (
	outcomeIssued    = "issued"
	outcomeThrottled = "throttled"
	outcomeActive    = "active"
	outcomeInactive  = "inactive"
)

// record is what becomes known of a request on its way, for the audit log and the metrics.
type record struct {
	// id of the request: random, and never taken from the request.
	id string
	// source that the request comes from.
	source netip.Addr
	// attempt to authenticate, and whether it succeeded.
	attempt       clientauth.Attempt
	authenticated bool
	// reveals reports whether a text holds the secret or assertion that the request presents; nil if it presents none.
	reveals func(text string) bool
	// reason why the request is refused, or the introspected token not active, for operators; "" if it is not.
	reason string
	// decision on the scopes, if it came to one.
	decision access.Decision
	// tokenID and keyID of the token that was issued, or introspected.
	tokenID, keyID string
	// tokenClientID is the client that an introspected token was issued to.
	tokenClientID string
	// lifetime of the token that was issued.
	lifetime time.Duration
	// active says whether the introspected token is.
	active bool
}

// newRecord begins the record of a request.
func (s *Server) newRecord(r *http.Request) *record {
	rec := &record{source: s.source(r)}
	var id [16]byte
	// Where there is no randomness there will be no token either, and its line may do without an id.
	if _, err := io.ReadFull(s.random, id[:]); err == nil {
		rec.id = hex.EncodeToString(id[:])
	}
	return rec
}

// outcome is what became of a request: a fixed word.
func (rec *record) outcome(e endpoint, a reply) string {
	switch {
	case a.status == http.StatusTooManyRequests:
		return outcomeThrottled
	case a.errorCode != "":
		return a.errorCode
	case e == endpointToken:
		return outcomeIssued
	case rec.active:
		return outcomeActive
	}
	return outcomeInactive
}

// why is the reason for the outcome: a fixed word.
func (rec *record) why(a reply) string {
	return cmp.Or(rec.reason, a.reason, rec.decision.Reason)
}

// auditMessages name the endpoints whose decisions are logged.
var auditMessages = map[endpoint]string{
	endpointToken:         "token request",
	endpointIntrospection: "introspection",
}

// newAuditHandler writes a JSON object a line, each by one Write. Whoever logs waits until it is written: no token is
// handed out before its line is.
func newAuditHandler(w io.Writer) slog.Handler {
	return slog.NewJSONHandler(w, nil).WithAttrs([]slog.Attr{slog.String("log", "audit")})
}

// audit writes the line of a decision. When that fails the request does not: who needs every line watches the metric.
func (s *Server) audit(e endpoint, a reply, rec *record, took time.Duration) {
	message, ok := auditMessages[e]
	if !ok {
		return
	}
	line := slog.NewRecord(s.now().UTC(), slog.LevelInfo, message, 0)
	line.AddAttrs(rec.attributes(e, a)...)
	line.AddAttrs(slog.Float64("latencySeconds", took.Seconds()))
	if err := s.auditHandler.Handle(context.Background(), line); err != nil {
		s.metrics.auditFailures.Inc()
	}
}

// attributes of a line. What is not known is left out.
func (rec *record) attributes(e endpoint, a reply) []slog.Attr {
	attributes := []slog.Attr{slog.String("requestID", rec.id)}
	add := func(name, value string) {
		if value != "" {
			attributes = append(attributes, slog.String(name, value))
		}
	}
	if rec.source.IsValid() {
		add("source", rec.source.String())
	}
	add("client", rec.attempt.ClientID)
	attributes = append(attributes, slog.Bool("authenticated", rec.authenticated))
	add("method", string(rec.attempt.Method))
	add("credential", rec.attempt.CredentialID)
	if w := rec.attempt.Workload; w != nil {
		attributes = append(attributes, slog.Any("workload", workload(*w)))
	}
	if rec.decision.ApiResource.Name != "" {
		add("api", rec.decision.ApiResource.String())
	}
	outcome := rec.outcome(e, a)
	if outcome == outcomeIssued || outcome == outcomeActive {
		attributes = append(attributes, rec.granted()...)
	}
	attributes = append(attributes, rec.rejected()...)
	add("outcome", outcome)
	add("reason", rec.why(a))
	if rec.decision.Outcome == access.OutcomeAccessDenied {
		add("detail", rec.printable(rec.decision.Message, maxDetail))
	}
	add("tokenClient", rec.tokenClientID)
	add("jti", rec.tokenID)
	add("kid", rec.keyID)
	if rec.lifetime > 0 {
		attributes = append(attributes, slog.Int64("lifetimeSeconds", int64(rec.lifetime/time.Second)))
	}
	return attributes
}

// workload is what the cluster says of the ServiceAccount that a request comes from, and of its pod.
type workload struct {
	Namespace         string `json:"namespace"`
	ServiceAccount    string `json:"serviceAccount"`
	ServiceAccountUID string `json:"serviceAccountUID,omitempty"`
	Pod               string `json:"pod,omitempty"`
	PodUID            string `json:"podUID,omitempty"`
	Node              string `json:"node,omitempty"`
}

// grantedScope is a scope with the ScopeGrants that give it.
type grantedScope struct {
	Scope  string   `json:"scope"`
	Grants []string `json:"grants"`
}

// rejectedScope is a scope that was asked for in vain.
type rejectedScope struct {
	Scope  string `json:"scope"`
	Reason string `json:"reason"`
	// Obstacles are the first few ScopeGrants that would give the scope, each with what keeps it from that.
	Obstacles []string `json:"obstacles,omitempty"`
}

// granted names all scopes that are granted, in full: one of the hierarchical syntax may have an id that the request
// makes up.
func (rec *record) granted() []slog.Attr {
	var granted []grantedScope
	for _, scope := range rec.decision.Granted {
		g := grantedScope{Scope: rec.printable(scope.Name, len(scope.Name))}
		for _, giver := range scope.Givers {
			g.Grants = append(g.Grants, giver.Grant.String())
		}
		granted = append(granted, g)
	}
	if len(granted) == 0 {
		return nil
	}
	return []slog.Attr{slog.Any("granted", granted)}
}

// rejected names those that were asked for in vain, as the request does, if they are not too many.
func (rec *record) rejected() []slog.Attr {
	var attributes []slog.Attr
	var rejected []rejectedScope
	for _, scope := range rec.decision.Rejected[:min(len(rec.decision.Rejected), maxRejected)] {
		r := rejectedScope{Scope: rec.printable(scope.Name, maxScopeName), Reason: scope.Reason}
		for _, obstacle := range scope.Obstacles[:min(len(scope.Obstacles), maxObstacles)] {
			r.Obstacles = append(r.Obstacles, rec.printable(obstacle.String(), maxDetail))
		}
		rejected = append(rejected, r)
	}
	if len(rejected) > 0 {
		attributes = append(attributes, slog.Any("rejected", rejected))
	}
	if more := len(rec.decision.Rejected) - len(rejected); more > 0 {
		attributes = append(attributes, slog.Int("rejectedMore", more))
	}
	return attributes
}

// printable is what may be logged of the name of a scope, or of a text that may hold one. What a request calls a scope
// may be anything, also what belongs into another parameter: the secret or assertion that it presents, or a token, of
// which every JSON object's encoding tells (RFC 7515 section 7.1).
func (rec *record) printable(text string, limit int) string {
	if strings.Contains(text, "eyJ") || (rec.reveals != nil && rec.reveals(text)) {
		return redacted
	}
	return text[:min(len(text), limit)]
}
