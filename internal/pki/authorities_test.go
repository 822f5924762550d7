package pki_test

import (
	"crypto/tls"
	"crypto/x509"
	"testing"
	"time"

	"github.com/m2m-operator/m2m-operator/internal/pki"
)

// mount is what somebody trusts who mounted the bundle at a time and looks again only after a day.
type mount struct {
	bundle []byte
	until  time.Time
}

// TestNobodyMeetsAnAuthorityThatHeHasNotHeardOf lets forty years pass in steps, with an authority's key lost twice, and
// checks that every certificate served verifies with every bundle that somebody may still hold.
func TestNobodyMeetsAnAuthorityThatHeHasNotHeardOf(t *testing.T) {
	names := []string{"issuer.example"}
	var authorities pki.Authorities
	var serving pki.Pair
	var mounts []mount
	changes := 0
	at := now
	for step := 0; at.Before(now.AddDate(40, 0, 0)); step++ {
		if step == 700 || step == 2000 {
			authorities = pki.Authorities{Previous: authorities.Bundle(), PreviousSince: at} // the Secret was deleted
		}
		var reason string
		var err error
		authorities, reason, _, err = authorities.Advance("test", serving, at)
		if err != nil {
			t.Fatal(err)
		}
		if reason != "" {
			changes++
		}
		if _, due := pki.Renewal(pki.Serving{Authority: authorities.Current, Current: serving, Names: names, Now: at}); due != "" {
			if len(authorities.Current.Certificate) == 0 {
				t.Fatalf("%s: a certificate is due (%s) and nobody signs", at, due)
			}
			if serving, err = pki.NewServing(authorities.Current, names, at); err != nil {
				t.Fatal(err)
			}
		}
		mounts = append(mounts, mount{authorities.Bundle(), at.Add(23 * time.Hour)})
		for len(mounts) > 0 && mounts[0].until.Before(at) {
			mounts = mounts[1:]
		}
		loaded, err := tls.X509KeyPair(serving.Certificate, serving.Key)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range mounts {
			roots := x509.NewCertPool()
			roots.AppendCertsFromPEM(m.bundle)
			if _, err := loaded.Leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: names[0], CurrentTime: at}); err != nil {
				t.Fatalf("step %d, %s: a bundle of %s does not verify: %v", step, at, m.until.Add(-23*time.Hour), err)
			}
		}
		// Mostly weeks, and hours around changes.
		if reason != "" || len(authorities.Next.Certificate) > 0 || len(authorities.Previous) > 0 {
			at = at.Add(3 * time.Hour)
		} else {
			at = at.Add(5 * 24 * time.Hour)
		}
	}
	if changes < 15 {
		t.Errorf("only %d changes in forty years: that is not what this test is for", changes)
	}
}

func TestAnAuthorityIsPublishedForADayBeforeItSigns(t *testing.T) {
	var a pki.Authorities
	a, _, due, err := a.Advance("test", pki.Pair{}, now)
	if err != nil || len(a.Current.Certificate) == 0 {
		t.Fatal("no first authority", err)
	}
	first := string(a.Current.Certificate)
	pair := serving(t, a.Current, "a.example")
	if a, reason, _, _ := a.Advance("test", pair, due.Add(-time.Hour)); reason != "" || len(a.Next.Certificate) != 0 {
		t.Error("renewed before two thirds of its life:", reason)
	}
	a, _, _, _ = a.Advance("test", pair, due)
	if string(a.Current.Certificate) != first || len(a.Next.Certificate) == 0 {
		t.Error("the next one is not announced, or signs at once")
	}
	a, reason, _, _ := a.Advance("test", pair, due.Add(pki.AnnouncePeriod-time.Second))
	if reason != "" {
		t.Error("it signs too early")
	}
	a, _, _, _ = a.Advance("test", pair, due.Add(pki.AnnouncePeriod))
	if string(a.Current.Certificate) == first || len(a.Previous) == 0 {
		t.Error("it does not sign after a day, or the one before is not published any more")
	}
}
