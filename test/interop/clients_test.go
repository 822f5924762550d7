//go:build interop

package interop

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"
)

// eachIssuer runs a test against each of the three forms of issuer URLs.
func eachIssuer(t *testing.T, test func(t *testing.T, i *issuer)) {
	ensureWorld(t)
	for _, i := range issuers {
		t.Run(i.name, func(t *testing.T) { test(t, i) })
	}
}

func TestGoOAuth2(t *testing.T) {
	eachIssuer(t, func(t *testing.T, i *issuer) {
		context := oidc.ClientContext(ctx, i.http)
		config := clientcredentials.Config{
			ClientID: i.caller.ID, ClientSecret: i.caller.Secret, TokenURL: i.endpoint("/oauth2/token"),
			Scopes: []string{"courses:read-approved", "courses:publish"}, EndpointParams: map[string][]string{"audience": {audience}},
		}
		for name, style := range map[string]oauth2.AuthStyle{
			"autodetect": oauth2.AuthStyleAutoDetect, "header": oauth2.AuthStyleInHeader, "params": oauth2.AuthStyleInParams,
		} {
			config.AuthStyle = style
			token, err := config.Token(context)
			if err != nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
			i.wantClaims(t, name, token.AccessToken, audience, scopes)

			wrong := config
			wrong.ClientSecret = "wrong"
			var failure *oauth2.RetrieveError
			if _, err := wrong.Token(context); !errors.As(err, &failure) || failure.ErrorCode != "invalid_client" {
				t.Errorf("%s, with a wrong secret: %v", name, err)
			}
		}
	})
}

// TestGoOIDC: discovery, which insists on the very issuer that it was asked for, and verification.
func TestGoOIDC(t *testing.T) {
	eachIssuer(t, func(t *testing.T, i *issuer) {
		context := oidc.ClientContext(ctx, i.http)
		provider, err := oidc.NewProvider(context, i.url)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := provider.Endpoint().TokenURL, i.endpoint("/oauth2/token"); got != want {
			t.Errorf("token endpoint %q, want %q", got, want)
		}
		var metadata struct {
			Methods []string `json:"token_endpoint_auth_methods_supported"`
		}
		if err := provider.Claims(&metadata); err != nil {
			t.Fatal(err)
		}
		if want := []string{"client_secret_basic", "client_secret_post", "private_key_jwt"}; !slices.Equal(metadata.Methods, want) {
			t.Errorf("authentication methods %q, want %q", metadata.Methods, want)
		}
		verifier := provider.Verifier(&oidc.Config{ClientID: audience})
		tokens, verdicts := i.tokens(t), map[string]string{}
		for name, token := range tokens {
			verdicts[name] = "accepted"
			if _, err := verifier.Verify(context, token); err != nil {
				verdicts[name] = err.Error()
			}
		}
		wantVerdicts(t, tokens, verdicts)
	})
	if _, err := oidc.NewProvider(oidc.ClientContext(ctx, slash.http), "https://"+slash.server.Address); err == nil || !strings.Contains(err.Error(), "did not match") {
		t.Errorf("%v: discovery takes an issuer that lacks the final slash", err)
	}
}

func TestOpenIDClient(t *testing.T) {
	eachIssuer(t, func(t *testing.T, i *issuer) {
		for _, algorithm := range []string{"oauth2", "oidc"} {
			t.Run(algorithm, func(t *testing.T) {
				input := i.input(t)
				input["algorithm"], input["token"] = algorithm, i.tokenFor(t, i.caller, audience)
				out := i.run(t, input, "node", "openid-client.mjs")
				i.wantToken(t, out, audience, scopes, "client_secret_basic", "client_secret_post", "private_key_jwt")
				wantRefused(t, out, "WWWAuthenticateChallengeError")
				i.wantIntrospection(t, out)
			})
		}
	})
}

func (i *issuer) wantIntrospection(t *testing.T, out map[string]json.RawMessage) {
	t.Helper()
	var active struct {
		Active   bool   `json:"active"`
		ClientID string `json:"client_id"`
		Audience string `json:"aud"`
		Scope    string `json:"scope"`
	}
	if err := json.Unmarshal(out["introspection"], &active); err != nil {
		t.Fatalf("%v: %s", err, out["introspection"])
	}
	if !active.Active || active.ClientID != i.caller.ID || active.Audience != audience || active.Scope != scopes {
		t.Errorf("introspection: %s", out["introspection"])
	}
	if got := string(out["introspection of nothing"]); got != `{"active":false}` {
		t.Errorf("introspection of nothing: %s", got)
	}
}

func TestOAuth4WebAPI(t *testing.T) {
	eachIssuer(t, func(t *testing.T, i *issuer) {
		for _, algorithm := range []string{"oauth2", "oidc"} {
			t.Run(algorithm, func(t *testing.T) {
				input, tokens := i.input(t), i.tokens(t)
				input["algorithm"], input["tokens"] = algorithm, tokens
				out := i.run(t, input, "node", "oauth4webapi.mjs")
				i.wantToken(t, out, audience, scopes, "client_secret_basic", "client_secret_post", "private_key_jwt")
				wantRefused(t, out, "WWWAuthenticateChallengeError")
				wantVerdicts(t, tokens, verdictsOf(t, out))
			})
		}
	})
}

func TestSimpleOAuth2(t *testing.T) {
	eachIssuer(t, func(t *testing.T, i *issuer) {
		out := i.run(t, i.input(t), "node", "simple-oauth2.cjs")
		i.wantToken(t, out, audience, scopes, "header, form", "header, json", "body, form", "body, json", "header, not form-encoded")
		wantRefused(t, out, "Error")
	})
}

func TestJose(t *testing.T) {
	eachIssuer(t, func(t *testing.T, i *issuer) {
		input, tokens := i.input(t), i.tokens(t)
		input["tokens"] = tokens
		wantVerdicts(t, tokens, verdictsOf(t, i.run(t, input, "node", "jose.mjs")))
	})
}

func TestRequestsOAuthlib(t *testing.T) {
	eachIssuer(t, func(t *testing.T, i *issuer) {
		out := i.run(t, i.input(t), "python3", "requests_oauthlib_client.py")
		i.wantToken(t, out, audience, scopes, "client_secret_basic", "client_secret_post")
		wantRefused(t, out, "InvalidClientError")
	})
}

func TestAuthlib(t *testing.T) {
	eachIssuer(t, func(t *testing.T, i *issuer) {
		input, tokens := i.input(t), i.tokens(t)
		input["tokens"] = tokens
		input["metadata"] = "https://" + i.server.Address + "/.well-known/oauth-authorization-server" + strings.TrimSuffix(i.path, "/")
		input["discovery"] = i.endpoint("/.well-known/openid-configuration")
		out := i.run(t, input, "python3", "authlib_client.py")
		i.wantToken(t, out, audience, scopes, "client_secret_basic", "client_secret_post", "private_key_jwt")
		wantRefused(t, out, "OAuthError")
		wantVerdicts(t, tokens, verdictsOf(t, out))
	})
}
