package clientauth

import (
	"bytes"
	"net/netip"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/internal/access"
	"github.com/m2m-operator/m2m-operator/internal/credential"
)

var (
	now    = time.Date(2026, 11, 22, 18, 0, 0, 0, time.UTC)
	source = netip.MustParseAddr("192.0.2.1")
)

type fixture struct {
	t      *testing.T
	pepper credential.Pepper
	index  *access.Index
}

func newFixture(t *testing.T) fixture {
	pepper, err := credential.ParsePepper(bytes.Repeat([]byte{1}, 32))
	if err != nil {
		t.Fatal(err)
	}
	return fixture{t: t, pepper: pepper, index: access.NewIndex("m2m-system")}
}

// add makes a client of an issuer whose secret is "secret-of-<name>", and one more for each other expiry.
func (f fixture) add(issuer, name string, suspend bool, expiries ...time.Time) string {
	client := &v1alpha1.M2MClient{
		ObjectMeta: metav1.ObjectMeta{Namespace: "jobs", Name: name},
		Spec:       v1alpha1.M2MClientSpec{IssuerRef: v1alpha1.TokenIssuerReference{Name: issuer}, Suspend: suspend},
	}
	owner := credential.Owner{Issuer: issuer, ClientID: client.ClientID()}
	for i, expiry := range expiries {
		id := strings.Repeat("x", i+1)
		c := credential.Credential{ID: id, Secret: "secret-of-" + name + "-" + id}
		client.Status.Credentials = append(client.Status.Credentials,
			f.pepper.Entry(owner, c, v1alpha1.CredentialCurrent, now, expiry))
	}
	f.index.Upsert(client)
	return client.ClientID()
}

func secretOf(clientID, secret string) Credentials {
	return Credentials{method: MethodBasic, clientID: clientID, secret: secret}
}

// same says whether two failures are one to the client.
func same(a, b *Failure) bool { return a != nil && *a.because("") == *b.because("") }

func TestAuthenticate(t *testing.T) {
	f := newFixture(t)
	forever := time.Time{}
	good := f.add("default", "good", false, forever, now.Add(time.Second), now)
	suspended := f.add("default", "suspended", true, forever)
	foreign := f.add("other", "foreign", false, forever)
	bare := f.add("default", "bare", false)
	for name, test := range map[string]struct {
		credentials Credentials
		ok          bool
	}{
		"current":                 {secretOf(good, "secret-of-good-x"), true},
		"previous, not yet over":  {secretOf(good, "secret-of-good-xx"), true},
		"expired at this instant": {secretOf(good, "secret-of-good-xxx"), false},
		"wrong":                   {secretOf(good, "secret-of-good"), false},
		"empty":                   {secretOf(good, ""), false},
		"of another client":       {secretOf(good, "secret-of-suspended-x"), false},
		"suspended":               {secretOf(suspended, "secret-of-suspended-x"), false},
		"of another issuer":       {secretOf(foreign, "secret-of-foreign-x"), false},
		"without credentials":     {secretOf(bare, "x"), false},
		"none, and empty":         {secretOf(bare, ""), false},
		"unknown":                 {secretOf("jobs.nobody", "x"), false},
		"no id":                   {secretOf("", "x"), false},
	} {
		t.Run(name, func(t *testing.T) {
			client, _, failure := New("default", f.index).Authenticate(test.credentials, Trust{Pepper: f.pepper}, source, now)
			if test.ok && (failure != nil || client.ID != test.credentials.clientID) {
				t.Errorf("got %+v, %+v", client, failure)
			}
			if !test.ok && (!same(failure, errBadCredentials) || client.ID != "") {
				t.Errorf("got %+v, %+v", client, failure)
			}
		})
	}
	if _, _, failure := New("default", f.index).Authenticate(secretOf(good, "secret-of-good-x"), Trust{}, source, now); failure == nil {
		t.Error("authenticated without a pepper")
	}
}

// TestLongSecret: a secret that fills a request costs a client with several credentials no more than one with none.
func TestLongSecret(t *testing.T) {
	f := newFixture(t)
	long := strings.Repeat("s", maxSecret+1)
	client := f.add("default", "known", false, time.Time{})
	known, _ := f.index.Client(client)
	owner := credential.Owner{Issuer: "default", ClientID: client}
	f.index.Upsert(&v1alpha1.M2MClient{
		ObjectMeta: metav1.ObjectMeta{Namespace: "jobs", Name: "known"},
		Spec:       v1alpha1.M2MClientSpec{IssuerRef: v1alpha1.TokenIssuerReference{Name: "default"}},
		Status: v1alpha1.M2MClientStatus{Credentials: append(known.Credentials,
			f.pepper.Entry(owner, credential.Credential{ID: "long", Secret: long}, v1alpha1.CredentialCurrent, now, time.Time{}),
			f.pepper.Entry(owner, credential.Credential{ID: "longest", Secret: long[1:]}, v1alpha1.CredentialCurrent, now, time.Time{}))},
	})
	for secret, want := range map[string]bool{long: false, long[1:]: true} {
		_, _, failure := New("default", f.index).Authenticate(secretOf(client, secret), Trust{Pepper: f.pepper}, source, now)
		if (failure == nil) != want || (!want && !same(failure, errBadCredentials)) {
			t.Errorf("%d bytes: %+v", len(secret), failure)
		}
	}
}

func TestThrottle(t *testing.T) {
	f := newFixture(t)
	known := f.add("default", "known", false, time.Time{})
	a := New("default", f.index)
	fail := func(id string, from netip.Addr, at time.Time) *Failure {
		_, _, failure := a.Authenticate(secretOf(id, "wrong"), Trust{Pepper: f.pepper}, from, at)
		return failure
	}
	for n, id := range []string{known, "jobs.unknown"} {
		at := now.Add(time.Duration(n) * time.Minute)
		for i := range failureBurst {
			if failure := fail(id, source, at); !same(failure, errBadCredentials) {
				t.Fatalf("%s: failure %d is %+v", id, i, failure)
			}
		}
		if failure := fail(id, source, at); !same(failure, errTooManyFailures) || failure.RetryAfter <= 0 {
			t.Errorf("%s: failure beyond the burst is %+v", id, failure)
		}
		if failure := fail(id, source, at.Add(time.Second)); !same(failure, errBadCredentials) {
			t.Errorf("%s: failure a second later is %+v", id, failure)
		}
	}
	if _, _, failure := a.Authenticate(secretOf(known, "secret-of-known-x"), Trust{Pepper: f.pepper}, source, now); failure != nil {
		t.Errorf("the right secret is refused: %+v", failure)
	}
	if failure := fail(known, netip.MustParseAddr("192.0.2.2"), now); !same(failure, errBadCredentials) {
		t.Errorf("another source is %+v", failure)
	}
	if failure := fail("jobs.third", source, now); !same(failure, errBadCredentials) {
		t.Errorf("another client is %+v", failure)
	}
}

// TestThrottleForgetsTheQuietest: however many fail, few are remembered, and who fails most often among them.
func TestThrottleForgetsTheQuietest(t *testing.T) {
	throttle := newThrottle(4)
	for range failureBurst {
		throttle.allow("busy", source, now)
	}
	for i := range 100 {
		if throttle.allow("busy", source, now) {
			t.Fatalf("after %d others the busiest is forgotten", i)
		}
		throttle.allow(strings.Repeat("x", i), source, now)
		if n := len(throttle.recent) + len(throttle.older); n > 4 {
			t.Fatalf("the throttle remembers %d", n)
		}
	}
	for i := range 4 {
		throttle.allow(strings.Repeat("y", i), source, now)
	}
	if !throttle.allow("busy", source, now) {
		t.Error("who was quiet while four others failed is remembered")
	}
}

// TestThrottleSlowRequest: a request that began long before others, and failed after them, is not taken for the last of many.
func TestThrottleSlowRequest(t *testing.T) {
	throttle := newThrottle(maxGuessers)
	throttle.allow("client", source, now.Add(time.Hour))
	for i := range failureBurst - 1 {
		if !throttle.allow("client", source, now) {
			t.Fatalf("failure %d is beyond the burst", i+2)
		}
	}
	if throttle.allow("client", source, now) {
		t.Error("there is no end of the burst")
	}
}

// TestThrottleRate: for an hour of failures, ten a second, half of them are within bounds, besides the first ones.
func TestThrottleRate(t *testing.T) {
	throttle := newThrottle(maxGuessers)
	within := 0
	for i := range 36000 {
		if throttle.allow("client", source, now.Add(time.Duration(i)*failureInterval/2)) {
			within++
		}
	}
	if want := 18000 + failureBurst - 1; within != want {
		t.Errorf("%d failures are within bounds, want %d", within, want)
	}
}

func TestNetwork(t *testing.T) {
	for address, want := range map[string]string{
		"192.0.2.1":             "192.0.2.1",
		"::ffff:192.0.2.1":      "192.0.2.1",
		"2001:db8:1:2:3:4:5:6":  "2001:db8:1:2::",
		"fe80::1:2%eth0":        "fe80::",
		"2001:db8:1:2:ffff::ff": "2001:db8:1:2::",
	} {
		if got := Network(netip.MustParseAddr(address)).String(); got != want {
			t.Errorf("Network(%s) = %s, want %s", address, got, want)
		}
	}
	if got := Network(netip.Addr{}); got.IsValid() {
		t.Errorf("network of no address is %s", got)
	}
}
