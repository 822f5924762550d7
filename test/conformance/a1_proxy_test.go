package conformance

import (
	"net/http"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
)

var proxied = []statement{
	{"T-11", "sources_behind_trusted_proxies", testTrustedProxies},
}

// testTrustedProxies guesses from behind a proxy, which is this machine. testThrottled has the same from nowhere.
func testTrustedProxies(t *testing.T) {
	w := newWorld(t)
	trust := func(networks ...string) {
		w.index.Upsert(&v1alpha1.TokenIssuer{
			ObjectMeta: metav1.ObjectMeta{Name: "default"}, Spec: v1alpha1.TokenIssuerSpec{URL: issuerURL, TrustedProxies: networks},
		})
	}
	guess := func(forwardedFor ...string) answer {
		r := w.tokenRequest().with("Authorization", basic(publisher, "wrong"))
		r.header["X-Forwarded-For"] = forwardedFor
		r.header.Set("Forwarded", "for=203.0.113.99")
		r.header.Set("X-Real-Ip", "203.0.113.99")
		return w.send(r)
	}
	trust("127.0.0.0/8", "10.0.0.0/8")
	for range 50 {
		guess("198.51.100.1").wantError(t, http.StatusUnauthorized, "invalid_client")
	}
	for _, same := range [][]string{
		{"198.51.100.1"}, {"203.0.113.9, 198.51.100.1"}, {"203.0.113.9", "198.51.100.1"}, {"198.51.100.1, 10.1.2.3"}, {"198.51.100.1:4711"},
	} {
		guess(same...).wantError(t, http.StatusTooManyRequests, "invalid_client")
	}
	for _, other := range [][]string{{"198.51.100.2"}, {"198.51.100.1, 198.51.100.3"}, {"198.51.100.1, nonsense"}, nil} {
		guess(other...).wantError(t, http.StatusUnauthorized, "invalid_client")
	}
	w.send(w.tokenRequest().with("X-Forwarded-For", "198.51.100.1")).wantToken(t)
	trust("10.0.0.0/8") // and the header is anybody's again
	guess("198.51.100.1").wantError(t, http.StatusUnauthorized, "invalid_client")
}
