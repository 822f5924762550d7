package access

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
)

// Finding is what a condition reports. If OK the reason is v1alpha1.ReasonAccepted, ReasonResolvedRefs or ReasonActive.
type Finding struct {
	OK              bool
	Reason, Message string
}

var (
	okAccepted     = Finding{true, v1alpha1.ReasonAccepted, "The spec can be acted on"}
	okResolvedRefs = Finding{true, v1alpha1.ReasonResolvedRefs, "Everything that the spec names exists"}
	okActive       = Finding{true, v1alpha1.ReasonActive, "The grant gives its scopes now"}
)

func notOK(reason, message string, args ...any) Finding {
	return Finding{Reason: reason, Message: fmt.Sprintf(message, args...)}
}

// ApiResourceVerdict is what an ApiResource's status should say.
type ApiResourceVerdict struct {
	Accepted, ResolvedRefs Finding
	// Pending counts the clients that wish for what they do not have, by namespace, sorted.
	Pending []Pending
	// NextChange is the next instant at which time alone may change this verdict; zero: never.
	NextChange time.Time
}

// Fit reports whether tokens can be issued for the ApiResource.
func (v ApiResourceVerdict) Fit() bool {
	_, unfit := v.problem()
	return !unfit
}

// problem is the first reason why the ApiResource can have no tokens, if there is one.
func (v ApiResourceVerdict) problem() (Finding, bool) {
	if !v.Accepted.OK {
		return v.Accepted, true
	}
	// A role that names a scope too many gives the others all the same.
	return v.ResolvedRefs, !v.ResolvedRefs.OK && v.ResolvedRefs.Reason != v1alpha1.ReasonUnknownScope
}

// ApiResourceVerdict judges an ApiResource; false if it is gone.
func (x *Index) ApiResourceVerdict(key types.NamespacedName, now time.Time) (ApiResourceVerdict, bool) {
	v, hopes, ok := x.gatherForAPI(key)
	if ok {
		v.Pending, v.NextChange = pending(hopes, now)
	}
	return v, ok
}

func (x *Index) gatherForAPI(key types.NamespacedName) (ApiResourceVerdict, []hope, bool) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	a := live(x, x.apis, key)
	if a == nil {
		return ApiResourceVerdict{}, nil, false
	}
	return x.apiFitness(a), x.hopesFor(a), true
}

// apiFitness is the part of the verdict that decides whether there can be tokens.
func (x *Index) apiFitness(a *apiResource) ApiResourceVerdict {
	v := ApiResourceVerdict{Accepted: okAccepted, ResolvedRefs: okResolvedRefs}
	issuer := x.issuers[a.audience.issuer]
	if issuer == nil {
		v.ResolvedRefs = issuerNotFound(a.audience.issuer)
	} else if len(a.unknownScope) > 0 {
		v.ResolvedRefs = notOK(v1alpha1.ReasonUnknownScope, "spec.roles names what spec.scopes does not declare: %s; declare "+
			"it, or take it out of the role", some(a.unknownScope, ", "))
	}
	reserved, holder := x.mayClaim(a), x.holder(a.audience)
	switch {
	case reserved != nil:
		v.Accepted = notOK(v1alpha1.ReasonIdentifierReserved, "spec.identifier %q: %v", a.audience.identifier, reserved)
	case issuer != nil && posesAsIssuer(a.audience.identifier, issuer.URL):
		v.Accepted = notOK(v1alpha1.ReasonIdentifierInvalid, "spec.identifier is a URL of TokenIssuer %q itself: a token "+
			"for it could be taken for a client's assertion; use an identifier of the API's own", issuer.Name)
	case holder != a:
		v.Accepted = notOK(v1alpha1.ReasonConflicted, "The identifier %q belongs to the older ApiResource %s of TokenIssuer "+
			"%q: create the younger one anew with another identifier, or have the older one deleted",
			a.audience.identifier, holder.key, a.audience.issuer)
	case issuer != nil && a.algorithm != "" && !slices.Contains(issuer.Algorithms, a.algorithm):
		v.Accepted = notOK(v1alpha1.ReasonUnsupportedAlgorithm, "TokenIssuer %q does not sign with %s: use one of %v in "+
			"spec.token.signingAlgorithm, or none", issuer.Name, a.algorithm, issuer.Algorithms)
	case len(a.invalid) > 0:
		v.Accepted = notOK(v1alpha1.ReasonInvalidExpression, "%s", some(a.invalid, "; "))
	}
	return v
}

// GrantVerdict is what a ScopeGrant's status should say.
type GrantVerdict struct {
	Accepted, ResolvedRefs, Active Finding
	// MatchedClients counts the clients of the API's issuer that the subjects match, also suspended ones.
	MatchedClients int
	// NextChange is the next instant at which time alone changes this verdict; zero: never.
	NextChange time.Time
}

// GrantVerdict judges a ScopeGrant; false if it is gone.
func (x *Index) GrantVerdict(key types.NamespacedName, now time.Time) (GrantVerdict, bool) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	g := live(x, x.grants, key)
	if g == nil {
		return GrantVerdict{}, false
	}
	api := live(x, x.apis, g.api)
	v := GrantVerdict{
		Accepted: okAccepted, ResolvedRefs: x.grantRefs(g, api), Active: okActive, NextChange: g.nextActivity(now),
	}
	switch {
	case len(g.invalidConditions) > 0:
		v.Accepted = notOK(v1alpha1.ReasonInvalidExpression, "%s", some(g.invalidConditions, "; "))
	case len(g.invalidSubjects) > 0:
		v.Accepted = notOK(v1alpha1.ReasonInvalidSelector, "%s", some(g.invalidSubjects, "; "))
	}
	noSubject := len(g.names) == 0 && len(g.selectors) == 0
	// With unknown scopes or roles the API is there and fit, so that the known ones are granted all the same.
	unknown := v.ResolvedRefs.Reason == v1alpha1.ReasonUnknownScope || v.ResolvedRefs.Reason == v1alpha1.ReasonUnknownRole
	someScope := unknown && len(effectiveScopes(api, []*grant{g})) > 0
	switch reason := g.activity(now); {
	case reason != v1alpha1.ReasonActive:
		v.Active = notOK(reason, "The grant is %s", g.activityMessage(now))
	case !v.Accepted.OK && noSubject:
		v.Active = v.Accepted
	case !v.ResolvedRefs.OK && !someScope:
		v.Active = v.ResolvedRefs
	}
	if api != nil {
		x.clientsOf(g, func(c *client) {
			if c.issuer == api.audience.issuer && !x.gone(c.key.Namespace) {
				v.MatchedClients++
			}
		})
	}
	if v.Active.OK && v.MatchedClients == 0 {
		v.Active.Message = "The grant is in force, and no M2MClient matches its subjects yet: compare their namespaces, names and labels"
	}
	return v, true
}

// grantRefs judges what the grant names of its API, which is nil if it does not exist.
func (x *Index) grantRefs(g *grant, api *apiResource) Finding {
	if api == nil {
		return notOK(v1alpha1.ReasonApiResourceNotFound, "There is no ApiResource %q in namespace %q: create it, or name "+
			"another of this namespace in spec.apiResourceRef", g.api.Name, g.api.Namespace)
	}
	if p, unfit := x.apiFitness(api).problem(); unfit {
		return notOK(v1alpha1.ReasonApiResourceNotAccepted, "ApiResource %q can have no tokens: %s: %s",
			g.api.Name, p.Reason, p.Message)
	}
	var unknown []string
	for _, role := range g.roles {
		if _, ok := api.roles[role]; !ok {
			unknown = append(unknown, strconv.Quote(role))
		}
	}
	if len(unknown) > 0 {
		return notOK(v1alpha1.ReasonUnknownRole, "ApiResource %q has no role %s: add them there in spec.roles, or take them "+
			"out of this grant", g.api.Name, some(unknown, ", "))
	}
	var malformed []string
	for _, name := range api.undeclared(g.scopes) {
		if api.read(name).malformed {
			malformed = append(malformed, strconv.Quote(name))
		}
		unknown = append(unknown, strconv.Quote(name))
	}
	if len(malformed) > 0 {
		return notOK(v1alpha1.ReasonUnknownScope, "ApiResource %q has hierarchical scopes, and %s is none: write resource, "+
			"resource:action or resource:id:action, with no part empty", g.api.Name, some(malformed, ", "))
	}
	if len(unknown) > 0 {
		return notOK(v1alpha1.ReasonUnknownScope, "ApiResource %q does not declare %s: declare them there in spec.scopes, or "+
			"take them out of this grant", g.api.Name, some(unknown, ", "))
	}
	return okResolvedRefs
}

// activityMessage completes "the grant is".
func (g *grant) activityMessage(now time.Time) string {
	switch g.activity(now) {
	case v1alpha1.ReasonInvalidExpression:
		return "without effect, since one of its conditions is invalid"
	case v1alpha1.ReasonSuspended:
		return "suspended"
	case v1alpha1.ReasonNotYetActive:
		return "not active before " + g.notBefore.UTC().Format(time.RFC3339)
	case v1alpha1.ReasonExpired:
		return "expired since " + g.expiresAt.UTC().Format(time.RFC3339)
	}
	return "active"
}

// ClientVerdict is what an M2MClient's status should say about what it may have.
type ClientVerdict struct {
	Accepted, ResolvedRefs Finding
	// Access that the client has now, sorted by audience; none while it is suspended.
	Access []Access
	// Wishes says what has become of each of spec.requests, in their order.
	Wishes []WishVerdict
	// NextChange is the next instant at which time alone may change this verdict, which stays as it is until then;
	// zero: never.
	NextChange time.Time
}

// Access is what a client may have of one API.
type Access struct {
	ApiResource types.NamespacedName
	Audience    string
	Scopes      []string // sorted, never empty
}

// ClientVerdict judges an M2MClient; false if it is gone.
func (x *Index) ClientVerdict(key types.NamespacedName, now time.Time) (ClientVerdict, bool) {
	v, p, hopes, reached, ok := x.gatherForClient(key)
	if !ok {
		return v, false
	}
	for _, h := range hopes {
		wish, changes := h.judge(nil, now)
		v.Wishes, v.NextChange = append(v.Wishes, wish), earlier(v.NextChange, changes)
	}
	for api, grants := range reached {
		v.NextChange = earlier(v.NextChange, nextActivity(grants, now))
		d := decide(parties{p.issuer, p.client, api}, grants, Request{Standing: true}, now)
		if d.Outcome == OutcomeGranted {
			v.Access = append(v.Access, Access{ApiResource: api.key, Audience: api.audience.identifier, Scopes: names(d.Granted)})
		}
	}
	// No two have the same audience: one ApiResource holds it, and only of the client's issuer.
	slices.SortFunc(v.Access, func(a, b Access) int { return cmp.Compare(a.Audience, b.Audience) })
	return v, true
}

// gatherForClient finds what the verdict on a client depends on: its wishes, and, unless it is suspended, the ApiResources
// that may give it something, with the grants that match it.
func (x *Index) gatherForClient(key types.NamespacedName) (v ClientVerdict, p parties, hopes []hope, reached map[*apiResource][]*grant, ok bool) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	c := live(x, x.clients, key)
	if c == nil {
		return v, p, nil, nil, false
	}
	p = parties{issuer: x.issuers[c.issuer], client: c}
	v = ClientVerdict{Accepted: x.clientAcceptance(c), ResolvedRefs: okResolvedRefs}
	if p.issuer == nil {
		v.ResolvedRefs = issuerNotFound(c.issuer)
	}
	for _, w := range c.wishes {
		hopes = append(hopes, x.hopeOf(c, w))
	}
	if !c.suspended {
		reached = x.reachable(c)
		maps.DeleteFunc(reached, func(api *apiResource, _ []*grant) bool { return !x.apiFitness(api).Fit() })
	}
	return v, p, hopes, reached, true
}

// reachable are the ApiResources of the client's issuer that may give it something, with the grants that match it.
func (x *Index) reachable(c *client) map[*apiResource][]*grant {
	out := map[*apiResource][]*grant{}
	for _, g := range x.grantsMatching(c) {
		if api := live(x, x.apis, g.api); api != nil && api.audience.issuer == c.issuer {
			out[api] = append(out[api], g)
		}
	}
	for api := range x.open.of(c.issuer) {
		if _, granted := out[api]; !granted && !x.gone(api.key.Namespace) {
			out[api] = nil
		}
	}
	return out
}

// clientAcceptance judges how the client wants to prove itself. What is unfit proves nothing, and leaves the other
// methods as they are.
func (x *Index) clientAcceptance(c *client) Finding {
	if c.invalidKeys != nil {
		return notOK(v1alpha1.ReasonJWKSInvalid, "No assertion is accepted before every key is fit: %v", c.invalidKeys)
	}
	if c.serviceAccount == "" {
		return okAccepted
	}
	if holder := x.accounts.holder(c.account(), x); holder != c {
		return notOK(v1alpha1.ReasonConflicted, "ServiceAccount %q belongs to the older M2MClient %q of TokenIssuer %q: name "+
			"another one in spec.serviceAccountName, or have the older one deleted", c.serviceAccount, holder.key.Name, c.issuer)
	}
	return okAccepted
}

func issuerNotFound(name string) Finding {
	return notOK(v1alpha1.ReasonIssuerNotFound, "There is no TokenIssuer %q: create it, or name one that exists in "+
		"spec.issuerRef (which is immutable: delete the object and create it anew)", name)
}

// earlier of two instants, of which zero means never.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || (!b.IsZero() && b.Before(a)) {
		return b
	}
	return a
}

// some lists the first few: statuses and logs must not grow with other people's lists.
func some(items []string, separator string) string {
	const most = 5
	if len(items) <= most {
		return strings.Join(items, separator)
	}
	return fmt.Sprintf("%s and %d more", strings.Join(items[:most], separator), len(items)-most)
}
