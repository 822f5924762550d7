package m2m

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"
)

// Claims of a verified token.
type Claims struct {
	ClientID string `json:"client_id"`
	Scope    string `json:"scope"`
}

// Verifier verifies the access tokens of an API.
type Verifier struct{ tokens *oidc.IDTokenVerifier }

// NewVerifier reads the ApiResource's ConfigMap <name>-verifier, which is mounted at directory.
func NewVerifier(ctx context.Context, directory string) (*Verifier, error) {
	files, err := readAll(directory, "issuer", "audience", "jwks_uri")
	if err != nil {
		return nil, err
	}
	issuer, err := trusting(directory)
	if err != nil {
		return nil, err
	}
	keys := oidc.NewRemoteKeySet(oidc.ClientContext(ctx, issuer), files["jwks_uri"])
	return &Verifier{oidc.NewVerifier(files["issuer"], keys, &oidc.Config{
		ClientID: files["audience"], SupportedSigningAlgs: []string{oidc.ES256},
	})}, nil
}

// Verify checks signature, issuer, audience, expiry and type (RFC 9068 section 4).
func (v *Verifier) Verify(ctx context.Context, token string) (claims Claims, err error) {
	parsed, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		return claims, err
	}
	if kind := parsed.Signatures[0].Protected.ExtraHeaders[jose.HeaderType]; kind != "at+jwt" {
		return claims, fmt.Errorf("a token of type %v", kind)
	}
	verified, err := v.tokens.Verify(ctx, token)
	if err != nil {
		return claims, err
	}
	return claims, verified.Claims(&claims)
}

// Require lets requests pass whose token has the scope, and answers all others (RFC 6750 section 3).
func (v *Verifier) Require(scope string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token, err := bearer(r)
		if err != nil {
			refuse(w, http.StatusUnauthorized, "Bearer")
			return
		}
		claims, err := v.Verify(r.Context(), token)
		switch {
		case err != nil:
			refuse(w, http.StatusUnauthorized, `Bearer error="invalid_token"`)
		case !slices.Contains(strings.Fields(claims.Scope), scope):
			refuse(w, http.StatusForbidden, fmt.Sprintf(`Bearer error="insufficient_scope", scope=%q`, scope))
		default:
			next.ServeHTTP(w, r)
		}
	})
}

func refuse(w http.ResponseWriter, status int, challenge string) {
	w.Header().Set("WWW-Authenticate", challenge)
	http.Error(w, http.StatusText(status), status)
}

func bearer(r *http.Request) (string, error) {
	scheme, token, found := strings.Cut(r.Header.Get("Authorization"), " ")
	if !found || !strings.EqualFold(scheme, "Bearer") {
		return "", errors.New("no bearer token")
	}
	return token, nil
}
