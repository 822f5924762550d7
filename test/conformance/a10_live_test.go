package conformance

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/internal/access"
	"github.com/m2m-operator/m2m-operator/internal/keyring"
	"github.com/m2m-operator/m2m-operator/internal/token"
)

func testIntrospectionOwner(t *testing.T) {
	w := newIntrospectionWorld(t)
	w.client("courses", "another", nil)
	good := w.newToken()
	w.introspect(owner, good).wantActive(t)
	w.introspect("courses.another", good).wantActive(t) // the API's namespace, not one client, is what counts
	for _, caller := range []string{publisher, stranger} {
		w.introspect(caller, good).wantInactive(t)
	}
	// A grant on the API makes nobody its owner, and an API of one's own not the owner of this one.
	w.grant("courses", "reader", "course-api", "strangers", "reader", "courses:write")
	w.api("strangers", "course-api", "https://strangers.example.com", "courses:publish")
	w.introspect(stranger, good).wantInactive(t)
	// Nor does an identifier that an older ApiResource has.
	younger := w.api("strangers", "rival", "https://rival.example.com", "courses:publish")
	younger.CreationTimestamp = metav1.NewTime(epoch.Add(time.Second))
	younger.Spec.Identifier = courses
	w.index.Upsert(younger)
	w.introspect(stranger, good).wantInactive(t)
	// A client beside the API may ask about its own token as about any other's.
	w.grant("courses", "own", "course-api", "courses", "course-api", "courses:write")
	own := w.send(w.requestOf(owner, "grant_type", "client_credentials", "audience", courses)).wantToken(t)["access_token"].(string)
	if got := w.introspect(owner, own).wantActive(t); got["client_id"] != owner {
		t.Errorf("%v", got)
	}
}

func testIntrospectionMoved(t *testing.T) {
	w := newIntrospectionWorld(t)
	good := w.newToken()
	w.delete(access.KindApiResource, "courses", "course-api")
	w.api("strangers", "courses", courses, "courses:publish")
	w.grant("strangers", "publisher", "courses", "jobs", "publisher", "courses:publish")
	w.introspect(owner, good).wantInactive(t)
	if got := w.introspect(stranger, good).wantActive(t); got["scope"] != "courses:publish" {
		t.Errorf("%v", got)
	}
}

func testIntrospectionMembers(t *testing.T) {
	w := newIntrospectionWorld(t)
	a := w.send(w.tokenRequest())
	claims := w.claims(a.wantToken(t))
	got := w.introspect(owner, a.fields(t)["access_token"].(string)).wantActive(t)
	for _, name := range []string{"scope", "client_id", "sub", "aud", "iss", "exp", "iat", "jti"} {
		if got[name] == nil || got[name] != claims[name] {
			t.Errorf("%s is %v, the token says %v", name, got[name], claims[name])
		}
	}
	want := []string{"active", "aud", "client_id", "exp", "iat", "iss", "jti", "scope", "sub", "token_type"}
	if names := slices.Sorted(maps.Keys(got)); !slices.Equal(names, want) || got["token_type"] != "Bearer" {
		t.Errorf("members %v, token_type %v", names, got["token_type"])
	}
	document := w.get(oauthPath).fields(t)
	if document["introspection_endpoint"] != issuerURL+introspectionPath ||
		fmt.Sprint(document["introspection_endpoint_auth_methods_supported"]) != fmt.Sprint(document["token_endpoint_auth_methods_supported"]) ||
		fmt.Sprint(document["introspection_endpoint_auth_signing_alg_values_supported"]) != fmt.Sprint(document["token_endpoint_auth_signing_alg_values_supported"]) {
		t.Errorf("the metadata says %v", document)
	}
}

func testIntrospectionNoStore(t *testing.T) {
	w := newIntrospectionWorld(t)
	good := w.newToken()
	for _, a := range []answer{w.introspect(owner, good), w.introspect(stranger, good), w.introspect(owner, ""), w.send(w.introspectionRequest(owner, good).bare())} {
		a.wantPrivate(t)
		for _, name := range []string{"ETag", "Expires", "Last-Modified", "Access-Control-Allow-Origin", "Set-Cookie"} {
			if got := a.header.Values(name); got != nil {
				t.Errorf("%s: %q", name, got)
			}
		}
	}
	// No answer is kept here either: not for the other caller, nor for the next moment.
	w.introspect(owner, good).wantActive(t)
	w.introspect(stranger, good).wantInactive(t)
	w.introspect(owner, good).wantActive(t)
	w.delete(access.KindScopeGrant, "courses", "publisher")
	w.introspect(owner, good).wantInactive(t)
}

func testIntrospectionGrants(t *testing.T) {
	w := newIntrospectionWorld(t)
	good := w.newToken()
	scopes := func(want string) {
		t.Helper()
		if got := w.introspect(owner, good).wantActive(t); got["scope"] != want {
			t.Errorf("scope %v, want %q", got["scope"], want)
		}
	}
	scopes("courses:publish courses:read-approved")
	w.grant("courses", "publisher", "course-api", "jobs", "publisher", "courses:read-approved")
	scopes("courses:read-approved")
	w.grant("courses", "more", "course-api", "jobs", "publisher", "courses:write")
	scopes("courses:read-approved") // a token gets no scope that it was not issued with
	w.delete(access.KindScopeGrant, "courses", "publisher")
	w.introspect(owner, good).wantInactive(t)
	w.grant("courses", "publisher", "course-api", "jobs", "publisher", "courses:publish", "courses:read-approved")
	scopes("courses:publish courses:read-approved")
	w.api("courses", "course-api", courses, "courses:publish")
	scopes("courses:publish")
	w.api("courses", "course-api", courses, "courses:write")
	w.introspect(owner, good).wantInactive(t)
}

func testIntrospectionClient(t *testing.T) {
	w := newIntrospectionWorld(t)
	w.later(10 * time.Second)
	good := w.newToken()
	w.changeClient("jobs", "publisher", func(c *v1alpha1.M2MClient) { c.Spec.Suspend = true })
	w.introspect(owner, good).wantInactive(t)
	w.changeClient("jobs", "publisher", func(*v1alpha1.M2MClient) {})
	w.introspect(owner, good).wantActive(t)
	w.index.SetNamespaceTerminating("jobs", true)
	w.introspect(owner, good).wantInactive(t)
	w.index.SetNamespaceTerminating("jobs", false)
	w.delete(access.KindM2MClient, "jobs", "publisher")
	w.introspect(owner, good).wantInactive(t)
	w.later(time.Second)
	w.client("jobs", "publisher", func(c *v1alpha1.M2MClient) { c.CreationTimestamp = metav1.NewTime(w.now()) })
	w.introspect(owner, good).wantInactive(t)
	w.introspect(owner, w.newToken()).wantActive(t) // of the second in which the client was made
}

func testIntrospectionRevoked(t *testing.T) {
	for _, by := range []string{"client", "issuer"} {
		t.Run(by, func(t *testing.T) {
			w := newIntrospectionWorld(t)
			revokeBefore := func(instant time.Time) {
				before := metav1.NewTime(instant)
				if by == "client" {
					w.changeClient("jobs", "publisher", func(c *v1alpha1.M2MClient) { c.Spec.RevokeTokensIssuedBefore = &before })
					return
				}
				w.index.Upsert(&v1alpha1.TokenIssuer{
					ObjectMeta: metav1.ObjectMeta{Name: "default"},
					Spec:       v1alpha1.TokenIssuerSpec{URL: issuerURL, RevokeTokensIssuedBefore: &before},
				})
			}
			w.later(10 * time.Second)
			older := w.newToken()
			w.introspect(owner, older).wantActive(t)
			revokeBefore(w.now())
			w.introspect(owner, older).wantActive(t) // it was not issued before that
			revokeBefore(w.now().Add(300 * time.Millisecond))
			w.introspect(owner, older).wantInactive(t)
			w.later(500 * time.Millisecond)
			w.introspect(owner, w.newToken()).wantInactive(t) // it says no more than the second, in which older ones were issued too
			w.later(500 * time.Millisecond)
			w.introspect(owner, w.newToken()).wantActive(t)
			w.introspect(owner, older).wantInactive(t)
			revokeBefore(w.now().Add(time.Hour))
			w.introspect(owner, w.newToken()).wantInactive(t)
		})
	}
}

func testIntrospectionKey(t *testing.T) {
	w := newIntrospectionWorld(t)
	good := w.newToken()
	kid := signingKey(v1alpha1.ES256).KeyID
	w.setRing(retire(kid))
	w.introspect(owner, good).wantActive(t) // retired, and still published
	without := keyring.Ring{Keys: slices.DeleteFunc(slices.Clone(fixed().ring.Keys), func(k keyring.Key) bool { return k.KID == kid })}
	w.setRing(without)
	w.introspect(owner, good).wantInactive(t)
	w.introspect(owner, w.sign(signingKey(v1alpha1.RS256), token.Type, w.ownClaims(nil))).wantActive(t)
}

func testIntrospectionAPI(t *testing.T) {
	w := newIntrospectionWorld(t)
	good := w.newToken()
	w.delete(access.KindApiResource, "courses", "course-api")
	w.introspect(owner, good).wantInactive(t)
	w.api("courses", "course-api", courses, "courses:publish")
	w.introspect(owner, good).wantActive(t)
}
