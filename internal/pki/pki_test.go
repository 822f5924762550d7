package pki_test

import (
	"crypto/tls"
	"crypto/x509"
	"testing"
	"time"

	"github.com/m2m-operator/m2m-operator/internal/pki"
)

var now = time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)

func authority(t *testing.T) pki.Pair {
	t.Helper()
	pair, err := pki.NewAuthority("test", now)
	if err != nil {
		t.Fatal(err)
	}
	return pair
}

func serving(t *testing.T, ca pki.Pair, names ...string) pki.Pair {
	t.Helper()
	pair, err := pki.NewServing(ca, names, now)
	if err != nil {
		t.Fatal(err)
	}
	return pair
}

func TestServingCertificateVerifiesForItsNames(t *testing.T) {
	ca := authority(t)
	pair := serving(t, ca, "issuer.m2m-system.svc", "127.0.0.1", "::1")
	loaded, err := tls.X509KeyPair(pair.Certificate, pair.Key)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca.Certificate)
	for name, want := range map[string]bool{"issuer.m2m-system.svc": true, "127.0.0.1": true, "::1": true, "evil.example": false} {
		_, err := loaded.Leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: name, CurrentTime: now})
		if (err == nil) != want {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := loaded.Leaf.Verify(x509.VerifyOptions{Roots: roots, CurrentTime: now.Add(pki.ServingLife + time.Second)}); err == nil {
		t.Error("valid after its end")
	}
	if loaded.Leaf.IsCA {
		t.Error("a serving certificate can sign others")
	}
}

func TestRenewal(t *testing.T) {
	ca := authority(t)
	names := []string{"a.example", "127.0.0.1"}
	pair := serving(t, ca, names...)
	due, _ := pki.Renewal(pki.Serving{Authority: ca, Current: pair, Names: names, Now: now})
	for name, test := range map[string]struct {
		serving pki.Serving
		want    string
	}{
		"fresh":                 {pki.Serving{Authority: ca, Current: pair, Names: names, Now: now}, ""},
		"names in other order":  {pki.Serving{Authority: ca, Current: pair, Names: []string{"127.0.0.1", "a.example"}, Now: now}, ""},
		"just before it is due": {pki.Serving{Authority: ca, Current: pair, Names: names, Now: due.Add(-time.Second)}, ""},
		"due":                   {pki.Serving{Authority: ca, Current: pair, Names: names, Now: due}, "two thirds of its life have passed"},
		"none":                  {pki.Serving{Authority: ca, Names: names, Now: now}, "there is no usable certificate"},
		"broken":                {pki.Serving{Authority: ca, Current: pki.Pair{Certificate: pair.Certificate, Key: []byte("x")}, Names: names, Now: now}, "there is no usable certificate"},
		"other names":           {pki.Serving{Authority: ca, Current: pair, Names: []string{"b.example"}, Now: now}, "it is for other names"},
		"other authority":       {pki.Serving{Authority: authority(t), Current: pair, Names: names, Now: now}, "it is not signed by the current authority"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, reason := pki.Renewal(test.serving); reason != test.want {
				t.Errorf("reason %q, want %q", reason, test.want)
			}
		})
	}
	if life := due.Sub(now); life < pki.ServingLife/2 || life > pki.ServingLife*3/4 {
		t.Errorf("due after %s of %s", life, pki.ServingLife)
	}
}
