package access

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
)

// Outcome is what becomes of a request.
type Outcome string

// The outcomes.
const (
	// OutcomeGranted: a token with the granted scopes, which may be fewer than were asked for.
	OutcomeGranted Outcome = "Granted"
	// OutcomeInvalidTarget: the client has nothing at this audience, or there is no such audience. Which of the two is
	// not for the client to know.
	OutcomeInvalidTarget Outcome = "InvalidTarget"
	// OutcomeInvalidScope: the client has some scope at this audience, but none that it asked for, or not all and the
	// API wants all.
	OutcomeInvalidScope Outcome = "InvalidScope"
	// OutcomeAccessDenied: an expression refuses what grants would give.
	OutcomeAccessDenied Outcome = "AccessDenied"
)

// Reasons of decisions and of rejected scopes, besides those of package v1alpha1: IssuerNotFound, Suspended,
// ApiResourceNotFound, ApiResourceNotAccepted and UnknownScope.
const (
	// ReasonGranted: every asked scope is granted, or none was asked for.
	ReasonGranted = "Granted"
	// ReasonPartiallyGranted: some of the asked scopes are granted.
	ReasonPartiallyGranted = "PartiallyGranted"
	// ReasonNotGranted: no ScopeGrant gives it to this client now.
	ReasonNotGranted = "NotGranted"
	// ReasonConditionNotMet: a ScopeGrant would give it, but for one of its conditions.
	ReasonConditionNotMet = "ConditionNotMet"
	// ReasonRuleNotMet: one of the ApiResource's rules is not met.
	ReasonRuleNotMet = "RuleNotMet"
	// ReasonExpressionFailed: a condition, rule or claim could not be evaluated.
	ReasonExpressionFailed = "ExpressionFailed"
	// ReasonPartialRefused: some of the asked scopes are not granted, and the ApiResource wants all or none.
	ReasonPartialRefused = "PartialRefused"
	// ReasonClientNotFound: no M2MClient has this client_id.
	ReasonClientNotFound = "ClientNotFound"
	// ReasonClientOfOtherIssuer: the M2MClient belongs to another TokenIssuer.
	ReasonClientOfOtherIssuer = "ClientOfOtherIssuer"
	// ReasonNoAudience: the request names no audience and the M2MClient has no defaultAudience.
	ReasonNoAudience = "NoAudience"
)

// Request is what an authenticated client asks of an issuer. An empty audience means the client's default, no scopes
// means all that are granted.
type Request struct {
	Issuer, ClientID, Audience string
	Scopes                     []string

	// Authentication is how the client proved itself, and Source where it sends the request from, as expressions see it.
	Authentication v1alpha1.AuthenticationMethod
	Source         netip.Addr

	// Standing asks what the client may have whatever a request is like: expressions that look at the request are left
	// out, and so are claims.
	Standing bool
}

// Decision is the answer to a Request. Only Outcome, Denial and the names of scopes are for the client; reasons and
// messages are for operators.
type Decision struct {
	Outcome         Outcome
	Reason, Message string
	// Denial is what the owner of the expression that refuses tells the client, in the characters of an
	// error_description (RFC 6749 section 5.2); "" if nothing.
	Denial string
	// Audience that was asked for, or the client's default.
	Audience string
	// ApiResource that has the audience, whatever the outcome; zero if there is none.
	ApiResource types.NamespacedName
	// Granted scopes, sorted by name. Where the outcome is against the client they are those that grants would give.
	Granted []GrantedScope
	// Rejected are the other asked scopes, sorted by name. They are explained also where nothing is granted.
	Rejected []RejectedScope
	// Claims that the ApiResource adds to the token, if one is granted, as JSON.
	Claims map[string]json.RawMessage
	// Lifetime and Algorithm of the token, if one is granted.
	Lifetime  time.Duration
	Algorithm v1alpha1.SigningAlgorithm
	// Rules of the ApiResource that Request.Standing left out: a request must meet them besides.
	Rules []string
	// OtherAlgorithms may sign it as long as no key of Algorithm does, the best first. There are none where the
	// ApiResource names its algorithm itself. They are to be read only.
	OtherAlgorithms []v1alpha1.SigningAlgorithm
}

// GrantedScope is a scope with everything that gives it, sorted by grant; nothing if the ApiResource gives every scope to
// any client.
type GrantedScope struct {
	Name   string
	Givers []Giver
}

// Giver is one ScopeGrant that gives a scope.
type Giver struct {
	Grant types.NamespacedName
	// Role through which it gives the scope; "" if it names the scope, or one that covers it, itself.
	Role string
	// Subject is the place in spec.subjects of the first entry that matches the client.
	Subject int
	// Conditions of the grant that Request.Standing left out: a request must meet them besides.
	Conditions []string
}

// RejectedScope is a scope with the reason why it is not granted.
type RejectedScope struct {
	Name, Reason, Message string
	// Obstacles are the ScopeGrants that would give the scope, each with the reason why it does not.
	Obstacles []Obstacle
}

// Obstacle is why a ScopeGrant does not give what it would.
type Obstacle struct {
	Grant           types.NamespacedName
	Reason, Message string
}

// Decide says what the client may have.
func (x *Index) Decide(r Request, now time.Time) Decision {
	p, grants, d := x.gather(r)
	if d.Reason != "" {
		return d
	}
	// Records are never changed, so expressions need not keep anybody waiting.
	decided := decide(p, grants, r, now)
	decided.Audience, decided.ApiResource = d.Audience, d.ApiResource
	return decided
}

// parties are those whom a request concerns.
type parties struct {
	issuer *issuer
	client *client
	api    *apiResource
}

// gather finds them, and the grants between client and API. If one is missing or unfit, the decision says which and why.
func (x *Index) gather(r Request) (parties, []*grant, Decision) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	d := Decision{Outcome: OutcomeInvalidTarget, Audience: r.Audience}
	p, ok := x.parties(r, &d)
	if !ok {
		return p, nil, d
	}
	return p, x.grantsFor(p.api.key, p.client), d
}

// parties finds them and fills in the audience; if one is missing or unfit, the decision says which and why.
func (x *Index) parties(r Request, d *Decision) (parties, bool) {
	p := parties{issuer: x.issuers[r.Issuer], client: x.clientByID(r.ClientID)}
	refuse := func(reason, message string) (parties, bool) {
		d.Reason, d.Message = reason, message
		return p, false
	}
	switch {
	case p.issuer == nil:
		return refuse(v1alpha1.ReasonIssuerNotFound, fmt.Sprintf("There is no TokenIssuer %q", r.Issuer))
	case p.client == nil:
		return refuse(ReasonClientNotFound, fmt.Sprintf("There is no M2MClient with client_id %q", r.ClientID))
	case p.client.issuer != r.Issuer:
		return refuse(ReasonClientOfOtherIssuer, fmt.Sprintf("M2MClient %s belongs to TokenIssuer %q", p.client.key, p.client.issuer))
	case p.client.suspended:
		return refuse(v1alpha1.ReasonSuspended, fmt.Sprintf("M2MClient %s is suspended", p.client.key))
	}
	if d.Audience == "" {
		d.Audience = p.client.defaultAudience
	}
	if d.Audience == "" {
		return refuse(ReasonNoAudience, fmt.Sprintf("The request names no audience, and M2MClient %s has no spec.defaultAudience", p.client.key))
	}
	if p.api = x.holder(audience{r.Issuer, d.Audience}); p.api == nil {
		return refuse(v1alpha1.ReasonApiResourceNotFound,
			fmt.Sprintf("No ApiResource of TokenIssuer %q has the identifier %q", r.Issuer, d.Audience))
	}
	d.ApiResource = p.api.key
	if problem, unfit := x.apiFitness(p.api).problem(); unfit {
		return refuse(v1alpha1.ReasonApiResourceNotAccepted,
			fmt.Sprintf("ApiResource %s: %s: %s", p.api.key, problem.Reason, problem.Message))
	}
	return p, true
}

// lifetime is the shortest that anybody asks for.
func (p parties) lifetime() time.Duration {
	out := p.issuer.DefaultLifetime
	if p.api.lifetime > 0 {
		out = p.api.lifetime
	}
	if p.client.lifetime > 0 {
		out = min(out, p.client.lifetime)
	}
	return min(out, p.issuer.MaxLifetime)
}

// algorithm is the API's, or else the issuer's first.
func (p parties) algorithm() v1alpha1.SigningAlgorithm {
	if p.api.algorithm != "" {
		return p.api.algorithm
	}
	return p.issuer.Algorithms[0]
}

// otherAlgorithms are the issuer's, unless the API names its own.
func (p parties) otherAlgorithms() []v1alpha1.SigningAlgorithm {
	if p.api.algorithm != "" {
		return nil
	}
	return p.issuer.otherAlgorithms
}

// split parts the grants that are active now from the others. Commonly all are.
func split(grants []*grant, now time.Time) (active, dormant []*grant) {
	if !slices.ContainsFunc(grants, func(g *grant) bool { return g.activity(now) != v1alpha1.ReasonActive }) {
		return grants, nil
	}
	for _, g := range grants {
		if g.activity(now) == v1alpha1.ReasonActive {
			active = append(active, g)
		} else {
			dormant = append(dormant, g)
		}
	}
	return active, dormant
}

// effectiveScopes are those that the grants give and the API declares, sorted.
func effectiveScopes(a *apiResource, grants []*grant) []string {
	var out []string
	for _, g := range grants {
		for _, set := range g.sets(a) {
			for _, name := range set.names {
				if a.declares(a.read(name)) {
					out = append(out, name)
				}
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}
