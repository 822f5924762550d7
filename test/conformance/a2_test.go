package conformance

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/internal/access"
)

var clientAuthentication = []statement{
	{"C-1", "basic", testBasic},
	{"C-2", "basic_is_form_encoded", testBasicFormEncoded},
	{"C-3", "credentials_need_no_encoding", testUnencodedCredentials},
	{"C-4", "scheme", testScheme},
	{"C-5", "credentials_in_the_body", testBodyCredentials},
	{"C-6", "one_mechanism", testOneMechanism},
	{"C-6", "client_id_beside_basic", testClientIDBesideBasic},
	{"C-7", "registered_method", testRegisteredMethod},
	{"C-8", "client_id_alone", testClientIDAlone},
	{"C-9", "no_credentials", testNoCredentials},
	{"C-10", "every_refusal_is_the_same", testUniformRefusal},
	{"C-10", "refusal_at_once", testRefusalAtOnce},
	{"C-11", "challenge", testChallenge},
	{"C-12", "every_valid_secret", testEveryValidSecret},
	{"C-12", "an_empty_secret_is_never_valid", testEmptySecret},
	{"C-13", "client_id_is_unique", testUniqueClientID},
}

func testBasic(t *testing.T) {
	w := newWorld(t)
	w.send(w.tokenRequest()).wantToken(t)
	w.send(w.tokenRequest().with("Authorization", basic(publisher, w.secrets[publisher]+"x"))).wantError(t, http.StatusUnauthorized, "invalid_client")
}

func raw64(text string) string { return "Basic " + base64.StdEncoding.EncodeToString([]byte(text)) }

// percent encodes every character, also those that need it not.
func percent(text string) string {
	var out strings.Builder
	for i := range len(text) {
		fmt.Fprintf(&out, "%%%02X", text[i])
	}
	return out.String()
}

func testBasicFormEncoded(t *testing.T) {
	w := newWorld(t)
	secret := w.secrets[publisher]
	w.send(w.tokenRequest().with("Authorization", raw64(percent(publisher)+":"+percent(secret)))).wantToken(t)
	for _, credentials := range []string{
		publisher + ":" + secret + "%", publisher + "%zz:" + secret, publisher + ":%", publisher + secret, publisher + ":" + secret + "+",
		publisher + ":" + percent(percent(secret)), ":" + secret, publisher + ":", ":", "",
	} {
		w.send(w.tokenRequest().with("Authorization", raw64(credentials))).wantError(t, http.StatusUnauthorized, "invalid_client")
	}
	for _, header := range []string{"Basic", "Basic !!!", "Basic ", "Basic " + publisher + ":" + secret} {
		w.send(w.tokenRequest().with("Authorization", header)).wantError(t, http.StatusUnauthorized, "invalid_client")
	}
}

func testUnencodedCredentials(t *testing.T) {
	w := newWorld(t)
	plain := regexp.MustCompile(`^[A-Za-z0-9._~-]+$`)
	if !plain.MatchString(publisher) || !plain.MatchString(w.secrets[publisher]) {
		t.Errorf("%q and %q look different when they are encoded", publisher, w.secrets[publisher])
	}
	w.send(w.tokenRequest().with("Authorization", raw64(publisher+":"+w.secrets[publisher]))).wantToken(t)
}

func testScheme(t *testing.T) {
	w := newWorld(t)
	good := w.tokenRequest().header.Get("Authorization")
	for _, scheme := range []string{"bAsIc", "BASIC", "basic"} {
		w.send(w.tokenRequest().with("Authorization", scheme+strings.TrimPrefix(good, "Basic"))).wantToken(t)
	}
	for _, header := range []string{"Bearer abc", "Digest username=x", strings.TrimPrefix(good, "Basic "), "BasicX" + strings.TrimPrefix(good, "Basic"), ""} {
		w.send(w.tokenRequest().with("Authorization", header)).wantError(t, http.StatusUnauthorized, "invalid_client")
	}
	for _, second := range []string{good, "Bearer abc", ""} {
		a := w.raw("POST", w.tokenRequest().text("Authorization: "+second))
		a.wantError(t, http.StatusBadRequest, "invalid_request")
	}
}

func testBodyCredentials(t *testing.T) {
	w := newWorld(t)
	w.send(w.tokenRequest("client_id", publisher, "client_secret", w.secrets[publisher]).bare()).wantToken(t)
	w.send(w.tokenRequest("client_id", publisher, "client_secret", "wrong").bare()).wantError(t, http.StatusUnauthorized, "invalid_client")
	w.send(w.tokenRequest("client_secret", w.secrets[publisher]).bare()).wantError(t, http.StatusUnauthorized, "invalid_client")
}

func testOneMechanism(t *testing.T) {
	w := newWorld(t)
	secret := w.secrets[publisher]
	const assertionType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
	for name, r := range map[string]request{
		"header and body":            w.tokenRequest("client_id", publisher, "client_secret", secret),
		"header and body, no id":     w.tokenRequest("client_secret", secret),
		"wrong header and body":      w.tokenRequest("client_id", publisher, "client_secret", secret).with("Authorization", "Bearer x"),
		"header and assertion":       w.tokenRequest("client_assertion", "a.b.c", "client_assertion_type", assertionType),
		"header and half assertion":  w.tokenRequest("client_assertion", "a.b.c"),
		"header and assertion type":  w.tokenRequest("client_assertion_type", assertionType),
		"body secret and assertion":  w.tokenRequest("client_id", publisher, "client_secret", secret, "client_assertion", "a.b.c").bare(),
		"body wrong secret and more": w.tokenRequest("client_id", publisher, "client_secret", "x", "client_assertion", "a.b.c").bare(),
	} {
		w.run(name, func(t *testing.T) { w.send(r).wantError(t, http.StatusBadRequest, "invalid_request") })
	}
	alone := w.tokenRequest("client_assertion", "a.b.c", "client_assertion_type", assertionType).bare()
	w.send(alone).wantError(t, http.StatusUnauthorized, "invalid_client")
}

func testClientIDBesideBasic(t *testing.T) {
	w := newWorld(t)
	w.client("jobs", "other", nil)
	w.send(w.tokenRequest("client_id", publisher)).wantToken(t)
	w.send(w.tokenRequest("client_id", "jobs.other")).wantError(t, http.StatusBadRequest, "invalid_request")
	w.send(w.tokenRequest("client_id", "jobs.unknown")).wantError(t, http.StatusBadRequest, "invalid_request")
}

func testClientIDAlone(t *testing.T) {
	w := newWorld(t)
	w.send(w.tokenRequest("client_id", publisher).bare()).wantError(t, http.StatusUnauthorized, "invalid_client")
	w.send(w.tokenRequest("client_id", publisher, "client_secret", "").bare()).wantError(t, http.StatusUnauthorized, "invalid_client")
}

func testNoCredentials(t *testing.T) {
	w := newWorld(t)
	w.send(w.tokenRequest().bare()).wantError(t, http.StatusUnauthorized, "invalid_client")
	w.send(w.requestOf(publisher).bare()).wantError(t, http.StatusUnauthorized, "invalid_client")
}

// testUniformRefusal compares every byte but the date of refusals that have nothing in common but that they are refusals.
func testUniformRefusal(t *testing.T) {
	w := newWorld(t)
	w.client("jobs", "suspended", func(c *v1alpha1.M2MClient) { c.Spec.Suspend = true })
	w.client("jobs", "expired", func(c *v1alpha1.M2MClient) {
		c.Status.Credentials = []v1alpha1.CredentialStatus{w.credential(c, w.now())}
	})
	w.client("jobs", "deleted", nil)
	w.index.Delete(access.Ref{Kind: access.KindM2MClient, Namespace: "jobs", Name: "deleted"})
	w.client("terminating", "client", nil)
	w.index.SetNamespaceTerminating("terminating", true)
	w.client("jobs", "foreign", func(c *v1alpha1.M2MClient) {
		c.Spec.IssuerRef.Name = "other"
		c.Status.Credentials = []v1alpha1.CredentialStatus{w.credential(c, time.Time{})}
	})
	w.client("jobs", "bare", func(c *v1alpha1.M2MClient) { c.Status.Credentials = nil })
	w.client("jobs", "pasted", func(c *v1alpha1.M2MClient) {
		publisher, _ := w.index.Client(publisher)
		c.Status.Credentials = publisher.Credentials
	})
	w.secrets["jobs.pasted"] = w.secrets[publisher]
	w.secrets["jobs.unknown"], w.secrets["unknown"], w.secrets[strings.Repeat("x", 5000)] = "x", w.secrets[publisher], "x"

	for _, method := range []string{"basic", "post"} {
		ask := func(id, secret string) string {
			r := w.requestOf(publisher, "grant_type", "client_credentials", "audience", courses)
			if method == "basic" {
				r = r.with("Authorization", basic(id, secret))
			} else {
				r = r.bare().add("client_id", id, "client_secret", secret)
			}
			a := w.send(r)
			a.wantError(t, http.StatusUnauthorized, "invalid_client")
			return a.fingerprint()
		}
		want := ask(publisher, "wrong")
		for id, secret := range w.secrets {
			if id == publisher {
				continue
			}
			if got := ask(id, secret); got != want {
				t.Errorf("%s of %.20s differs from a wrong secret:\n%s\n%s", method, id, got, want)
			}
		}
		if got := ask(publisher, w.secrets["jobs.suspended"]); got != want {
			t.Errorf("the secret of another client differs from a wrong secret:\n%s\n%s", got, want)
		}
	}
}

func testRefusalAtOnce(t *testing.T) {
	w := newWorld(t)
	var client *v1alpha1.M2MClient
	id := w.client("jobs", "worker", func(c *v1alpha1.M2MClient) { client = c })
	w.grant("courses", "worker", "course-api", "jobs", "worker", "courses:write")
	ask := func() answer { return w.send(w.requestOf(id, "grant_type", "client_credentials", "audience", courses)) }
	ask().wantToken(t)
	suspended := client.DeepCopy()
	suspended.Spec.Suspend = true
	w.index.Upsert(suspended)
	ask().wantError(t, http.StatusUnauthorized, "invalid_client")
	w.index.Upsert(client)
	ask().wantToken(t)
	w.index.Delete(access.RefOf(client))
	ask().wantError(t, http.StatusUnauthorized, "invalid_client")
}

func testChallenge(t *testing.T) {
	w := newWorld(t)
	const want = `Basic realm="https://tokens.example.com", charset="UTF-8"`
	for name, r := range map[string]request{
		"header": w.tokenRequest().with("Authorization", basic(publisher, "x")),
		"body":   w.tokenRequest("client_id", publisher, "client_secret", "x").bare(),
		"none":   w.tokenRequest().bare(),
		"other":  w.tokenRequest().with("Authorization", "Bearer x"),
	} {
		w.run(name, func(t *testing.T) {
			a := w.send(r)
			a.wantError(t, http.StatusUnauthorized, "invalid_client")
			if got := a.header.Values("WWW-Authenticate"); len(got) != 1 || got[0] != want {
				t.Errorf("WWW-Authenticate %q", got)
			}
		})
	}
}

func testEveryValidSecret(t *testing.T) {
	w := newWorld(t)
	var secrets []string
	id := w.client("jobs", "rotating", func(c *v1alpha1.M2MClient) {
		c.Status.Credentials = nil
		for _, expiry := range []time.Time{{}, w.now().Add(time.Hour), {}} {
			c.Status.Credentials = append(c.Status.Credentials, w.credential(c, expiry))
			secrets = append(secrets, w.secrets[c.ClientID()])
		}
	})
	w.grant("courses", "rotating", "course-api", "jobs", "rotating", "courses:write")
	ask := func(secret string) answer {
		return w.send(w.requestOf(id, "grant_type", "client_credentials", "audience", courses).with("Authorization", basic(id, secret)))
	}
	for _, secret := range secrets {
		ask(secret).wantToken(t)
	}
	w.later(time.Hour)
	ask(secrets[0]).wantToken(t)
	ask(secrets[1]).wantError(t, http.StatusUnauthorized, "invalid_client")
	ask(secrets[2]).wantToken(t)
}

func testEmptySecret(t *testing.T) {
	w := newWorld(t)
	w.client("jobs", "bare", func(c *v1alpha1.M2MClient) { c.Status.Credentials = nil })
	w.client("jobs", "blank", func(c *v1alpha1.M2MClient) {
		c.Status.Credentials = []v1alpha1.CredentialStatus{{ID: "x", PepperID: w.pepper.ID(), Verifier: "."}}
	})
	for _, id := range []string{publisher, "jobs.bare", "jobs.blank", "jobs.unknown", ""} {
		w.send(w.tokenRequest().with("Authorization", raw64(id+":"))).wantError(t, http.StatusUnauthorized, "invalid_client")
		w.send(w.tokenRequest("client_id", id, "client_secret", "").bare()).wantError(t, http.StatusUnauthorized, "invalid_client")
	}
}

func testUniqueClientID(t *testing.T) {
	w := newWorld(t)
	ids := []string{w.client("a", "b.c", nil), w.client("a", "b", nil), w.client("b", "c", nil)}
	for _, id := range ids {
		for _, other := range ids {
			r := w.requestOf(id, "grant_type", "client_credentials").with("Authorization", basic(id, w.secrets[other]))
			if a := w.send(r); (a.status == http.StatusBadRequest) != (id == other) {
				t.Errorf("%s with the secret of %s: %d", id, other, a.status)
			}
		}
	}
}
