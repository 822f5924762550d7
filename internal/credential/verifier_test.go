package credential_test

import (
	"crypto/rand"
	"regexp"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/internal/credential"
)

var (
	now   = time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	owner = credential.Owner{Issuer: "default", ClientID: "jobs.publisher"}
)

func newPepper(t testing.TB) credential.Pepper {
	t.Helper()
	data, err := credential.NewPepper(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	pepper, err := credential.ParsePepper(data)
	if err != nil {
		t.Fatal(err)
	}
	return pepper
}

func newCredential(t testing.TB) credential.Credential {
	t.Helper()
	c, err := credential.New(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestSecretsAreFormSafeAndDistinct(t *testing.T) {
	safe := regexp.MustCompile(`^[A-Za-z0-9_-]{43}$`)
	seen := map[string]bool{}
	for range 1000 {
		c := newCredential(t)
		if !safe.MatchString(c.Secret) || seen[c.Secret] || seen[c.ID] {
			t.Fatalf("secret of length %d is not 43 safe characters, or came twice", len(c.Secret))
		}
		seen[c.Secret], seen[c.ID] = true, true
	}
}

func TestParsePepperWantsAllOfIt(t *testing.T) {
	for _, size := range []int{0, 16, 31, 33, 64} {
		if _, err := credential.ParsePepper(make([]byte, size)); err == nil {
			t.Errorf("a pepper of %d bytes was taken", size)
		}
	}
}

func TestVerify(t *testing.T) {
	pepper, c := newPepper(t), newCredential(t)
	expiry := now.Add(time.Hour)
	limited := pepper.Entry(owner, c, v1alpha1.CredentialPrevious, now, expiry)
	unlimited := pepper.Entry(owner, c, v1alpha1.CredentialCurrent, now, time.Time{})
	with := func(change func(*v1alpha1.CredentialStatus)) v1alpha1.CredentialStatus {
		e := limited
		change(&e)
		return e
	}
	later := metav1.NewTime(expiry.Add(time.Hour))
	for name, test := range map[string]struct {
		pepper credential.Pepper
		owner  credential.Owner
		entry  v1alpha1.CredentialStatus
		secret string
		at     time.Time
		want   bool
	}{
		"right secret":                     {pepper, owner, unlimited, c.Secret, now, true},
		"right secret, long after":         {pepper, owner, unlimited, c.Secret, now.AddDate(10, 0, 0), true},
		"just before its expiry":           {pepper, owner, limited, c.Secret, expiry.Add(-time.Second), true},
		"at its expiry":                    {pepper, owner, limited, c.Secret, expiry, false},
		"wrong secret":                     {pepper, owner, unlimited, newCredential(t).Secret, now, false},
		"empty secret":                     {pepper, owner, unlimited, "", now, false},
		"a prefix of the secret":           {pepper, owner, unlimited, c.Secret[:42], now, false},
		"pasted onto another client":       {pepper, credential.Owner{Issuer: "default", ClientID: "jobs.other"}, unlimited, c.Secret, now, false},
		"pasted onto another issuer":       {pepper, credential.Owner{Issuer: "other", ClientID: "jobs.publisher"}, unlimited, c.Secret, now, false},
		"field borders moved":              {pepper, credential.Owner{Issuer: "defaultjobs", ClientID: ".publisher"}, unlimited, c.Secret, now, false},
		"another pepper":                   {newPepper(t), owner, unlimited, c.Secret, now, false},
		"no pepper at all":                 {credential.Pepper{}, owner, unlimited, c.Secret, now, false},
		"a later expiry written in":        {pepper, owner, with(func(e *v1alpha1.CredentialStatus) { e.ExpiryTime = &later }), c.Secret, now, false},
		"the expiry taken out":             {pepper, owner, with(func(e *v1alpha1.CredentialStatus) { e.ExpiryTime = nil }), c.Secret, now, false},
		"another id":                       {pepper, owner, with(func(e *v1alpha1.CredentialStatus) { e.ID = "x" }), c.Secret, now, false},
		"the seal cut off":                 {pepper, owner, with(func(e *v1alpha1.CredentialStatus) { e.Verifier = e.Verifier[:43] }), c.Secret, now, false},
		"an empty verifier, empty secret":  {pepper, owner, with(func(e *v1alpha1.CredentialStatus) { e.Verifier = "" }), "", now, false},
		"a verifier of nothing but a dot":  {pepper, owner, with(func(e *v1alpha1.CredentialStatus) { e.Verifier = "." }), "", now, false},
		"the state alone decides nothing":  {pepper, owner, with(func(e *v1alpha1.CredentialStatus) { e.State = v1alpha1.CredentialPending }), c.Secret, now, true},
		"another's pepper id written over": {newPepper(t), owner, with(func(e *v1alpha1.CredentialStatus) { e.PepperID = newPepper(t).ID() }), c.Secret, now, false},
	} {
		t.Run(name, func(t *testing.T) {
			id, ok := test.pepper.Verify(test.owner, []v1alpha1.CredentialStatus{test.entry}, test.secret, test.at)
			if ok != test.want || (ok && id != c.ID) {
				t.Errorf("Verify = %q, %t; want %t", id, ok, test.want)
			}
		})
	}
}

func TestVerifyLooksAtEveryEntryAndAcceptsNoneOfNone(t *testing.T) {
	pepper := newPepper(t)
	var entries []v1alpha1.CredentialStatus
	var secrets []credential.Credential
	for range 3 {
		c := newCredential(t)
		secrets = append(secrets, c)
		entries = append(entries, pepper.Entry(owner, c, v1alpha1.CredentialCurrent, now, time.Time{}))
	}
	for _, c := range secrets {
		if id, ok := pepper.Verify(owner, entries, c.Secret, now); !ok || id != c.ID {
			t.Errorf("credential %s: Verify = %q, %t", c.ID, id, ok)
		}
	}
	for _, secret := range []string{"", "x", secrets[0].Secret} {
		if _, ok := pepper.Verify(owner, nil, secret, now); ok {
			t.Errorf("a client without credentials was let in")
		}
	}
}

func TestExpireKeepsTheSecretAndRefusesStrangers(t *testing.T) {
	pepper, c := newPepper(t), newCredential(t)
	entry := pepper.Entry(owner, c, v1alpha1.CredentialCurrent, now, time.Time{})
	limited, err := pepper.Expire(owner, entry, now.Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := pepper.Verify(owner, []v1alpha1.CredentialStatus{limited}, c.Secret, now); !ok {
		t.Error("the secret is refused before its expiry")
	}
	if _, ok := pepper.Verify(owner, []v1alpha1.CredentialStatus{limited}, c.Secret, now.Add(time.Hour)); ok {
		t.Error("the secret is accepted at its expiry")
	}
	if _, err := pepper.Expire(credential.Owner{Issuer: "default", ClientID: "a.b"}, entry, now); err == nil {
		t.Error("an entry of another client was sealed anew")
	}
}
