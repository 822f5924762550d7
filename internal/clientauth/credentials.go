package clientauth

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
)

// Kind is what sort of failure an authentication ended in.
type Kind int

// The kinds of failure.
const (
	// InvalidRequest: the request presents credentials in a way that no client may (RFC 6749 section 5.2,
	// invalid_request).
	InvalidRequest Kind = iota
	// InvalidClient: the request presents no credentials, or none that are good (invalid_client).
	InvalidClient
	// Throttled: as InvalidClient, once too often.
	Throttled
)

// Failure says why a request is not authenticated. Failures are fixed: nothing that a request carries gets into one.
type Failure struct {
	Kind Kind
	// Reason is for operators, and never for the client.
	Reason string
	// Description is for the developer of the client, in the characters that RFC 6749 section 5.2 allows.
	Description string
	// RetryAfter is when to try again, if Throttled.
	RetryAfter time.Duration
}

// The reasons of failures.
const (
	ReasonSeveralHeaders   = "SeveralHeaders"
	ReasonSeveralMethods   = "SeveralMethods"
	ReasonOtherClientID    = "OtherClientID"
	ReasonNoCredentials    = "NoCredentials"
	ReasonUnsupported      = "UnsupportedMethod"
	ReasonMalformed        = "MalformedCredentials"
	ReasonUnknownClient    = "UnknownClient"
	ReasonOtherIssuer      = "ClientOfOtherIssuer"
	ReasonSuspended        = "Suspended"
	ReasonMethodNotAllowed = "MethodNotAllowed"
	ReasonWrongSecret      = "WrongSecret"

	ReasonHalfAssertion      = "HalfAssertion"
	ReasonWrongAssertionType = "WrongAssertionType"
	ReasonWrongType          = "WrongType"
	ReasonWrongAlgorithm     = "WrongAlgorithm"
	ReasonWrongAudience      = "WrongAudience"
	ReasonExpired            = "Expired"
	ReasonNotYetValid        = "NotYetValid"
	ReasonTooLongLived       = "TooLongLived"
	ReasonNoID               = "NoID"
	ReasonWrongSubject       = "WrongSubject"
	ReasonUnknownKey         = "UnknownKey"
	ReasonWrongSignature     = "WrongSignature"
	ReasonReplayed           = "Replayed"
	ReasonTooManyAssertions  = "TooManyAssertions"
)

// The failures. What is known about clients must not show, so all bad credentials share one.
var (
	errSeveralHeaders  = &Failure{Kind: InvalidRequest, Reason: ReasonSeveralHeaders, Description: "the request has more than one Authorization header"}
	errSeveralMethods  = &Failure{Kind: InvalidRequest, Reason: ReasonSeveralMethods, Description: "the request authenticates the client in more than one way"}
	errOtherClientID   = &Failure{Kind: InvalidRequest, Reason: ReasonOtherClientID, Description: "client_id is not the client that the request authenticates"}
	errHalfAssertion   = &Failure{Kind: InvalidRequest, Reason: ReasonHalfAssertion, Description: "client_assertion and client_assertion_type must be sent together"}
	errNoCredentials   = &Failure{Kind: InvalidClient, Reason: ReasonNoCredentials, Description: "client authentication is required"}
	errUnsupported     = &Failure{Kind: InvalidClient, Reason: ReasonUnsupported, Description: "the client authentication method is not supported"}
	errBadCredentials  = &Failure{Kind: InvalidClient, Description: "client authentication failed"}
	errTooManyFailures = &Failure{Kind: Throttled, Description: "client authentication failed too often, try again later", RetryAfter: time.Second}
)

// because is the failure with another reason. To the client it is the same.
func (f *Failure) because(reason string) *Failure {
	because := *f
	because.Reason = reason
	return &because
}

// Method is how a request presents credentials, by the name that the audit log has for it: the registered one (OpenID
// Connect Core section 9) where there is one.
type Method string

// The methods.
const (
	MethodBasic          Method = "client_secret_basic"
	MethodPost           Method = "client_secret_post"
	MethodPrivateKey     Method = "private_key_jwt"
	MethodServiceAccount Method = "service_account_token"
)

// Authentication is the method as the M2MClient's spec names it.
func (m Method) Authentication() v1alpha1.AuthenticationMethod {
	switch m {
	case MethodPrivateKey:
		return v1alpha1.AuthenticateByKey
	case MethodServiceAccount:
		return v1alpha1.AuthenticateByServiceAccount
	}
	return v1alpha1.AuthenticateBySecret
}

// Parameters are those of a request's body that concern authentication, empty where omitted.
type Parameters struct {
	ClientID, ClientSecret, ClientAssertion, ClientAssertionType string
}

// Credentials are what a request presents.
type Credentials struct {
	method Method // "" for an assertion, of which it is not known yet
	// clientID that the request names, which an assertion may leave out.
	clientID, secret, assertion string
}

// RevealedBy reports whether a text holds the secret or the assertion, and so must not be written down.
func (c Credentials) RevealedBy(text string) bool {
	return (c.secret != "" && strings.Contains(text, c.secret)) || (c.assertion != "" && strings.Contains(text, c.assertion))
}

// Read finds the credentials that a request presents in its header or its body. They are not checked yet.
func Read(header http.Header, body Parameters) (Credentials, *Failure) {
	authorization := header["Authorization"]
	if len(authorization) > 1 {
		return Credentials{}, errSeveralHeaders
	}
	byHeader := len(authorization) == 1
	bySecret := body.ClientSecret != ""
	byAssertion := body.ClientAssertion != "" || body.ClientAssertionType != ""
	switch {
	case byHeader && bySecret, byHeader && byAssertion, bySecret && byAssertion:
		// RFC 6749 section 2.3: the client MUST NOT use more than one authentication method in each request.
		return Credentials{}, errSeveralMethods
	case byHeader:
		return readHeader(authorization[0], body.ClientID)
	case bySecret:
		return Credentials{method: MethodPost, clientID: body.ClientID, secret: body.ClientSecret}, nil
	case byAssertion:
		return readAssertion(body)
	}
	// A client_id alone identifies, but it never authenticates (RFC 6749 section 2.2).
	return Credentials{}, errNoCredentials
}

// readHeader reads an Authorization header. The body may say client_id too, as some clients always do, but then it must
// be the same one: otherwise two parties along the way could each see another client.
func readHeader(authorization, bodyClientID string) (Credentials, *Failure) {
	scheme, encoded, _ := strings.Cut(authorization, " ")
	if !strings.EqualFold(scheme, "Basic") { // RFC 9110 section 11.1: schemes are case-insensitive
		return Credentials{}, errUnsupported
	}
	c, ok := decodeBasic(strings.TrimLeft(encoded, " "))
	if !ok {
		return Credentials{}, errBadCredentials.because(ReasonMalformed)
	}
	if bodyClientID != "" && bodyClientID != c.clientID {
		return Credentials{}, errOtherClientID
	}
	return c, nil
}

// readAssertion reads an assertion (RFC 7521 section 4.2).
func readAssertion(body Parameters) (Credentials, *Failure) {
	if body.ClientAssertion == "" || body.ClientAssertionType == "" {
		return Credentials{}, errHalfAssertion
	}
	if body.ClientAssertionType != assertionType {
		return Credentials{}, errUnsupported.because(ReasonWrongAssertionType)
	}
	return Credentials{clientID: body.ClientID, assertion: body.ClientAssertion}, nil
}

// usualBasic is what the credentials of HTTP Basic commonly take.
const usualBasic = 256

// decodeBasic takes apart the credentials of HTTP Basic. Both halves are form-encoded before they are joined (RFC 6749
// section 2.3.1), so that a client_id could hold a colon.
func decodeBasic(encoded string) (Credentials, bool) {
	decoded, err := base64.StdEncoding.AppendDecode(make([]byte, 0, usualBasic), []byte(encoded))
	if err != nil {
		return Credentials{}, false
	}
	username, password, found := strings.Cut(string(decoded), ":")
	clientID, err1 := url.QueryUnescape(username)
	secret, err2 := url.QueryUnescape(password)
	if !found || err1 != nil || err2 != nil {
		return Credentials{}, false
	}
	return Credentials{method: MethodBasic, clientID: clientID, secret: secret}, true
}
