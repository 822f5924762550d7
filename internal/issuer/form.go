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
	errBodyTooLarge = &oauthError{status: http.StatusBadRequest, code: codeInvalidRequest, reason: reasonBodyTooLarge,
		description: "the request body is too large", closing: true}
	errBodyUnreadable = &oauthError{status: http.StatusBadRequest, code: codeInvalidRequest, reason: reasonBodyUnreadable,
		description: "the request body could not be read", closing: true}
	errQuery       = badRequest(codeInvalidRequest, reasonQuery, "parameters must be in the request body, not in the URI")
	errContentType = badRequest(codeInvalidRequest, reasonContentType, "the content type must be application/x-www-form-urlencoded or application/json, in UTF-8, and not encoded")
	errForm        = badRequest(codeInvalidRequest, reasonMalformedBody, "the request body is malformed")
	errParameters  = badRequest(codeInvalidRequest, reasonTooManyParameters, "the request has too many parameters")
	errRepeated    = badRequest(codeInvalidRequest, reasonRepeatedParameter, "the request repeats a parameter")
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
	mediaType, failure := mediaTypeOf(r.Header)
	if failure != nil {
		return form{}, failure
	}
	if mediaType == typeJSON {
		return parseJSON(body, known)
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

// mediaTypeOf finds out whether the body is a form or JSON. Parameters of the media type are ignored, but for a charset
// that RFC 6749 appendix B does not allow. Nothing is unpacked: small bodies could become large ones.
func mediaTypeOf(header http.Header) (string, *oauthError) {
	for _, coding := range header.Values("Content-Encoding") {
		if coding != "" && !strings.EqualFold(coding, "identity") {
			return "", errContentType
		}
	}
	values := header.Values("Content-Type")
	if len(values) != 1 {
		return "", errContentType
	}
	mediaType, parameters, err := mime.ParseMediaType(values[0])
	if err != nil || (mediaType != typeForm && mediaType != typeJSON) {
		return "", errContentType
	}
	if charset, ok := parameters["charset"]; ok && !strings.EqualFold(charset, "utf-8") {
		return "", errContentType
	}
	return mediaType, nil
}

// parseForm takes apart a body. Names are case-sensitive. A resource may be repeated (RFC 8707 section 2), of which
// findAudience has its own opinion. Values need not be UTF-8: what is not, is no value that anything here has.
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
