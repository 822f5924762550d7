package issuer

import (
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

const (
	maxBody       = 64 << 10
	maxParameters = 64
	// maxScopes is what an ApiResource can declare: nobody has a use for more, and each costs a look.
	maxScopes = 512
)

// The parameters of token requests. All others are ignored (RFC 6749 section 3.2).
const (
	paramGrantType           = "grant_type"
	paramClientID            = "client_id"
	paramClientSecret        = "client_secret"
	paramScope               = "scope"
	paramAudience            = "audience"
	paramResource            = "resource"
	paramClientAssertion     = "client_assertion"
	paramClientAssertionType = "client_assertion_type"
)

// tokenParameters are what the token endpoint knows.
var tokenParameters = []string{
	paramGrantType, paramClientID, paramClientSecret, paramScope, paramAudience, paramResource,
	paramClientAssertion, paramClientAssertionType,
}

var (
	errBodyTooLarge = &oauthError{status: http.StatusBadRequest, code: codeInvalidRequest,
		description: "the request body is too large", closing: true}
	errBodyUnreadable = &oauthError{status: http.StatusBadRequest, code: codeInvalidRequest,
		description: "the request body could not be read", closing: true}
	errQuery       = badRequest(codeInvalidRequest, "parameters must be in the request body, not in the URI")
	errContentType = badRequest(codeInvalidRequest, "the content type must be application/x-www-form-urlencoded, in UTF-8")
	errForm        = badRequest(codeInvalidRequest, "the request body is malformed")
	errParameters  = badRequest(codeInvalidRequest, "the request has too many parameters")
	errRepeated    = badRequest(codeInvalidRequest, "the request repeats a parameter")
)

// form holds the parameters of a token request. None but resource is repeated.
type form struct{ values url.Values }

// get returns a parameter, "" if it is omitted: one without a value counts as omitted (RFC 6749 section 3.2).
func (f form) get(name string) string { return f.values.Get(name) }

// parse reads the parameters of a request, of which an endpoint knows some.
func parse(w http.ResponseWriter, r *http.Request, known []string) (form, *oauthError) {
	body, failure := readBody(w, r)
	if failure != nil {
		return form{}, failure
	}
	if failure := checkQuery(r.URL.RawQuery, known); failure != nil {
		return form{}, failure
	}
	if failure := checkContentType(r.Header.Values("Content-Type")); failure != nil {
		return form{}, failure
	}
	return parseForm(body, known)
}

func readBody(w http.ResponseWriter, r *http.Request) (string, *oauthError) {
	if r.ContentLength > maxBody {
		return "", errBodyTooLarge
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) {
		return "", errBodyTooLarge
	} else if err != nil {
		return "", errBodyUnreadable
	}
	return string(body), nil
}

// checkQuery refuses known parameters in the URI, where logs and proxies would see them (RFC 6749 section 2.3.1 for
// credentials). What else is there is ignored.
func checkQuery(query string, known []string) *oauthError {
	values, err := url.ParseQuery(query)
	if err != nil || slices.ContainsFunc(known, values.Has) {
		return errQuery
	}
	return nil
}

// checkContentType wants a form. Parameters of the media type are ignored, but for a charset that RFC 6749 appendix B
// does not allow.
func checkContentType(values []string) *oauthError {
	if len(values) != 1 {
		return errContentType
	}
	mediaType, parameters, err := mime.ParseMediaType(values[0])
	if err != nil || mediaType != "application/x-www-form-urlencoded" {
		return errContentType
	}
	if charset, ok := parameters["charset"]; ok && !strings.EqualFold(charset, "utf-8") {
		return errContentType
	}
	return nil
}

// parseForm takes apart a body. Names are case-sensitive. A resource may be repeated (RFC 8707 section 2), of which
// findAudience has its own opinion.
func parseForm(body string, known []string) (form, *oauthError) {
	if strings.Count(body, "&") >= maxParameters {
		return form{}, errParameters
	}
	values, err := url.ParseQuery(body) // refuses ';', which others take for '&'
	if err != nil {
		return form{}, errForm
	}
	for _, name := range known {
		if len(values[name]) > 1 && name != paramResource {
			return form{}, errRepeated
		}
	}
	return form{values: values}, nil
}
