package issuer

import (
	"cmp"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/internal/access"
	"github.com/m2m-operator/m2m-operator/internal/clientauth"
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

// tokenResponse is RFC 6749 section 5.1. It always names the scope, which may differ from the one that was asked for.
type tokenResponse struct {
	AccessToken string `json:"access_token"`
	TokenType   string `json:"token_type"`
	ExpiresIn   int64  `json:"expires_in"`
	Scope       string `json:"scope"`
	// RejectedScope names what was asked for and not granted: an extension, which clients ignore that do not know it.
	RejectedScope string `json:"rejected_scope,omitempty"`
}

// token answers a token request.
func (s *Server) token(w http.ResponseWriter, r *http.Request, rec *record) reply {
	response, failure := s.issue(w, r, s.now(), rec)
	if failure != nil {
		issuer, _ := s.state.issuer()
		return failure.reply(issuer.URL)
	}
	return jsonReply(http.StatusOK, response)
}

// issue is the way of a token request. The order of its steps is the order in which errors win; of resources and scopes
// nothing is said before the client is known.
func (s *Server) issue(w http.ResponseWriter, r *http.Request, now time.Time, rec *record) (tokenResponse, *oauthError) {
	form, client, failure := s.admit(w, r, tokenParameters, now, rec)
	if failure != nil {
		return tokenResponse{}, failure
	}
	if failure := checkGrantType(form); failure != nil {
		return tokenResponse{}, failure
	}
	audience, failure := findAudience(form)
	if failure != nil {
		return tokenResponse{}, failure
	}
	decision, failure := s.decide(client, audience, form.get(paramScope), now, rec)
	if failure != nil {
		return tokenResponse{}, failure
	}
	return s.mint(client, decision, now, rec)
}

// admit reads a request to an endpoint that knows these parameters, and finds out which client sends it: the beginning of
// every request that needs one.
func (s *Server) admit(w http.ResponseWriter, r *http.Request, known []string, now time.Time, rec *record) (form, access.Client, *oauthError) {
	if s.state.whyNotIssuing() != "" {
		return form{}, access.Client{}, errNotIssuing
	}
	f, failure := parse(w, r, known)
	if failure != nil {
		return form{}, access.Client{}, failure
	}
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
	rec.reveals = credentials.RevealedBy
	issuer, _ := s.state.issuer()
	trust := clientauth.Trust{IssuerURL: issuer.URL, Pepper: *s.state.pepper.Load(), Cluster: s.state.cluster.Load()}
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
	resources := slices.DeleteFunc(slices.Clone(f.values[paramResource]), func(r string) bool { return r == "" })
	resource, audience := strings.Join(resources, ""), f.get(paramAudience)
	if len(resources) > 1 || (resource != "" && audience != "" && resource != audience) {
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
		s.log.Error("unknown outcome", "requestID", rec.id, "outcome", decision.Outcome)
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

// mint makes the token that was decided on.
func (s *Server) mint(client access.Client, decision access.Decision, now time.Time, rec *record) (tokenResponse, *oauthError) {
	issuer, ok := s.state.issuer()
	key, found := s.state.signingKey(append([]v1alpha1.SigningAlgorithm{decision.Algorithm}, decision.OtherAlgorithms...)...)
	if !ok || !found {
		s.log.Error("no signing key", "requestID", rec.id, "algorithm", decision.Algorithm)
		return tokenResponse{}, errNotIssuing
	}
	var granted, rejected []string
	for _, scope := range decision.Granted {
		granted = append(granted, scope.Name)
	}
	for _, scope := range decision.Rejected {
		rejected = append(rejected, scope.Name)
	}
	minted, err := token.Mint(key, token.Grant{
		Issuer: issuer.URL, ClientID: client.ID, Audience: decision.Audience, Scopes: granted, Lifetime: decision.Lifetime,
		Claims: decision.Claims,
	}, now, s.random)
	if errors.Is(err, token.ErrTooLarge) {
		return tokenResponse{}, errTokenTooLarge
	} else if err != nil {
		s.log.Error("no token made", "requestID", rec.id, "error", err)
		return tokenResponse{}, errInternal
	}
	rec.tokenID, rec.keyID, rec.lifetime = minted.ID, key.KeyID, minted.Lifetime
	return tokenResponse{
		AccessToken: minted.JWT, TokenType: "Bearer", ExpiresIn: int64(minted.Lifetime / time.Second),
		Scope: strings.Join(granted, " "), RejectedScope: strings.Join(rejected, " "),
	}, nil
}
