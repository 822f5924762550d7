package access

import (
	"slices"
	"strings"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
)

// posesAsIssuer says whether an identifier is, in some spelling, the URL of an issuer or of its token endpoint: what
// clients name as the audience of their assertions (RFC 7523 section 3). This server compares audiences character by
// character, and takes the first of these only; others that trust the same clients may not be as strict.
func posesAsIssuer(identifier, issuerURL string) bool {
	host, path, ok := cutURL(identifier)
	issuerHost, issuerPath, issuerOK := cutURL(issuerURL)
	if !ok || !issuerOK || !strings.EqualFold(host, issuerHost) {
		return false
	}
	below, ok := strings.CutPrefix(path, issuerPath)
	return ok && (below == "" || slices.Contains(v1alpha1.TokenPaths, below))
}

// cutURL takes apart an https URL, without the port that is https's own and slashes at the end (RFC 3986 section 6.2.3).
func cutURL(url string) (host, path string, ok bool) {
	const scheme = "https://"
	if len(url) < len(scheme) || !strings.EqualFold(url[:len(scheme)], scheme) {
		return "", "", false
	}
	url = url[len(scheme):]
	slash := strings.IndexByte(url, '/')
	if slash < 0 {
		slash = len(url)
	}
	return strings.TrimSuffix(url[:slash], ":443"), strings.TrimRight(url[slash:], "/"), true
}
