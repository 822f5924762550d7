package issuer

import (
	"cmp"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/m2m-operator/m2m-operator/internal/access"
	"github.com/m2m-operator/m2m-operator/internal/clientauth"
	"github.com/m2m-operator/m2m-operator/internal/jsonobject"
	"github.com/m2m-operator/m2m-operator/internal/token"
)

const grantClientCredentials = "client_credentials"

var (
	errNoGrantType          = badRequest(codeInvalidRequest, reasonNoGrantType, "grant_type is missing")
	errUnsupportedGrantType = badRequest(codeUnsupportedGrantType, reasonUnsupportedGrantType, "the only grant_type is client_credentials")
	// errInvalidTarget is the one answer for an audience that is missing, malformed or unknown, or that the client has
	// nothing at: which of these it is, is not for the client to find out (RFC 8707 section 2).
	errInvalidTarget   = badRequest(codeInvalidTarget, reasonSeveralAudiences, "the audience or resource is missing, or not one that this client has access to")
	errMalformedScope  = badRequest(codeInvalidScope, reasonMalformedScope, "the scope is malformed, or names more than 512")
	errScopeNotGranted = badRequest(codeInvalidScope, access.ReasonNotGranted, "none of the requested scopes is granted to this client")
	errPartialRefused  = badRequest(codeInvalidScope, access.ReasonPartialRefused, "not all of the requested scopes are granted to this client")
	errTokenTooLarge   = badRequest(codeInvalidScope, reasonTokenTooLarge, "the token would be too large, ask for fewer scopes")
)

// token answers a token request.
func (s *Server) token(w http.ResponseWriter, r *http.Request, rec *record) reply {
	a, failure := s.issue(w, r, s.now(), rec)
	if failure != nil {
		return failure.reply(rec.issuer.URL)
	}
	return a
}

// issue is the way of a token request. The order of its steps is the order in which errors win; of resources and scopes
// nothing is said before the client is known.
func (s *Server) issue(w http.ResponseWriter, r *http.Request, now time.Time, rec *record) (reply, *oauthError) {
	form, client, failure := s.admit(w, r, tokenParameters, now, rec)
	if failure != nil {
		return reply{}, failure
	}
	if failure := checkGrantType(form); failure != nil {
		return reply{}, failure
	}
	audience, failure := findAudience(form)
	if failure != nil {
		return reply{}, failure
	}
	decision, failure := s.decide(client, audience, form.get(paramScope), now, rec)
	if failure != nil {
		return reply{}, failure
	}
	return s.mint(client, decision, now, rec)
}

// admit reads a request to an endpoint that knows these parameters, and finds out which client sends it: the beginning of
// every request that needs one.
func (s *Server) admit(w http.ResponseWriter, r *http.Request, known []string, now time.Time, rec *record) (form, access.Client, *oauthError) {
	if s.state.whyNotIssuing() != "" {
		return nil, access.Client{}, errNotIssuing
	}
	if s.state.tooStale(rec.issuer, now, s.started) {
		return nil, access.Client{}, errTooStale
	}
	f, failure := parse(w, r, &rec.body, known)
	if failure != nil {
		return nil, access.Client{}, failure
	}
	rec.issuer, rec.issuerKnown = s.state.issuer() // a body may take its time to come
	client, failure := s.authenticate(r, f, now, rec)
	return f, client, failure
}

// authenticate finds out which client sends the request.
func (s *Server) authenticate(r *http.Request, f form, now time.Time, rec *record) (access.Client, *oauthError) {
	credentials, failure := clientauth.Read(r.Header, clientauth.Parameters{
		ClientID: f.get(paramClientID), ClientSecret: f.get(paramClientSecret),
		ClientAssertion: f.get(paramClientAssertion), ClientAssertionType: f.get(paramClientAssertionType),
	})
	if failure != nil {
		rec.reason = failure.Reason
		return access.Client{}, authenticationError(failure)
	}
	rec.credentials = credentials
	trust := clientauth.Trust{IssuerURL: rec.issuer.URL, Pepper: *s.state.pepper.Load(), Cluster: s.state.cluster.Load()}
	client, attempt, failure := s.authenticator.Authenticate(credentials, trust, rec.source, now)
	rec.attempt = attempt
	if failure != nil {
		rec.reason = failure.Reason
		return access.Client{}, authenticationError(failure)
	}
	rec.authenticated = true
	return client, nil
}

// authenticationError is the answer to a failed authentication: 401 whichever way the credentials came, so that there
// always is a challenge, or 429 to whoever fails too often.
func authenticationError(failure *clientauth.Failure) *oauthError {
	e := &oauthError{status: http.StatusBadRequest, code: codeInvalidRequest, reason: failure.Reason, description: failure.Description, retryAfter: failure.RetryAfter}
	switch failure.Kind {
	case clientauth.InvalidClient:
		e.status, e.code = http.StatusUnauthorized, codeInvalidClient
	case clientauth.Throttled:
		e.status, e.code = http.StatusTooManyRequests, codeInvalidClient
	}
	return e
}

func checkGrantType(f form) *oauthError {
	switch f.get(paramGrantType) {
	case "":
		return errNoGrantType
	case grantClientCredentials:
		return nil
	}
	return errUnsupportedGrantType
}

// findAudience returns the identifier that the request names by resource (RFC 8707) or by audience, "" if by neither.
// A token has one audience, so that its scopes mean one thing (RFC 9068 section 3).
//
// There is no need to look at its syntax: identifiers are compared character by character, and no ApiResource has one
// that is relative or has a fragment.
func findAudience(f form) (string, *oauthError) {
	resource, audience, resources := "", f.get(paramAudience), 0
	for _, p := range f {
		if p.name == paramResource && p.value != "" {
			resource = p.value
			resources++
		}
	}
	if resources > 1 || (resource != "" && audience != "" && resource != audience) {
		return "", errInvalidTarget
	}
	return cmp.Or(resource, audience), nil
}

// decide asks the index what the client may have. An audience that is not the client's is an error before a malformed
// scope is one.
func (s *Server) decide(client access.Client, audience, scope string, now time.Time, rec *record) (access.Decision, *oauthError) {
	scopes, wellFormed := parseScope(scope)
	decision := s.state.index.Decide(access.Request{
		Issuer: s.state.issuerName, ClientID: client.ID, Audience: audience, Scopes: scopes,
		Authentication: rec.attempt.Method.Authentication(), Source: rec.source,
	}, now)
	rec.decision = decision
	switch {
	case decision.Outcome == access.OutcomeInvalidTarget:
		rec.reason = decision.Reason
		return decision, errInvalidTarget
	case !wellFormed:
		return decision, errMalformedScope
	case decision.Reason == access.ReasonPartialRefused:
		return decision, errPartialRefused
	case decision.Outcome == access.OutcomeInvalidScope:
		return decision, errScopeNotGranted
	case decision.Outcome == access.OutcomeAccessDenied:
		return decision, accessDenied(decision)
	case decision.Outcome != access.OutcomeGranted:
		s.log.Error("unknown outcome", "requestID", rec.id(), "outcome", decision.Outcome)
		return decision, errInternal
	}
	return decision, nil
}

// accessDenied is the answer where an expression refuses, in the words of its owner. How an expression failed is not for
// the client to know.
func accessDenied(decision access.Decision) *oauthError {
	return badRequest(codeAccessDenied, decision.Reason, cmp.Or(decision.Denial, "the API does not allow this request"))
}

// parseScope splits a scope into its tokens (RFC 6749 section 3.3), of which none means all that are granted.
func parseScope(scope string) (tokens []string, wellFormed bool) {
	if scope == "" {
		return nil, true
	}
	if tokens = strings.Split(scope, " "); len(tokens) > maxScopes {
		return nil, false
	}
	for _, t := range tokens {
		if t == "" || strings.ContainsFunc(t, func(c rune) bool { return c < 0x21 || c > 0x7e || c == '"' || c == '\\' }) {
			return nil, false
		}
	}
	return tokens, true
}

// mint makes the token that was decided on, and the answer that it is in.
func (s *Server) mint(client access.Client, decision access.Decision, now time.Time, rec *record) (reply, *oauthError) {
	key, found := s.state.signingKey(decision.Algorithm)
	if !found {
		key, found = s.state.signingKey(decision.OtherAlgorithms...)
	}
	if !rec.issuerKnown || !found {
		s.log.Error("no signing key", "requestID", rec.id(), "algorithm", decision.Algorithm)
		return reply{}, errNotIssuing
	}
	granted := make([]string, 0, len(decision.Granted))
	for _, scope := range decision.Granted {
		granted = append(granted, scope.Name)
	}
	minted, err := token.Mint(key, token.Grant{
		Issuer: rec.issuer.URL, ClientID: client.ID, Audience: decision.Audience, Scopes: granted, Lifetime: decision.Lifetime,
		Claims: decision.Claims,
	}, now, s.random)
	if errors.Is(err, token.ErrTooLarge) {
		return reply{}, errTokenTooLarge
	} else if err != nil {
		s.log.Error("no token made", "requestID", rec.id(), "error", err)
		return reply{}, errInternal
	}
	rec.tokenID, rec.keyID, rec.lifetime = minted.ID, key.KeyID, minted.Lifetime
	return tokenReply(minted, granted, decision.Rejected), nil
}

// tokenReply is RFC 6749 section 5.1. It always names the scope, which may differ from the one that was asked for, and what
// was asked for and not granted: an extension, which clients ignore that do not know it.
func tokenReply(minted token.Token, granted []string, rejected []access.RejectedScope) reply {
	scope := strings.Join(granted, " ")
	answer := jsonobject.Begin(make([]byte, 0, len(minted.JWT)+len(scope)+128))
	answer.Plain("access_token", func(text []byte) []byte { return append(text, minted.JWT...) })
	answer.String("token_type", "Bearer")
	answer.Int("expires_in", int64(minted.Lifetime/time.Second))
	answer.String("scope", scope)
	if len(rejected) > 0 {
		names := make([]string, 0, len(rejected))
		for _, scope := range rejected {
			names = append(names, scope.Name)
		}
		answer.String("rejected_scope", strings.Join(names, " "))
	}
	return jsonReply(http.StatusOK, answer)
}
