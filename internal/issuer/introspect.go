package issuer

import (
	"net/http"
	"strings"
	"time"

	"github.com/m2m-operator/m2m-operator/internal/access"
	"github.com/m2m-operator/m2m-operator/internal/token"
)

const paramToken = "token"

// introspectionParameters are what the introspection endpoint knows (RFC 7662 section 2.1). The hint changes nothing:
// there is one type of token.
var introspectionParameters = []string{
	paramToken, "token_type_hint", paramClientID, paramClientSecret, paramClientAssertion, paramClientAssertionType,
}

var errNoToken = badRequest(codeInvalidRequest, reasonNoToken, "token is missing")

// introspection is the answer of RFC 7662 section 2.2. Of a token that is not active it says that and nothing else,
// whatever the cause: whom a token is not for, learns nothing about it.
type introspection struct {
	Active    bool   `json:"active"`
	Scope     string `json:"scope,omitempty"`
	ClientID  string `json:"client_id,omitempty"`
	Subject   string `json:"sub,omitempty"`
	Audience  string `json:"aud,omitempty"`
	Issuer    string `json:"iss,omitempty"`
	Expiry    int64  `json:"exp,omitempty"`
	IssuedAt  int64  `json:"iat,omitempty"`
	ID        string `json:"jti,omitempty"`
	TokenType string `json:"token_type,omitempty"`
}

// introspect answers an API that asks what a token is worth now.
func (s *Server) introspect(w http.ResponseWriter, r *http.Request, rec *record) reply {
	answer, failure := s.examine(w, r, s.now(), rec)
	if failure != nil {
		issuer, _ := s.state.issuer()
		return failure.reply(issuer.URL)
	}
	rec.active = answer.Active
	return jsonReply(http.StatusOK, answer)
}

// examine is the way of an introspection request. As at the token endpoint nothing is said before the caller is known.
func (s *Server) examine(w http.ResponseWriter, r *http.Request, now time.Time, rec *record) (introspection, *oauthError) {
	form, caller, failure := s.admit(w, r, introspectionParameters, now, rec)
	if failure != nil {
		return introspection{}, failure
	}
	presented := form.get(paramToken)
	if presented == "" {
		return introspection{}, errNoToken
	}
	issuer, _ := s.state.issuer()
	verified, reason := token.Verify(presented, issuer.URL, s.state.publicKey, now)
	rec.tokenID, rec.keyID, rec.tokenClientID = verified.ID, verified.KeyID, verified.ClientID
	if reason == "" {
		rec.decision, reason = s.decideAgain(verified, caller, now)
	}
	if reason == "" {
		reason = s.outdated(verified, issuer)
	}
	if rec.reason = reason; reason != "" {
		return introspection{}, nil
	}
	return activeToken(verified, rec.decision), nil
}

// decideAgain asks what of a token's scopes its client would get now, and whether the caller may know: it must be of the
// namespace of the ApiResource that has the token's audience now. The token's own client is nobody special.
func (s *Server) decideAgain(v token.Verified, caller access.Client, now time.Time) (access.Decision, string) {
	decision := s.state.index.Decide(access.Request{
		Issuer: s.state.issuerName, ClientID: v.ClientID, Audience: v.Audience, Scopes: v.Scopes,
		Standing: true, // the request that expressions looked at is past
	}, now)
	switch {
	case decision.Outcome != access.OutcomeGranted:
		return decision, decision.Reason
	case decision.ApiResource.Namespace != caller.Namespace:
		return decision, reasonNotTheOwner
	}
	return decision, ""
}

// outdated is the reason why a token counts no more although its client might have it now; "" if it does. It is asked
// after the decision, so that a client which is made anew meanwhile is not taken for the one that the token is of.
//
// A token says in which second it was issued, not when in it. It counts as issued when that second began: where it may
// be older than the revocation, it is taken to be.
func (s *Server) outdated(v token.Verified, issuer access.Issuer) string {
	client, known := s.state.index.Client(v.ClientID)
	switch {
	case !known, v.IssuedAt.Before(client.Created): // it was issued to another one of that name
		return reasonOlderThanClient
	case v.IssuedAt.Before(client.TokensRevokedBefore), v.IssuedAt.Before(issuer.TokensRevokedBefore):
		return reasonRevoked
	}
	return ""
}

// activeToken is what a token says, but for scopes that are not granted any more.
func activeToken(v token.Verified, decision access.Decision) introspection {
	var scopes []string
	for _, scope := range decision.Granted {
		scopes = append(scopes, scope.Name)
	}
	return introspection{
		Active: true, Scope: strings.Join(scopes, " "), ClientID: v.ClientID, Subject: v.ClientID, Audience: v.Audience,
		Issuer: v.Issuer, Expiry: v.Expiry.Unix(), IssuedAt: v.IssuedAt.Unix(), ID: v.ID, TokenType: "Bearer",
	}
}
