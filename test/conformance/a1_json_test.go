package conformance

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
)

var jsonBodies = []statement{
	{"T-6", "JSON", testJSON},
	{"T-6", "JSON_is_well_formed", testMalformedJSON},
	{"T-6", "JSON_has_strings", testJSONTypes},
	{"T-6", "content_encoding", testContentEncoding},
	{"T-4", "JSON_and_credentials_in_the_query", testJSONAndQuery},
	{"T-7", "unknown_members_are_ignored", testUnknownMembers},
	{"T-8", "empty_member_is_omitted", testEmptyMember},
	{"T-9", "repeated_member", testRepeatedMember},
	{"T-10", "members_are_case_sensitive", testCaseSensitiveMembers},
	{"T-12", "JSON_limits", testJSONLimits},
}

// jsonRequest is a good one: pairs of members beside grant_type and audience are added as they are, so that values are
// JSON themselves.
func (w *world) jsonRequest(pairs ...string) request {
	body := fmt.Sprintf(`{"grant_type":"client_credentials","audience":%q`, courses)
	for i := 0; i < len(pairs); i += 2 {
		body += fmt.Sprintf(",%q:%s", pairs[i], pairs[i+1])
	}
	return w.withJSON(body + "}")
}

// withJSON is a token request with HTTP Basic and this body.
func (w *world) withJSON(body string) request {
	r := w.tokenRequest().with("Content-Type", "application/json")
	r.body = body
	return r
}

func quote(text string) string {
	quoted, err := json.Marshal(text)
	if err != nil {
		panic(err)
	}
	return string(quoted)
}

func testJSON(t *testing.T) {
	w := newWorld(t)
	secret := quote(w.secrets[publisher])
	byBody := w.jsonRequest("client_id", quote(publisher), "client_secret", secret).bare()
	for _, contentType := range []string{
		"application/json", "application/json; charset=utf-8", `Application/JSON;charset="UTF-8"`, "application/json; profile=x",
	} {
		w.run(contentType, func(t *testing.T) {
			w.send(byBody.with("Content-Type", contentType)).wantToken(t)
			w.sendBy(t, w.http2, byBody.with("Content-Type", contentType)).wantToken(t)
		})
	}
	for _, contentType := range []string{
		"application/json; charset=utf-16", "application/json; charset=iso-8859-1", "application/jsonx", "text/json",
		"application/problem+json", "application/json, application/json", "application/json;charset",
	} {
		w.run("not "+contentType, func(t *testing.T) {
			w.send(byBody.with("Content-Type", contentType)).wantError(t, http.StatusBadRequest, "invalid_request")
		})
	}
	w.send(w.jsonRequest()).wantToken(t)
	if got := w.send(w.jsonRequest("scope", `"courses:publish"`)).wantToken(t); got["scope"] != "courses:publish" {
		t.Errorf("scope %v", got["scope"])
	}
	w.send(w.jsonRequest("resource", quote(courses))).wantToken(t)
	w.send(w.jsonRequest("resource", `[`+quote(courses)+`]`)).wantToken(t)
	w.send(w.jsonRequest("resource", `[`+quote(courses)+`,`+quote(payments)+`]`)).wantError(t, http.StatusBadRequest, "invalid_target")
	// One way to authenticate, in JSON as well (C-6), and refusals that are the same as those of forms (C-10).
	w.send(w.jsonRequest("client_id", quote(publisher), "client_secret", secret)).wantError(t, http.StatusBadRequest, "invalid_request")
	w.send(w.jsonRequest("client_id", quote(publisher)).bare()).wantError(t, http.StatusUnauthorized, "invalid_client")
	want := w.send(w.tokenRequest().with("Authorization", basic(publisher, "wrong"))).fingerprint()
	for _, id := range []string{publisher, "jobs.unknown", "", "\u00e9\x00"} {
		got := w.send(w.jsonRequest("client_id", quote(id), "client_secret", `"wrong"`).bare())
		if got.wantError(t, http.StatusUnauthorized, "invalid_client"); got.fingerprint() != want {
			t.Errorf("%q is refused by\n%s, not by\n%s", id, got.fingerprint(), want)
		}
	}
}

func testMalformedJSON(t *testing.T) {
	w := newWorld(t)
	good := w.jsonRequest().body
	for name, body := range map[string]string{
		"empty": "", "form": w.tokenRequest().body, "array": "[" + good + "]", "string": quote(good), "null": "null",
		"truncated": good[:len(good)-1], "two": good + good, "trailing": good + "x", "trailing NUL": good + "\x00",
		"comma": good[:len(good)-1] + ",}", "single quotes": strings.ReplaceAll(good, `"`, "'"), "mark": "\ufeff" + good,
		"control": strings.Replace(good, ",", `,"x":"`+"\n"+`",`, 1), "not UTF-8": strings.Replace(good, ",", `,"x":"`+"\xff"+`",`, 1),
		"half a pair": strings.Replace(good, ",", `,"x":"\ud800",`, 1), "unquoted": "{grant_type:client_credentials}",
		"comment": good + "// x", "deep": strings.Replace(good, ",", `,"x":`+strings.Repeat("[", 9)+strings.Repeat("]", 9)+",", 1),
		"very deep": `{"x":` + strings.Repeat(`{"x":`, 12000), "UTF-16": "\xfe\xff\x00{\x00}",
	} {
		w.run(name, func(t *testing.T) {
			w.send(w.withJSON(body)).wantError(t, http.StatusBadRequest, "invalid_request")
		})
	}
}

func testJSONTypes(t *testing.T) {
	w := newWorld(t)
	for _, name := range []string{"client_id", "client_secret", "scope", "resource", "client_assertion", "client_assertion_type"} {
		for _, value := range []string{"null", "1", "true", "false", `{"a":"b"}`, `[["x"]]`, `["x",1]`} {
			w.run(name+"="+value, func(t *testing.T) {
				w.send(w.jsonRequest(name, value)).wantError(t, http.StatusBadRequest, "invalid_request")
			})
		}
		if name != "resource" {
			w.send(w.jsonRequest(name, `["x"]`)).wantError(t, http.StatusBadRequest, "invalid_request")
		}
	}
}

func testContentEncoding(t *testing.T) {
	w := newWorld(t)
	for _, coding := range []string{"gzip", "deflate", "br", "zstd", "x-gzip", "identity, gzip", "GZIP"} {
		for name, r := range map[string]request{"form": w.tokenRequest(), "JSON": w.jsonRequest()} {
			w.run(name+" "+coding, func(t *testing.T) {
				w.send(r.with("Content-Encoding", coding)).wantError(t, http.StatusBadRequest, "invalid_request")
			})
		}
	}
	w.send(w.tokenRequest().with("Content-Encoding", "identity")).wantToken(t)
	for _, target := range []string{tokenPath, jwksPath, oauthPath, "/livez"} {
		r := request{method: "GET", target: target, header: http.Header{"Accept-Encoding": {"gzip, br, *"}}}
		if target == tokenPath {
			r = w.tokenRequest().with("Accept-Encoding", "gzip, br, *")
		}
		if a := w.send(r); a.status != http.StatusOK || a.header.Get("Content-Encoding") != "" {
			t.Errorf("%s: %d, Content-Encoding %q", target, a.status, a.header.Get("Content-Encoding"))
		}
	}
}

func testJSONAndQuery(t *testing.T) {
	w := newWorld(t)
	for _, query := range []string{"scope=a", "client_id=" + publisher, "client%5fsecret="} {
		r := w.jsonRequest()
		r.target += "?" + query
		w.send(r).wantError(t, http.StatusBadRequest, "invalid_request")
	}
}

func testUnknownMembers(t *testing.T) {
	w := newWorld(t)
	w.send(w.jsonRequest("organization", "null", "organization", `{"scope":[1,{"scope":true}],"x":1e999}`, "", "false", "\u00e9", `"\u0000"`)).wantToken(t)
}

func testEmptyMember(t *testing.T) {
	w := newWorld(t)
	want := "courses:publish courses:read-approved"
	got := w.send(w.jsonRequest("scope", `""`, "resource", `""`, "client_id", `""`, "client_secret", `""`, "client_assertion", `""`)).wantToken(t)
	if got["scope"] != want {
		t.Errorf("scope %v, want %q", got["scope"], want)
	}
	w.send(w.jsonRequest("resource", `[]`)).wantToken(t)
	w.send(w.jsonRequest("resource", `["",""]`)).wantToken(t)
	w.send(w.withJSON(`{"grant_type":"","audience":"`+courses+`"}`)).wantError(t, http.StatusBadRequest, "invalid_request")
	w.send(w.withJSON(`{"grant_type":"client_credentials","audience":""}`)).wantError(t, http.StatusBadRequest, "invalid_target")
	w.send(w.withJSON("{}")).wantError(t, http.StatusBadRequest, "invalid_request")
	w.send(w.withJSON("{}").bare()).wantError(t, http.StatusUnauthorized, "invalid_client")
}

func testRepeatedMember(t *testing.T) {
	w := newWorld(t)
	names := []string{"client_id", "client_secret", "scope", "resource", "client_assertion", "client_assertion_type"}
	for _, name := range names {
		for _, value := range []string{`"x"`, `""`} {
			w.run(name+"="+value, func(t *testing.T) {
				w.send(w.jsonRequest(name, value, name, value)).wantError(t, http.StatusBadRequest, "invalid_request")
			})
		}
	}
	for _, second := range []string{`"audience"`, `"\u0061udience"`, `"\u0061\u0075\u0064\u0069\u0065\u006E\u0063\u0065"`, `"grant_type"`, `"grant\u005Ftype"`} {
		w.run(second, func(t *testing.T) {
			body := strings.TrimSuffix(w.jsonRequest().body, "}") + "," + second + ":" + quote(courses) + "}"
			w.send(w.withJSON(body)).wantError(t, http.StatusBadRequest, "invalid_request")
		})
	}
	w.send(w.withJSON(strings.ReplaceAll(w.jsonRequest().body, `"audience"`, `"\u0061udience"`))).wantToken(t)
}

func testCaseSensitiveMembers(t *testing.T) {
	w := newWorld(t)
	w.send(w.jsonRequest("Scope", `"x y"`, "SCOPE", "1", "Client_Secret", `"z"`)).wantToken(t)
	w.send(w.withJSON(`{"Grant_Type":"client_credentials"}`)).wantError(t, http.StatusBadRequest, "invalid_request")
	w.send(w.withJSON(`{"grant_type":"CLIENT_CREDENTIALS"}`)).wantError(t, http.StatusBadRequest, "unsupported_grant_type")
}

func testJSONLimits(t *testing.T) {
	w := newWorld(t)
	var pairs []string
	for i := range 62 {
		pairs = append(pairs, fmt.Sprint("x", i), "0")
	}
	w.send(w.jsonRequest(pairs...)).wantToken(t)
	w.send(w.jsonRequest(append(pairs, "y", "0")...)).wantError(t, http.StatusBadRequest, "invalid_request")
	base := len(w.jsonRequest("x", `""`).body)
	w.send(w.jsonRequest("x", quote(strings.Repeat("x", 64<<10-base)))).wantToken(t)
	large := w.jsonRequest("x", quote(strings.Repeat("x", 64<<10-base+1)))
	w.send(large).wantError(t, http.StatusBadRequest, "invalid_request")
	w.sendBy(t, w.http2, large).wantError(t, http.StatusBadRequest, "invalid_request")
}
