package clientauth

import (
	"encoding/base64"
	"net/http"
	"strings"
	"testing"
)

func basic(userpass string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(userpass))
}

func TestRead(t *testing.T) {
	const id, secret = "jobs.publisher", "s3cr3t"
	assertion := Parameters{ClientAssertion: "a.b.c", ClientAssertionType: "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"}
	for name, test := range map[string]struct {
		headers []string
		body    Parameters
		want    Credentials
		failure *Failure
	}{
		"basic":                         {headers: []string{basic(id + ":" + secret)}, want: secretOf(id, secret)},
		"scheme in any case":            {headers: []string{"bAsIc" + strings.TrimPrefix(basic(id+":"+secret), "Basic")}, want: secretOf(id, secret)},
		"several spaces":                {headers: []string{"Basic   " + strings.TrimPrefix(basic(id+":"+secret), "Basic ")}, want: secretOf(id, secret)},
		"form-encoded halves":           {headers: []string{basic("a%3Ab:p%25+q%2B%3A")}, want: secretOf("a:b", "p% q+:")},
		"split at the first colon":      {headers: []string{basic("a:b:c")}, want: secretOf("a", "b:c")},
		"empty secret":                  {headers: []string{basic(id + ":")}, want: secretOf(id, "")},
		"empty id":                      {headers: []string{basic(":" + secret)}, want: secretOf("", secret)},
		"same client_id in the body":    {headers: []string{basic(id + ":" + secret)}, body: Parameters{ClientID: id}, want: secretOf(id, secret)},
		"body":                          {body: Parameters{ClientID: id, ClientSecret: secret}, want: secretOf(id, secret)},
		"secret without an id":          {body: Parameters{ClientSecret: secret}, want: secretOf("", secret)},
		"other client_id in the body":   {headers: []string{basic(id + ":" + secret)}, body: Parameters{ClientID: "jobs.other"}, failure: errOtherClientID},
		"two headers":                   {headers: []string{basic(id + ":" + secret), basic(id + ":" + secret)}, failure: errSeveralHeaders},
		"header and body":               {headers: []string{basic(id + ":" + secret)}, body: Parameters{ClientID: id, ClientSecret: secret}, failure: errSeveralMethods},
		"foreign header and body":       {headers: []string{"Bearer x"}, body: Parameters{ClientID: id, ClientSecret: secret}, failure: errSeveralMethods},
		"header and assertion":          {headers: []string{basic(id + ":" + secret)}, body: assertion, failure: errSeveralMethods},
		"header and assertion type":     {headers: []string{basic(id + ":" + secret)}, body: Parameters{ClientAssertionType: "x"}, failure: errSeveralMethods},
		"body secret and assertion":     {body: Parameters{ClientSecret: secret, ClientAssertion: "a.b.c"}, failure: errSeveralMethods},
		"assertion alone":               {body: assertion, want: Credentials{assertion: assertion.ClientAssertion}},
		"assertion and client_id":       {body: Parameters{ClientID: id, ClientAssertion: "a.b.c", ClientAssertionType: assertionType}, want: Credentials{clientID: id, assertion: "a.b.c"}},
		"assertion without its type":    {body: Parameters{ClientAssertion: "a.b.c"}, failure: errHalfAssertion},
		"assertion type alone":          {body: Parameters{ClientID: id, ClientAssertionType: assertionType}, failure: errHalfAssertion},
		"other assertion type alone":    {body: Parameters{ClientAssertionType: "x"}, failure: errHalfAssertion},
		"other assertion type":          {body: Parameters{ClientAssertion: "a.b.c", ClientAssertionType: "urn:ietf:params:oauth:client-assertion-type:saml2-bearer"}, failure: errUnsupported},
		"assertion type in capitals":    {body: Parameters{ClientAssertion: "a.b.c", ClientAssertionType: strings.ToUpper(assertionType)}, failure: errUnsupported},
		"assertion type and a space":    {body: Parameters{ClientAssertion: "a.b.c", ClientAssertionType: assertionType + " "}, failure: errUnsupported},
		"bearer":                        {headers: []string{"Bearer abc"}, failure: errUnsupported},
		"digest":                        {headers: []string{`Digest username="a"`}, failure: errUnsupported},
		"empty header":                  {headers: []string{""}, failure: errUnsupported},
		"no space after the scheme":     {headers: []string{"Basicabc"}, failure: errUnsupported},
		"scheme only":                   {headers: []string{"Basic"}, failure: errBadCredentials},
		"not base64":                    {headers: []string{"Basic %%%"}, failure: errBadCredentials},
		"base64 without padding":        {headers: []string{"Basic YTpi" + "Yg"}, failure: errBadCredentials},
		"no colon":                      {headers: []string{basic("abc")}, failure: errBadCredentials},
		"malformed percent in the id":   {headers: []string{basic("a%zz:b")}, failure: errBadCredentials},
		"malformed percent in password": {headers: []string{basic("a:b%")}, failure: errBadCredentials},
		"nothing":                       {failure: errNoCredentials},
		"client_id alone":               {body: Parameters{ClientID: id}, failure: errNoCredentials},
	} {
		t.Run(name, func(t *testing.T) {
			header := http.Header{}
			for _, value := range test.headers {
				header.Add("Authorization", value)
			}
			got, failure := Read(header, test.body)
			got.method = test.want.method
			if got != test.want || (failure != test.failure && !same(failure, test.failure)) {
				t.Errorf("got %+v, %+v; want %+v, %+v", got, failure, test.want, test.failure)
			}
		})
	}
}
