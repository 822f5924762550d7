//go:build interop

package interop

import (
	"bytes"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"testing"

	"github.com/coreos/go-oidc/v3/oidc"
)

// TestResponseTypes is why the metadata says response_types_supported: ["none"]. RFC 8414 requires the member, and
// forbids an empty one, though an issuer without an authorization endpoint has none to name. Of the ways out, leaving it
// out and leaving it empty are refused by a library that keeps to the text; "token", which all take too, would promise
// the implicit grant.
func TestResponseTypes(t *testing.T) {
	ensureWorld(t)
	var served map[string]any
	response, err := root.http.Get(root.endpoint("/.well-known/openid-configuration"))
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if err := json.NewDecoder(response.Body).Decode(&served); err != nil {
		t.Fatal(err)
	}
	documents := map[string]map[string]any{"as served": served}
	for name, value := range map[string]any{"none": []string{"none"}, "token": []string{"token"}, "empty": []string{}, "absent": nil} {
		document := maps.Clone(served)
		document["response_types_supported"] = value
		if value == nil {
			delete(document, "response_types_supported")
		}
		documents[name] = document
	}
	input := map[string]any{"issuer": root.url, "documents": documents}
	goOIDC := map[string]string{}
	for name, document := range documents {
		goOIDC[name] = "accepted"
		if _, err := oidc.NewProvider(oidc.ClientContext(ctx, serving(t, document)), root.url); err != nil {
			goOIDC[name] = err.Error()
		}
	}
	for library, verdicts := range map[string]map[string]string{
		"go-oidc":      goOIDC,
		"oauth4webapi": verdictsOf(t, root.run(t, input, "node", "metadata.mjs")),
		"authlib":      verdictsOf(t, root.run(t, input, "python3", "authlib_metadata.py")),
	} {
		for name := range documents {
			refuses := library == "authlib" && (name == "empty" || name == "absent")
			if (verdicts[name] != "accepted") != refuses {
				t.Errorf("response types %s: %s says %q", name, library, verdicts[name])
			}
		}
	}
}

type transport func(*http.Request) (*http.Response, error)

func (f transport) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// serving answers every request with a document.
func serving(t *testing.T, document any) *http.Client {
	t.Helper()
	text, err := json.Marshal(document)
	if err != nil {
		t.Fatal(err)
	}
	return &http.Client{Transport: transport(func(r *http.Request) (*http.Response, error) {
		return &http.Response{
			StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {"application/json"}},
			Body: io.NopCloser(bytes.NewReader(text)), Request: r,
		}, nil
	})}
}
