package issuer

import (
	"encoding/base64"
	"encoding/json"
	"net/url"
	"strings"
	"testing"

	"github.com/m2m-operator/m2m-operator/internal/token"
)

const (
	formHeader = "Content-Type: application/x-www-form-urlencoded\n"
	jsonHeader = "Content-Type: application/json\n"
)

func basicHeader(id, secret string) string {
	return "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(id+":"+secret)) + "\n"
}

// addHostile adds requests that no endpoint takes, around the parameters of one that it does.
func addHostile(f *testing.F, id, secret, form string) {
	f.Helper()
	good := basicHeader(id, secret)
	for _, header := range []string{
		good, formHeader, formHeader + good + good, formHeader + "Authorization: Bearer eyJhbGciOiJub25lIn0.e30.\n", formHeader + "Authorization: Basic =\n",
		formHeader + basicHeader(id, "wrong"), formHeader + basicHeader("jobs.nobody", secret), formHeader + basicHeader(id, ""), formHeader + formHeader + good,
		"Content-Type: text/plain\n" + good, "Content-Type: multipart/form-data; boundary=x\n" + good, jsonHeader + good, "Content-Type: application/json5\n" + good,
		"Content-Type: application/x-www-form-urlencoded; charset=utf-16\n" + good, "Content-Type: application/x-www-form-urlencoded; charset=\n" + good,
		formHeader + good + "Content-Encoding: gzip\n", formHeader + good + "X-Large: " + strings.Repeat("x", maxHeader) + "\n",
		formHeader + good + "Host: evil.example.com\nX-Forwarded-Host: evil.example.com\nX-Forwarded-For: 198.51.100.1, x\nForwarded: for=_x\n",
		formHeader + good + "X-HTTP-Method-Override: GET\nX-Request-Id: \r\x00\xff\n: \n",
	} {
		f.Add("POST", "", header, form)
	}
	for _, body := range []string{
		"", "&&", form + "&" + form, form + "&client_secret=" + secret, form + "&client_id=jobs.other", form + "&client_assertion=e30.e30.c2ln", form + ";x=1", form + "&x=%",
		form + "&scope=%00", form + "&scope=a++b", form + "&scope=%22%5C", strings.Repeat("a&", maxParameters) + form, "\x1f\x8b\x08",
	} {
		f.Add("POST", "", formHeader+basicHeader(id, secret), body)
	}
	for _, body := range []string{`{"client_id":null}`, `{"client_id":"a","client_id":"b"}`, "[]", `{"x":[[[[[[[[[]]]]]]]]]}`, "{\"client_secret\":\"\xff\"}", `{"client_id":"\ud800"}`} {
		f.Add("POST", "", jsonHeader, body)
	}
	for _, method := range []string{"GET", "HEAD", "PUT", "OPTIONS", "TRACE", "post", ""} {
		f.Add(method, "", formHeader+basicHeader(id, secret), form)
	}
	for _, query := range []string{"x=1", form, "client_secret=" + secret, "%", "a;b"} {
		f.Add("POST", query, formHeader+basicHeader(id, secret), form)
	}
}

// FuzzTokenEndpoint: whatever is sent, a token is handed out to whom it is granted alone, and all else is an OAuth error.
func FuzzTokenEndpoint(f *testing.F) {
	s := newFuzzed(f)
	const form = "grant_type=client_credentials&audience=https%3A%2F%2Fcourses.example.com"
	credentials := "&client_id=" + fuzzedClient + "&client_secret=" + auditSecret
	byAssertion := "&client_assertion_type=" + url.QueryEscape(jwtBearer) + "&client_assertion="
	good := basicHeader(fuzzedClient, auditSecret) + formHeader
	f.Add("POST", "", good, form)
	addHostile(f, fuzzedClient, auditSecret, form)
	for _, body := range []string{
		form + credentials, form + credentials + "&scope=read", form + credentials + "&scope=read+write+else", form + credentials + "&scope=write+" + auditSecret,
		form + credentials + "&resource=https%3A%2F%2Fcourses.example.com", form + credentials + "&resource=https://else.example.com&resource=a",
		strings.Replace(form, "client_credentials", "password", 1) + credentials, strings.Replace(form, "courses", "nothing", 1) + credentials,
		form + byAssertion + s.assertion, form + byAssertion + s.assertion + "&client_id=jobs.signer", form + byAssertion + s.assertion + "&client_id=" + fuzzedClient,
		form + byAssertion + s.assertion[:len(s.assertion)-4], form + byAssertion + s.token, form + byAssertion + strings.Repeat("A", 17<<10),
	} {
		f.Add("POST", "", formHeader, body)
	}
	object := `{"audience":"https://courses.example.com","grant_type":"client_credentials","client_id":"jobs.publisher","client_secret":"` + auditSecret + `"`
	for _, body := range []string{object + "}", object + `,"scope":"read"}`, object + `,"scope":["read"]}`, object + `,"resource":["https://courses.example.com"],"x":{"y":[1]}}`, object} {
		f.Add("POST", "", jsonHeader, body)
	}
	f.Fuzz(func(t *testing.T, method, query, header, body string) {
		r := request(method, "/oauth2/token", query, header, body)
		issued := s.send(t, r)
		if issued == nil {
			if method == "POST" && query == "" && header == good && body == form {
				t.Error("a good request is refused")
			}
			return
		}
		var answer tokenAnswer
		if err := json.Unmarshal(issued, &answer); err != nil {
			t.Fatal(err)
		}
		sent := parameters(r, body)
		v, reason := token.Verify(answer.AccessToken, fuzzedURL, s.state.publicKey, fuzzedNow)
		if reason != "" || v.Audience != auditAudience || len(v.Scopes) != 1 || v.Scopes[0] != "read" || answer.Scope != "read" {
			t.Errorf("issued is %+v, %s, as %q", v, reason, answer.Scope)
		}
		if prover := s.prover(r, sent); method != "POST" || sent.Get("grant_type") != grantClientCredentials || prover == "" || prover != v.ClientID {
			t.Errorf("%s of %v by %q gets a token for %s", method, sent, prover, v.ClientID)
		}
	})
}

// FuzzIntrospectionEndpoint: whatever is sent, only to who owns the API is anything said of a token, and of none but the
// one that there is.
func FuzzIntrospectionEndpoint(f *testing.F) {
	s := newFuzzed(f)
	credentials := "&client_id=" + fuzzedOwner + "&client_secret=" + ownerSecret
	header, payload, _ := strings.Cut(s.token, ".")
	good := basicHeader(fuzzedOwner, ownerSecret) + formHeader
	f.Add("POST", "", good, "token="+s.token)
	addHostile(f, fuzzedOwner, ownerSecret, "token="+s.token)
	for _, body := range []string{
		"token=" + s.token + credentials, "token=" + s.token + credentials + "&token_type_hint=refresh_token", "token=" + s.token + "%0A" + credentials,
		"token=" + s.token + "&client_id=" + fuzzedClient + "&client_secret=" + auditSecret, "token=" + s.assertion + credentials, "token=" + credentials, credentials,
		"token=" + s.token[:len(s.token)-1] + credentials, "token=" + header + "." + payload + "." + credentials, "token=..&scope" + credentials, "Token=" + s.token + credentials,
		"token=eyJhbGciOiJub25lIn0.e30." + credentials, "token=" + strings.Repeat("A", 17<<10) + credentials, "token=" + s.token + "&client_assertion=" + s.assertion,
	} {
		f.Add("POST", "", formHeader, body)
	}
	f.Add("POST", "", jsonHeader, `{"token":"`+s.token+`","client_id":"courses.course-api","client_secret":"`+ownerSecret+`"}`)
	f.Add("POST", "", jsonHeader, `{"token":["`+s.token+`"],"client_id":"courses.course-api","client_secret":"`+ownerSecret+`"}`)
	f.Fuzz(func(t *testing.T, method, query, header, body string) {
		r := request(method, "/oauth2/introspect", query, header, body)
		told := s.send(t, r)
		if told == nil {
			if method == "POST" && query == "" && header == good && body == "token="+s.token {
				t.Error("a good request is refused")
			}
			return
		}
		sent := parameters(r, body)
		prover := s.prover(r, sent)
		if method != "POST" || prover == "" || sent.Get("token") == "" {
			t.Errorf("%s of %v by %q is told %s", method, sent, prover, told)
		}
		var answer struct {
			Active   bool
			ClientID string `json:"client_id"`
			Scope    string
		}
		if err := json.Unmarshal(told, &answer); err != nil {
			t.Fatal(err)
		}
		active := prover == fuzzedOwner && sent.Get("token") == s.token
		if answer.Active != active || (!active && string(told) != `{"active":false}`+"\n") || (active && (answer.ClientID != fuzzedClient || answer.Scope != "read")) {
			t.Errorf("%q is told %s", prover, told)
		}
	})
}
