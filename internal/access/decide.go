package access

import (
	"fmt"
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
	// OutcomeInvalidScope: the client has some scope at this audience, but none that it asked for.
	OutcomeInvalidScope Outcome = "InvalidScope"
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
}

// Decision is the answer to a Request. Only Outcome and the names of scopes are for the client; reasons and messages
// are for operators.
type Decision struct {
	Outcome         Outcome
	Reason, Message string
	// Audience that was asked for, or the client's default.
	Audience string
	// ApiResource that has the audience, whatever the outcome; zero if there is none.
	ApiResource types.NamespacedName
	// Granted scopes, sorted by name.
	Granted []GrantedScope
	// Rejected are the other asked scopes, sorted by name. They are explained also where nothing is granted.
	Rejected []RejectedScope
	// Lifetime and Algorithm of the token, if one is granted.
	Lifetime  time.Duration
	Algorithm v1alpha1.SigningAlgorithm
}

// GrantedScope is a scope with every active grant that gives it, sorted.
type GrantedScope struct {
	Name   string
	Grants []types.NamespacedName
}

// RejectedScope is a scope with the reason why it is not granted.
type RejectedScope struct {
	Name, Reason, Message string
}

// Decide says what the client may have.
func (x *Index) Decide(r Request, now time.Time) Decision {
	x.mu.RLock()
	defer x.mu.RUnlock()
	d := Decision{Outcome: OutcomeInvalidTarget, Audience: r.Audience}
	p, ok := x.parties(r, &d)
	if !ok {
		return d
	}
	active, dormant := split(x.grantsFor(p.api.key, p.client), now)
	asked := slices.Compact(slices.Sorted(slices.Values(r.Scopes)))
	everything := len(asked) == 0
	if everything {
		asked = effectiveScopes(p.api, active)
	}
	for _, scope := range asked {
		if givers := p.api.givers(scope, active); len(givers) > 0 {
			d.Granted = append(d.Granted, GrantedScope{Name: scope, Grants: givers})
		} else {
			d.Rejected = append(d.Rejected, reject(scope, p, dormant, now))
		}
	}
	switch {
	case len(d.Granted) > 0:
		d.Outcome, d.Reason, d.Message = OutcomeGranted, ReasonGranted, "Every asked scope is granted"
		if everything {
			d.Message = "No scope was asked for: all that are granted are given"
		} else if len(d.Rejected) > 0 {
			d.Reason, d.Message = ReasonPartiallyGranted, "Some of the asked scopes are not granted"
		}
		d.Lifetime, d.Algorithm = p.lifetime(), p.algorithm()
	case !everything && len(effectiveScopes(p.api, active)) > 0:
		d.Outcome, d.Reason = OutcomeInvalidScope, ReasonNotGranted
		d.Message = "The client has other scopes of the API, but none of those it asked for"
	default:
		d.Reason, d.Message = ReasonNotGranted, nothingGranted(p, active, dormant, now)
	}
	return d
}

// parties are those whom a request concerns.
type parties struct {
	issuer *issuer
	client *client
	api    *apiResource
}

// parties finds them and fills in the audience; if one is missing or unfit, the decision says which and why.
func (x *Index) parties(r Request, d *Decision) (parties, bool) {
	p := parties{issuer: x.issuers[r.Issuer], client: x.clientByID(r.ClientID)}
	switch {
	case p.issuer == nil:
		d.Reason, d.Message = v1alpha1.ReasonIssuerNotFound, fmt.Sprintf("There is no TokenIssuer %q", r.Issuer)
		return p, false
	case p.client == nil:
		d.Reason, d.Message = ReasonClientNotFound, fmt.Sprintf("There is no M2MClient with client_id %q", r.ClientID)
		return p, false
	case p.client.issuer != r.Issuer:
		d.Reason = ReasonClientOfOtherIssuer
		d.Message = fmt.Sprintf("M2MClient %s belongs to TokenIssuer %q", p.client.key, p.client.issuer)
		return p, false
	case p.client.suspended:
		d.Reason, d.Message = v1alpha1.ReasonSuspended, fmt.Sprintf("M2MClient %s is suspended", p.client.key)
		return p, false
	}
	if d.Audience == "" {
		d.Audience = p.client.defaultAudience
	}
	if d.Audience == "" {
		d.Reason = ReasonNoAudience
		d.Message = fmt.Sprintf("The request names no audience, and M2MClient %s has no spec.defaultAudience", p.client.key)
		return p, false
	}
	if p.api = x.holder(audience{r.Issuer, d.Audience}); p.api == nil {
		d.Reason = v1alpha1.ReasonApiResourceNotFound
		d.Message = fmt.Sprintf("No ApiResource of TokenIssuer %q has the identifier %q", r.Issuer, d.Audience)
		return p, false
	}
	d.ApiResource = p.api.key
	if problem, unfit := x.apiVerdict(p.api).problem(); unfit {
		d.Reason = v1alpha1.ReasonApiResourceNotAccepted
		d.Message = fmt.Sprintf("ApiResource %s: %s: %s", p.api.key, problem.Reason, problem.Message)
		return p, false
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

// split parts the grants that are active now from the others.
func split(grants []*grant, now time.Time) (active, dormant []*grant) {
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
		for _, scope := range g.scopes {
			if a.declares(scope) {
				out = append(out, scope)
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// givers are those of the grants that give the scope; nobody can give what the API does not declare.
func (a *apiResource) givers(scope string, grants []*grant) []types.NamespacedName {
	if !a.declares(scope) {
		return nil
	}
	var out []types.NamespacedName
	for _, g := range grants {
		if g.gives(scope) {
			out = append(out, g.key)
		}
	}
	return out
}

// reject explains why nobody gives the scope, naming the grants that would if they were active.
func reject(scope string, p parties, dormant []*grant, now time.Time) RejectedScope {
	if !p.api.declares(scope) {
		return RejectedScope{scope, v1alpha1.ReasonUnknownScope,
			fmt.Sprintf("ApiResource %s does not declare this scope", p.api.key)}
	}
	message := fmt.Sprintf("No ScopeGrant of ApiResource %s gives this scope to M2MClient %s", p.api.key, p.client.key)
	var would []string
	for _, g := range dormant {
		if g.gives(scope) {
			would = append(would, g.describe(now))
		}
	}
	if len(would) > 0 {
		message += "; these would, if they were active: " + some(would, ", ")
	}
	return RejectedScope{scope, ReasonNotGranted, message}
}

// nothingGranted explains why the client has no scope at all of an API.
func nothingGranted(p parties, active, dormant []*grant, now time.Time) string {
	message := fmt.Sprintf("No ScopeGrant of ApiResource %s gives M2MClient %s anything", p.api.key, p.client.key)
	var idle []string
	for _, g := range dormant {
		idle = append(idle, g.describe(now))
	}
	for _, g := range active {
		idle = append(idle, g.key.String()+" (names no scope that the ApiResource declares)")
	}
	if len(idle) > 0 {
		message += "; these name it: " + some(idle, ", ")
	}
	return message
}

// describe is the grant's name, and why it is not active.
func (g *grant) describe(now time.Time) string {
	return fmt.Sprintf("%s (%s)", g.key, g.activityMessage(now))
}
