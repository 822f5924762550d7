//go:build interop

package interop

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// input is what every script is told, as JSON in $INPUT.
func (i *issuer) input(t *testing.T) map[string]any {
	t.Helper()
	ensureWorld(t)
	return map[string]any{
		"issuer":        i.url,
		"tokenEndpoint": i.endpoint("/oauth2/token"),
		"jwksUri":       i.endpoint("/oauth2/jwks"),
		"clientId":      i.caller.ID,
		"clientSecret":  i.caller.Secret,
		"key":           clientKey,
		"reader":        i.reader,
		"audience":      audience,
		"scope":         scopes,
	}
}

// environment lets every library trust the issuer's authority, and nothing else.
func (i *issuer) environment(extra ...string) []string {
	return append(extra, "PATH="+filepath.Join(tools, "bin")+":"+os.Getenv("PATH"), "HOME="+scripts,
		"NODE_EXTRA_CA_CERTS="+i.caFile, "REQUESTS_CA_BUNDLE="+i.caFile, "NO_PROXY=*", "LC_ALL=C.UTF-8")
}

// command is one of the scripts' directory.
func (i *issuer) command(t *testing.T, input map[string]any, name string, arguments ...string) *exec.Cmd {
	t.Helper()
	text, err := json.Marshal(input)
	if err != nil {
		t.Fatal(err)
	}
	command := exec.CommandContext(t.Context(), name, arguments...)
	if name == "node" || name == "python3" {
		command.Path = filepath.Join(tools, "bin", name)
		command.Err = nil
	}
	command.Dir = scripts
	command.Env = i.environment("INPUT=" + string(text))
	return command
}

// run runs a script and returns the JSON object that it prints, member by member.
func (i *issuer) run(t *testing.T, input map[string]any, name string, arguments ...string) map[string]json.RawMessage {
	t.Helper()
	text := output(t, i.command(t, input, name, arguments...))
	return parse[map[string]json.RawMessage](t, text)
}

// outcome is what a client got: a token response, or an error.
type outcome struct {
	AccessToken string `json:"access_token"`
	TokenType   string `json:"token_type"`
	ExpiresIn   int    `json:"expires_in"`
	Scope       any    `json:"scope"` // some libraries split it
	Rejected    string `json:"rejected_scope"`

	// Error is the server's code, Failure the name of the library's own error.
	Error   string `json:"error"`
	Failure string `json:"failure"`
}

// wantToken checks that each of the outcomes is a token for the audience with exactly the scopes.
func (i *issuer) wantToken(t *testing.T, out map[string]json.RawMessage, audience, scopes string, names ...string) {
	t.Helper()
	for _, name := range names {
		var got outcome
		if err := json.Unmarshal(out[name], &got); err != nil {
			t.Errorf("%s: %v: %s", name, err, out[name])
			continue
		}
		i.wantOutcome(t, name, got, audience, scopes)
	}
}

// wantOutcome checks that one outcome is such a token.
func (i *issuer) wantOutcome(t *testing.T, name string, got outcome, audience, scopes string) {
	t.Helper()
	if !strings.EqualFold(got.TokenType, "Bearer") || got.ExpiresIn <= 0 || got.AccessToken == "" {
		t.Errorf("%s: no token: %+v", name, got)
		return
	}
	i.wantClaims(t, name, got.AccessToken, audience, scopes)
}

// wantClaims checks a token with a verifier of another hand.
func (i *issuer) wantClaims(t *testing.T, name, token, audience, scopes string) {
	t.Helper()
	claims, err := i.verify(token, audience)
	if err != nil {
		t.Errorf("%s: %v", name, err)
	} else if claims.Scope != scopes || claims.Subject != claims.ClientID {
		t.Errorf("%s: %+v, want scope %q", name, claims, scopes)
	}
}

// wantRefused checks that the client was told invalid_client, by an error of its library.
func wantRefused(t *testing.T, out map[string]json.RawMessage, failure string) {
	t.Helper()
	const name = "a wrong secret"
	var got outcome
	if err := json.Unmarshal(out[name], &got); err != nil {
		t.Fatalf("%v: %s", err, out[name])
	}
	if got.Error != "invalid_client" || got.Failure != failure || got.AccessToken != "" {
		t.Errorf("%s: %s, want invalid_client in a %s", name, out[name], failure)
	}
}
