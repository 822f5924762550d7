package issuer

import (
	"net/http"
	"strconv"
	"time"

	"github.com/m2m-operator/m2m-operator/internal/jsonobject"
	"github.com/m2m-operator/m2m-operator/internal/keyring"
)

const (
	typeForm = "application/x-www-form-urlencoded"
	typeJSON = "application/json"
	typeJWKS = "application/jwk-set+json" // RFC 7517 section 8.5.1
	typeText = "text/plain; charset=utf-8"
)

// reply is everything that is answered to a request.
type reply struct {
	status      int
	contentType string
	body        []byte
	// errorCode is the OAuth error, "" for none, and reason what operators are told of it.
	errorCode, reason string
	// cacheControl is for answers that may be stored; all others must not be (RFC 6749 section 5.1).
	cacheControl string
	// etag of a stored answer.
	etag string
	// keyRing names the ring of a JWKS. The manager reads it, to know which keys sign here.
	keyRing string
	// anyOrigin lets scripts of any web page read the answer.
	anyOrigin bool
	// allow lists the methods of the endpoint, where another one was used (RFC 9110 section 15.5.6).
	allow string
	// challenge says how to authenticate. Every 401 has one (RFC 9110 section 15.5.2).
	challenge string
	// retryAfter is when to come again, where that may help.
	retryAfter time.Duration
	// closing ends the connection: what is left of the request shall not be read.
	closing bool
}

// The values of fields that many answers have. Nobody changes what is in a header, so all of them share these.
var (
	valueNoStore   = []string{"no-store"}
	valueNoCache   = []string{"no-cache"}
	valueNosniff   = []string{"nosniff"}
	valueAnyOrigin = []string{"*"}
	valueClose     = []string{"close"}

	valuesOfType = map[string][]string{typeJSON: {typeJSON}, typeJWKS: {typeJWKS}, typeText: {typeText}}
)

var fieldKeyRing = http.CanonicalHeaderKey(keyring.Header)

// write is the only place that answers. It names fields in their canonical form, as Header.Set would make them.
func (a *reply) write(w http.ResponseWriter) {
	h := w.Header()
	set := func(name, value string) {
		if value != "" {
			h[name] = []string{value}
		}
	}
	if a.cacheControl == "" {
		h["Cache-Control"], h["Pragma"] = valueNoStore, valueNoCache
	}
	set("Cache-Control", a.cacheControl)
	if values, ok := valuesOfType[a.contentType]; ok {
		h["Content-Type"] = values
	}
	set("Etag", a.etag)
	set(fieldKeyRing, a.keyRing)
	set("Allow", a.allow)
	set("Www-Authenticate", a.challenge)
	h["X-Content-Type-Options"] = valueNosniff
	if a.anyOrigin {
		h["Access-Control-Allow-Origin"] = valueAnyOrigin
	}
	if a.retryAfter > 0 {
		set("Retry-After", strconv.FormatInt(int64((a.retryAfter+time.Second-1)/time.Second), 10))
	}
	if a.closing {
		h["Connection"] = valueClose
	}
	if a.status != http.StatusNotModified {
		set("Content-Length", strconv.Itoa(len(a.body)))
	}
	w.WriteHeader(a.status)
	_, _ = w.Write(a.body) // when it fails, nobody is left to be told
	// What the transport holds back it would send when the request has given back its place, and over HTTP/2 that takes as
	// long as the reader likes.
	if flusher, ok := w.(http.Flusher); ok {
		flusher.Flush()
	}
}

// jsonReply answers with a JSON object that is complete.
func jsonReply(status int, object *jsonobject.Writer) reply {
	return reply{status: status, contentType: typeJSON, body: append(object.End(), '\n')}
}

func textReply(status int, text string) reply {
	return reply{status: status, contentType: typeText, body: []byte(text + "\n")}
}

// oauthError is an error answer (RFC 6749 section 5.2). Descriptions are in the characters that the section allows,
// and fixed, but for what the owner of an expression lets it say: nothing of a request, and nothing of our insides, gets
// into one.
type oauthError struct {
	status      int
	code        string
	description string
	// reason is for operators: one of the fixed words of reasons.go, clientauth and access.
	reason     string
	allow      string
	retryAfter time.Duration
	closing    bool
}

// Error codes of RFC 6749 sections 5.2 and 4.1.2.1, and of RFC 8707 section 2.
const (
	codeInvalidRequest       = "invalid_request"
	codeInvalidClient        = "invalid_client"
	codeUnsupportedGrantType = "unsupported_grant_type"
	codeInvalidScope         = "invalid_scope"
	codeInvalidTarget        = "invalid_target"
	codeAccessDenied         = "access_denied"
	codeServerError          = "server_error"
	codeUnavailable          = "temporarily_unavailable"
	codeNotFound             = "not_found" // ours: there is no endpoint that could have an OAuth error
)

func badRequest(code, reason, description string) *oauthError {
	return &oauthError{status: http.StatusBadRequest, code: code, reason: reason, description: description}
}

var (
	errNotFound       = &oauthError{status: http.StatusNotFound, code: codeNotFound, description: "there is no such endpoint"}
	errHeaderTooLarge = &oauthError{status: http.StatusRequestHeaderFieldsTooLarge, code: codeInvalidRequest, reason: reasonHeaderTooLarge,
		description: "the request header is too large", closing: true}
	errInternal = &oauthError{status: http.StatusInternalServerError, code: codeServerError, reason: reasonInternal,
		description: "the request failed, it may be tried again"}
	// errNotIssuing: what is missing is for operators to know, who find it at /readyz.
	errNotIssuing = &oauthError{status: http.StatusServiceUnavailable, code: codeUnavailable, reason: reasonNotIssuing,
		description: "the server is not ready, try again later", retryAfter: 5 * time.Second}
	// errTooStale: once the API server is back it is heard within seconds.
	errTooStale = &oauthError{status: http.StatusServiceUnavailable, code: codeUnavailable, reason: reasonTooStale,
		description: "the server has not heard of changes for too long, try again later", retryAfter: 10 * time.Second}
)

func errMethod(allow string) *oauthError {
	return &oauthError{status: http.StatusMethodNotAllowed, code: codeInvalidRequest, reason: reasonMethod,
		description: "the endpoint does not support this method", allow: allow}
}

// reply to a client of an issuer, by its URL.
func (e *oauthError) reply(issuerURL string) reply {
	answer := jsonobject.Begin(make([]byte, 0, 128))
	answer.String("error", e.code)
	answer.String("error_description", e.description)
	a := jsonReply(e.status, answer)
	a.errorCode, a.reason, a.allow, a.retryAfter, a.closing = e.code, e.reason, e.allow, e.retryAfter, e.closing
	if e.status == http.StatusUnauthorized {
		// RFC 7617 section 2.1 names the charset. An issuer URL holds neither quotes nor backslashes.
		a.challenge = `Basic realm="` + issuerURL + `", charset="UTF-8"`
	}
	return a
}
