package issuer

import (
	"cmp"
	"encoding/hex"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/m2m-operator/m2m-operator/internal/access"
	"github.com/m2m-operator/m2m-operator/internal/clientauth"
	"github.com/m2m-operator/m2m-operator/internal/jsonobject"
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
	// random is what the request's id is made of, which is never taken from the request.
	random    [16]byte
	hasRandom bool
	// issuer as it was when all of the request had come, or as much of it as has, and whether there was one.
	issuer      *access.Issuer
	issuerKnown bool
	// source that the request comes from, for throttling, limits, the audit log, and the expressions of API owners.
	source netip.Addr
	// body of the request.
	body trackedBody
	// attempt to authenticate, and whether it succeeded.
	attempt       clientauth.Attempt
	authenticated bool
	// credentials that the request presents. They know which texts reveal them, and are never written.
	credentials clientauth.Credentials
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

// records are kept from one request to the next, and nothing that is in them.
var records = sync.Pool{New: func() any { return &record{} }}

// newRecord begins the record of a request.
func (s *Server) newRecord(r *http.Request) *record {
	rec := records.Get().(*record)
	rec.body.ReadCloser = r.Body
	rec.issuer, rec.issuerKnown = s.state.issuer()
	rec.source = sourceOf(r.RemoteAddr, r.Header, rec.issuer.TrustedProxies)
	// Where there is no randomness there will be no token either, and its line may do without an id.
	_, err := io.ReadFull(s.random, rec.random[:])
	rec.hasRandom = err == nil
	return rec
}

// forget what is in the record of a request that has been answered.
func (rec *record) forget() {
	*rec = record{}
	records.Put(rec)
}

// id of the request.
func (rec *record) id() string { return string(rec.appendID(nil)) }

func (rec *record) appendID(text []byte) []byte {
	if !rec.hasRandom {
		return text
	}
	return hex.AppendEncode(text, rec.random[:])
}

// outcome is what became of a request: a fixed word.
func (rec *record) outcome(e endpoint, a *reply) string {
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
func (rec *record) why(a *reply) string {
	return cmp.Or(rec.reason, a.reason, rec.decision.Reason)
}

// auditBeginnings are how the lines of those endpoints begin whose decisions are logged.
var auditBeginnings = map[endpoint][]byte{
	endpointToken:         []byte(`{"level":"INFO","msg":"token request","log":"audit"}`),
	endpointIntrospection: []byte(`{"level":"INFO","msg":"introspection","log":"audit"}`),
}

// audit writes the line of a decision. When that fails the request does not: who needs every line watches the metric.
func (s *Server) audit(e endpoint, a *reply, rec *record, took time.Duration) {
	beginning, ok := auditBeginnings[e]
	if !ok {
		return
	}
	err := s.auditLog.write(s.now(), beginning, func(line *jsonobject.Writer) {
		rec.describe(line, e, a)
		line.Float("latencySeconds", took.Seconds())
	})
	if err != nil {
		s.metrics.auditFailures.Inc()
	}
}

// describe writes what is known of a request. What is not known is left out.
func (rec *record) describe(line *jsonobject.Writer, e endpoint, a *reply) {
	line.Plain("requestID", rec.appendID)
	if rec.source.IsValid() {
		line.Plain("source", rec.source.AppendTo)
	}
	line.Some("client", rec.attempt.ClientID)
	line.Bool("authenticated", rec.authenticated)
	line.Some("method", string(rec.attempt.Method))
	line.Some("credential", rec.attempt.CredentialID)
	if w := rec.attempt.Workload; w != nil {
		line.Object("workload", func(line *jsonobject.Writer) { describeWorkload(line, w) })
	}
	if rec.decision.ApiResource.Name != "" {
		line.Plain("api", func(text []byte) []byte { return appendName(text, rec.decision.ApiResource) })
	}
	outcome := rec.outcome(e, a)
	if outcome == outcomeIssued || outcome == outcomeActive {
		rec.describeGranted(line)
	}
	rec.describeRejected(line)
	line.Some("outcome", outcome)
	line.Some("reason", rec.why(a))
	if rec.decision.Outcome == access.OutcomeAccessDenied {
		line.Some("detail", rec.printable(rec.decision.Message, maxDetail))
	}
	line.Some("tokenClient", rec.tokenClientID)
	line.Some("jti", rec.tokenID)
	line.Some("kid", rec.keyID)
	if rec.lifetime > 0 {
		line.Int("lifetimeSeconds", int64(rec.lifetime/time.Second))
	}
}

// describeWorkload says what the cluster says of the ServiceAccount that a request comes from, and of its pod.
func describeWorkload(line *jsonobject.Writer, w *clientauth.Workload) {
	line.String("namespace", w.Namespace)
	line.String("serviceAccount", w.ServiceAccount)
	line.Some("serviceAccountUID", w.ServiceAccountUID)
	line.Some("pod", w.Pod)
	line.Some("podUID", w.PodUID)
	line.Some("node", w.Node)
}

// describeGranted names all scopes that are granted, in full, each with the ScopeGrants that give it: a scope of the
// hierarchical syntax may have an id that the request makes up.
func (rec *record) describeGranted(line *jsonobject.Writer) {
	granted := rec.decision.Granted
	if len(granted) == 0 {
		return
	}
	line.Objects("granted", len(granted), func(line *jsonobject.Writer, i int) {
		givers := granted[i].Givers
		line.String("scope", rec.printable(granted[i].Name, len(granted[i].Name)))
		line.Plains("grants", len(givers), func(text []byte, i int) []byte { return appendName(text, givers[i].Grant) })
	})
}

// appendName of an object of the Kubernetes API.
func appendName(text []byte, name types.NamespacedName) []byte {
	text = append(text, name.Namespace...)
	text = append(text, '/')
	return append(text, name.Name...)
}

// describeRejected names those that were asked for in vain, as the request does, if they are not too many. Obstacles are
// the first few ScopeGrants that would give the scope, each with what keeps it from that.
func (rec *record) describeRejected(line *jsonobject.Writer) {
	rejected := rec.decision.Rejected
	named := min(len(rejected), maxRejected)
	if named > 0 {
		line.Objects("rejected", named, func(line *jsonobject.Writer, i int) {
			line.String("scope", rec.printable(rejected[i].Name, maxScopeName))
			line.String("reason", rejected[i].Reason)
			if obstacles := rejected[i].Obstacles; len(obstacles) > 0 {
				line.Strings("obstacles", min(len(obstacles), maxObstacles), func(i int) string {
					return rec.printable(obstacles[i].String(), maxDetail)
				})
			}
		})
	}
	if more := len(rejected) - named; more > 0 {
		line.Int("rejectedMore", int64(more))
	}
}

// printable is what may be logged of the name of a scope, or of a text that may hold one. What a request calls a scope
// may be anything, also what belongs into another parameter: the secret or assertion that it presents, or a token, of
// which every JSON object's encoding tells (RFC 7515 section 7.1).
func (rec *record) printable(text string, limit int) string {
	if strings.Contains(text, "eyJ") || rec.credentials.RevealedBy(text) {
		return redacted
	}
	return text[:min(len(text), limit)]
}
