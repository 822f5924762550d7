package issuer

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
)

func TestSourceOf(t *testing.T) {
	trusted := []netip.Prefix{
		netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8:1::/48"), netip.MustParsePrefix("fe80::/10"),
	}
	const proxy = "10.0.0.1:4711"
	for name, test := range map[string]struct {
		peer      string
		forwarded []string
		want      string
	}{
		"nobody in between":              {"192.0.2.1:1", nil, "192.0.2.1"},
		"not trusted":                    {"192.0.2.1:1", []string{"198.51.100.1"}, "192.0.2.1"},
		"a proxy, for itself":            {proxy, nil, "10.0.0.1"},
		"forwarded":                      {proxy, []string{"198.51.100.1"}, "198.51.100.1"},
		"forwarded, IPv6":                {"[2001:db8:1::1]:1", []string{"2001:db8::1"}, "2001:db8::1"},
		"what the client made up":        {proxy, []string{"203.0.113.9, 10.0.0.7, 198.51.100.1"}, "198.51.100.1"},
		"two proxies":                    {proxy, []string{"203.0.113.9, 198.51.100.1, 10.1.2.3"}, "198.51.100.1"},
		"two lines":                      {proxy, []string{"203.0.113.9", "198.51.100.1"}, "198.51.100.1"},
		"two lines, two proxies":         {proxy, []string{"198.51.100.1", "10.1.2.3"}, "198.51.100.1"},
		"proxies only":                   {proxy, []string{"10.0.0.3, 10.0.0.2"}, "10.0.0.3"},
		"spaces":                         {proxy, []string{" \t198.51.100.1\t ,10.0.0.2 "}, "198.51.100.1"},
		"a port":                         {proxy, []string{"198.51.100.1:1234"}, "198.51.100.1"},
		"brackets":                       {proxy, []string{"[2001:db8::1]"}, "2001:db8::1"},
		"brackets and a port":            {proxy, []string{"[2001:db8::1]:1234"}, "2001:db8::1"},
		"mapped":                         {proxy, []string{"::ffff:198.51.100.1"}, "198.51.100.1"},
		"a mapped proxy":                 {"[::ffff:10.0.0.1]:1", []string{"198.51.100.1, ::ffff:10.0.0.2"}, "198.51.100.1"},
		"a zone":                         {"[fe80::1%eth0]:1", []string{"198.51.100.1, fe80::2%eth1"}, "198.51.100.1"},
		"nothing":                        {proxy, []string{""}, "10.0.0.1"},
		"garbage":                        {proxy, []string{"unknown"}, "10.0.0.1"},
		"garbage at the end":             {proxy, []string{"198.51.100.1, _hidden"}, "10.0.0.1"},
		"garbage behind a proxy":         {proxy, []string{"198.51.100.1, x, 10.0.0.2"}, "10.0.0.2"},
		"nothing behind a proxy":         {proxy, []string{"198.51.100.1,,10.0.0.2"}, "10.0.0.2"},
		"garbage before":                 {proxy, []string{"x, 198.51.100.1"}, "198.51.100.1"},
		"half a bracket":                 {proxy, []string{"[2001:db8::1"}, "10.0.0.1"},
		"brackets around IPv4":           {proxy, []string{"[198.51.100.1]"}, "10.0.0.1"},
		"a malformed port":               {proxy, []string{"198.51.100.1:x"}, "10.0.0.1"},
		"a network":                      {proxy, []string{"198.51.100.0/24"}, "10.0.0.1"},
		"RFC 7239":                       {proxy, []string{"for=198.51.100.1"}, "10.0.0.1"},
		"as many as are looked at":       {proxy, []string{"198.51.100.1" + strings.Repeat(",10.0.0.2", maxForwarded-1)}, "198.51.100.1"},
		"more than are looked at":        {proxy, []string{"198.51.100.1" + strings.Repeat(",10.0.0.2", maxForwarded)}, "10.0.0.2"},
		"a connection without addresses": {"pipe", []string{"198.51.100.1"}, "invalid IP"},
	} {
		if got := sourceOf(test.peer, http.Header{"X-Forwarded-For": test.forwarded}, trusted).String(); got != test.want {
			t.Errorf("%s: %s, want %s", name, got, test.want)
		}
	}
	if got := sourceOf(proxy, http.Header{"X-Forwarded-For": {"198.51.100.1"}}, nil).String(); got != "10.0.0.1" {
		t.Errorf("without trusted proxies: %s", got)
	}
}

// TestTrustedProxiesAreLive checks that they are taken from the TokenIssuer as it is now, and no other header counts.
func TestTrustedProxiesAreLive(t *testing.T) {
	s := newServer(0)
	r := httptest.NewRequest(http.MethodPost, "/oauth2/token", nil)
	r.RemoteAddr = "10.0.0.1:1"
	r.Header.Set("Forwarded", "for=203.0.113.9")
	r.Header.Set("X-Real-Ip", "203.0.113.9")
	want := func(source string) {
		t.Helper()
		if got := s.newRecord(r).source.String(); got != source {
			t.Errorf("source %s, want %s", got, source)
		}
	}
	trust := func(networks ...string) {
		s.state.index.Upsert(&v1alpha1.TokenIssuer{
			ObjectMeta: metav1.ObjectMeta{Name: "default"}, Spec: v1alpha1.TokenIssuerSpec{TrustedProxies: networks},
		})
	}
	want("10.0.0.1")
	trust("10.0.0.0/8")
	want("10.0.0.1")
	r.Header.Set("X-Forwarded-For", "198.51.100.1")
	want("198.51.100.1")
	trust("192.0.2.0/24", "nonsense")
	want("10.0.0.1")
	if address := netip.MustParseAddr("192.0.2.7"); !s.isProxy(address) || s.isProxy(netip.MustParseAddr("10.0.0.1")) {
		t.Error("others are proxies than those of the TokenIssuer")
	}
}
