package issuer

import (
	"net/http"
	"strings"
	"time"

	"github.com/m2m-operator/m2m-operator/internal/access"
	"github.com/m2m-operator/m2m-operator/internal/jsonobject"
	"github.com/m2m-operator/m2m-operator/internal/token"
)

const paramToken = "token"

// introspectionParameters are what the introspection endpoint knows (RFC 7662 section 2.1). The hint changes nothing:
// there is one type of token.
var introspectionParameters = []string{
	paramToken, "token_type_hint", paramClientID, paramClientSecret, paramClientAssertion, paramClientAssertionType,
}

var errNoToken = badRequest(codeInvalidRequest, reasonNoToken, "token is missing")

// introspect answers an API that asks what a token is worth now.
func (s *Server) introspect(w http.ResponseWriter, r *http.Request, rec *record) reply {
	verified, failure := s.examine(w, r, s.now(), rec)
	if failure != nil {
		return failure.reply(rec.issuer.URL)
	}
	rec.active = rec.reason == ""
	if !rec.active {
		return inactiveReply()
	}
	return activeReply(verified, rec.decision.Granted)
}

// examine is the way of an introspection request. As at the token endpoint nothing is said before the caller is known.
// Where the token is not active the record has the reason.
func (s *Server) examine(w http.ResponseWriter, r *http.Request, now time.Time, rec *record) (token.Verified, *oauthError) {
	form, caller, failure := s.admit(w, r, introspectionParameters, now, rec)
	if failure != nil {
		return token.Verified{}, failure
	}
	presented := form.get(paramToken)
	if presented == "" {
		return token.Verified{}, errNoToken
	}
	verified, reason := token.Verify(presented, rec.issuer.URL, s.state.publicKey, now)
	rec.tokenID, rec.keyID, rec.tokenClientID = verified.ID, verified.KeyID, verified.ClientID
	if reason == "" {
		rec.decision, reason = s.decideAgain(verified, caller, now)
	}
	if reason == "" {
		reason = s.outdated(verified, rec.issuer)
	}
	rec.reason = reason
	return verified, nil
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
func (s *Server) outdated(v token.Verified, issuer *access.Issuer) string {
	client, known := s.state.index.Client(v.ClientID)
	switch {
	case !known, v.IssuedAt.Before(client.Created): // it was issued to another one of that name
		return reasonOlderThanClient
	case v.IssuedAt.Before(client.TokensRevokedBefore), v.IssuedAt.Before(issuer.TokensRevokedBefore):
		return reasonRevoked
	}
	return ""
}

// activeReply is the answer of RFC 7662 section 2.2: what a token says, but for scopes that are not granted any more.
func activeReply(v token.Verified, granted []access.GrantedScope) reply {
	scopes := make([]string, 0, len(granted))
	for _, scope := range granted {
		scopes = append(scopes, scope.Name)
	}
	answer := jsonobject.Begin(make([]byte, 0, 512))
	answer.Bool("active", true)
	answer.String("scope", strings.Join(scopes, " "))
	answer.String("client_id", v.ClientID)
	answer.String("sub", v.ClientID)
	answer.String("aud", v.Audience)
	answer.String("iss", v.Issuer)
	answer.Int("exp", v.Expiry.Unix())
	answer.Int("iat", v.IssuedAt.Unix())
	answer.String("jti", v.ID)
	answer.String("token_type", "Bearer")
	return jsonReply(http.StatusOK, answer)
}

// inactiveReply says of a token that it is not active and nothing else, whatever the cause: whom a token is not for,
// learns nothing about it.
func inactiveReply() reply {
	answer := jsonobject.Begin(nil)
	answer.Bool("active", false)
	return jsonReply(http.StatusOK, answer)
}
