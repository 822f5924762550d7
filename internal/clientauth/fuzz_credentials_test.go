package clientauth

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// FuzzRead: whatever header and body say, credentials come from one place alone, and are what net/http reads there.
func FuzzRead(f *testing.F) {
	const jwt = "eyJhbGciOiJFUzI1NiJ9.e30.c2ln"
	for _, seed := range []struct {
		authorization string // one header a line
		body          Parameters
	}{
		{basic("jobs.publisher:s3cr3t"), Parameters{}},
		{basic("jobs.publisher:s3cr3t"), Parameters{ClientID: "jobs.publisher"}},
		{basic("jobs.publisher:s3cr3t"), Parameters{ClientID: "jobs.other"}},
		{basic("jobs.publisher:s3cr3t"), Parameters{ClientID: "jobs.publisher", ClientSecret: "s3cr3t"}},
		{basic("jobs.publisher:s3cr3t"), Parameters{ClientAssertion: jwt, ClientAssertionType: assertionType}},
		{basic("jobs.publisher:s3cr3t"), Parameters{ClientAssertionType: assertionType}},
		{basic("a%3Ab:p%25+q%2B%3A"), Parameters{}},
		{basic("a:b:c") + "\n" + basic("a:b:c"), Parameters{}},
		{"bAsIc   " + strings.TrimPrefix(basic(":"), "Basic "), Parameters{}},
		{basic("a%zz:b"), Parameters{}}, {basic("no colon"), Parameters{}}, {basic("\xff\x00:\r\n"), Parameters{}},
		{"Basic YTpiYg", Parameters{}}, {"Basic YTpiYh==", Parameters{}}, {"Basic YTpi ", Parameters{}}, {"Basic Y\rTpi", Parameters{}},
		{"Basic", Parameters{}}, {"Basic\tYTpi", Parameters{}}, {"Bearer " + jwt, Parameters{}}, {"Basic YTpi, Bearer x", Parameters{}},
		{"", Parameters{ClientID: "jobs.publisher", ClientSecret: "s3cr3t"}},
		{"", Parameters{ClientAssertion: jwt, ClientAssertionType: assertionType}},
		{"", Parameters{ClientID: "jobs.signer", ClientAssertion: jwt, ClientAssertionType: assertionType + " "}},
		{"", Parameters{ClientSecret: "s3cr3t", ClientAssertion: jwt, ClientAssertionType: assertionType}},
		{"", Parameters{ClientAssertionType: assertionType}}, {"", Parameters{ClientID: "jobs.publisher"}},
	} {
		f.Add(seed.authorization, seed.body.ClientID, seed.body.ClientSecret, seed.body.ClientAssertion, seed.body.ClientAssertionType)
	}
	f.Fuzz(func(t *testing.T, authorization, clientID, secret, assertion, assertionType string) {
		header := http.Header{}
		if authorization != "" {
			header["Authorization"] = strings.Split(authorization, "\n")
		}
		body := Parameters{ClientID: clientID, ClientSecret: secret, ClientAssertion: assertion, ClientAssertionType: assertionType}
		c, failure := Read(header, body)
		if want := plainly(header["Authorization"], body); c != want {
			t.Errorf("read %+v, others %+v", c, want)
		}
		if (failure == nil) != (c.method != "" || c.assertion != "") {
			t.Errorf("%+v, %+v", c, failure)
		}
		if c.method == MethodBasic {
			encoded := basic(url.QueryEscape(c.clientID) + ":" + url.QueryEscape(c.secret))
			if again, _ := decodeBasic(strings.TrimPrefix(encoded, "Basic ")); again != c {
				t.Errorf("%+v comes back as %+v", c, again)
			}
		}
		for _, presented := range []string{c.secret, c.assertion} {
			if presented != "" && !c.RevealedBy("a"+presented+"b") {
				t.Errorf("%q may be logged", presented)
			}
		}
	})
}

// plainly are the credentials of a request that presents them in one way only, none if it does not.
func plainly(authorization []string, body Parameters) Credentials {
	byAssertion := body.ClientAssertion != "" || body.ClientAssertionType != ""
	switch {
	case len(authorization) == 1 && body.ClientSecret == "" && !byAssertion:
		scheme, encoded, _ := strings.Cut(authorization[0], " ")
		// RFC 9110 section 11.4 allows several spaces, net/http one.
		r := http.Request{Header: http.Header{"Authorization": {scheme + " " + strings.TrimLeft(encoded, " ")}}}
		username, password, ok := r.BasicAuth()
		id, err1 := url.QueryUnescape(username)
		secret, err2 := url.QueryUnescape(password)
		if ok && err1 == nil && err2 == nil && (body.ClientID == "" || body.ClientID == id) {
			return Credentials{method: MethodBasic, clientID: id, secret: secret}
		}
	case len(authorization) == 0 && body.ClientSecret != "" && !byAssertion:
		return Credentials{method: MethodPost, clientID: body.ClientID, secret: body.ClientSecret}
	case len(authorization) == 0 && body.ClientSecret == "" && body.ClientAssertionType == assertionType && body.ClientAssertion != "":
		return Credentials{clientID: body.ClientID, assertion: body.ClientAssertion}
	}
	return Credentials{}
}
