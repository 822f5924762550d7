package issuer

import (
	"bytes"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
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

// form is the known parameters of a request, in their order. None but resource is repeated.
type form []parameter

type parameter struct{ name, value string }

// get returns a parameter, "" if it is omitted: one without a value counts as omitted (RFC 6749 section 3.2).
func (f form) get(name string) string {
	for _, p := range f {
		if p.name == name {
			return p.value
		}
	}
	return ""
}

// count says how often a parameter is there.
func (f form) count(name string) (n int) {
	for _, p := range f {
		if p.name == name {
			n++
		}
	}
	return n
}

// parse reads the parameters of a request, of which an endpoint knows some.
func parse(w http.ResponseWriter, r *http.Request, unread io.ReadCloser, known []string) (form, *oauthError) {
	body, failure := readBody(w, r, unread)
	if failure != nil {
		return nil, failure
	}
	if failure := checkQuery(r.URL.RawQuery, known); failure != nil {
		return nil, failure
	}
	mediaType, failure := mediaTypeOf(r.Header)
	if failure != nil {
		return nil, failure
	}
	if mediaType == typeJSON {
		return parseJSON(body, known)
	}
	return parseForm(body, known)
}

func readBody(w http.ResponseWriter, r *http.Request, unread io.ReadCloser) (string, *oauthError) {
	if r.ContentLength > maxBody {
		return "", errBodyTooLarge
	}
	bounded := unread
	if r.ContentLength < 0 { // net/http holds a body to its length, if it has one
		bounded = http.MaxBytesReader(w, unread, maxBody)
	}
	body := bodies.Get().(*bytes.Buffer)
	defer keepBody(body)
	if _, err := body.ReadFrom(bounded); err != nil {
		return "", unreadable(err)
	}
	_ = unread.Close() // it has ended, which net/http would look for otherwise
	return body.String(), nil
}

// unreadable is the answer to a body of which reading failed.
func unreadable(err error) *oauthError {
	if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) {
		return errBodyTooLarge
	}
	return errBodyUnreadable
}

// bodies are what bodies are read into.
var bodies = sync.Pool{New: func() any { return &bytes.Buffer{} }}

// maxKeptBody bounds the memory that is kept.
const maxKeptBody = 4 << 10

// keepBody keeps a buffer for the next request, and nothing of what was in it: that was secret.
func keepBody(body *bytes.Buffer) {
	clear(body.Bytes())
	if body.Cap() <= maxKeptBody {
		body.Reset()
		bodies.Put(body)
	}
}

// checkQuery refuses known parameters in the URI, where logs and proxies would see them (RFC 6749 section 2.3.1 for
// credentials). What else is there is ignored.
func checkQuery(query string, known []string) *oauthError {
	if query == "" {
		return nil
	}
	values, err := url.ParseQuery(query)
	if err != nil || slices.ContainsFunc(known, values.Has) {
		return errQuery
	}
	return nil
}

// mediaTypeOf finds out whether the body is a form or JSON. Parameters of the media type are ignored, but for a charset
// that RFC 6749 appendix B does not allow. Nothing is unpacked: small bodies could become large ones.
func mediaTypeOf(header http.Header) (string, *oauthError) {
	for _, coding := range header["Content-Encoding"] {
		if coding != "" && !strings.EqualFold(coding, "identity") {
			return "", errContentType
		}
	}
	values := header["Content-Type"]
	if len(values) != 1 {
		return "", errContentType
	}
	if values[0] == typeForm { // as nearly all write it
		return typeForm, nil
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

// parseForm takes apart a body as url.ParseQuery does, but for a map. Names are case-sensitive. A resource may be repeated
// (RFC 8707 section 2), of which findAudience has its own opinion. Values need not be UTF-8: what is not, is no value that
// anything here has.
func parseForm(body string, known []string) (form, *oauthError) {
	separators := strings.Count(body, "&")
	if separators >= maxParameters {
		return nil, errParameters
	}
	if strings.Contains(body, ";") { // which others take for '&'
		return nil, errForm
	}
	f := make(form, 0, min(separators+1, len(known)))
	for pair := range strings.SplitSeq(body, "&") {
		name, value, _ := strings.Cut(pair, "=")
		name, err1 := url.QueryUnescape(name)
		value, err2 := url.QueryUnescape(value)
		if err1 != nil || err2 != nil {
			return nil, errForm
		}
		if slices.Contains(known, name) {
			f = append(f, parameter{name, value})
		}
	}
	for _, p := range f {
		if p.name != paramResource && f.count(p.name) > 1 {
			return nil, errRepeated
		}
	}
	return f, nil
}
