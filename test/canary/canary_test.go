package canary

import (
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

const (
	secret = "dGhpcyBpcyBhIHNlY3JldCB0aGF0IGlzIGxvbmc"
	jwt    = "eyJhbGciOiJFUzI1NiIsInR5cCI6ImF0K2p3dCJ9.eyJpc3MiOiJodHRwczovL3Rva2VucyJ9.c2lnbmF0dXJlLW9mLXRoZS10b2tlbg"
)

func TestLeaks(t *testing.T) {
	parts := strings.Split(jwt, ".")
	pepper := []byte{0, 1, 2, 3, 250, 251, 252, 253, 254, 255, 62, 63, 64, 65, 66, 67, 68}
	for name, test := range map[string]struct {
		text string
		what string
	}{
		"nothing":              {text: "a harmless line"},
		"part of a secret":     {text: secret[:len(secret)-1]},
		"secret":               {text: "a line\nclient_secret=" + secret + "&x", what: "a secret"},
		"secret at the end":    {text: "a line\n" + secret, what: "a secret"},
		"secret twice":         {text: "a line\n" + secret + secret, what: "a secret"},
		"secret after a start": {text: "a line\n" + secret[:20] + secret, what: "a secret"},
		"token":                {text: "a line\n" + jwt, what: "a token"},
		"token's header":       {text: "a line\n" + parts[0], what: "a token"},
		"token's payload":      {text: "a line\n" + parts[1], what: "a token"},
		"token's signature":    {text: "a line\n" + parts[2], what: "a token"},
		"bytes":                {text: "a line\n" + string(pepper), what: "a pepper"},
		"bytes in hex":         {text: "a line\n" + fmt.Sprintf("%x", pepper), what: "a pepper"},
		"bytes in base64":      {text: "a line\n" + base64.StdEncoding.EncodeToString(pepper), what: "a pepper"},
		"bytes in base64url":   {text: "a line\n" + base64.URLEncoding.EncodeToString(pepper), what: "a pepper"},
	} {
		t.Run(name, func(t *testing.T) {
			run := NewRun()
			run.Secret("a secret", secret)
			run.Secret("a token", jwt)
			run.Secret("nothing worth the name", "short")
			run.Bytes("a pepper", pepper)
			run.Saw("elsewhere", "short")
			fmt.Fprint(run.Writer("the log"), test.text)
			leaks := run.Leaks()
			if test.what == "" {
				if len(leaks) > 0 {
					t.Errorf("found %q", leaks)
				}
				return
			}
			if len(leaks) != 1 || !strings.HasPrefix(leaks[0], "the log:2: "+test.what+" is in ") {
				t.Fatalf("found %q", leaks)
			}
			for _, value := range append(parts, secret, string(pepper)) {
				if strings.Contains(leaks[0], value) {
					t.Error("it says the secret")
				}
			}
		})
	}
}

func TestHostile(t *testing.T) {
	run := NewRun()
	first, second := run.Hostile("a scope"), run.Hostile("a scope")
	run.Saw("errors", "nothing")
	if first == second || len(run.Leaks()) > 0 {
		t.Errorf("%q, %q, %q", first, second, run.Leaks())
	}
	run.Saw("errors", second)
	if leaks := run.Leaks(); len(leaks) != 1 || !strings.HasPrefix(leaks[0], "errors:2: what a test sent as a scope is in") {
		t.Errorf("found %q", leaks)
	}
	if canaries, evidence := run.Size(); canaries != 2 || evidence != len("nothing\n")+len(second)+1 {
		t.Errorf("%d canaries, %d bytes", canaries, evidence)
	}
}

func TestVerdict(t *testing.T) {
	run := NewRun()
	run.Secret("a secret", secret)
	run.Saw("the log", "a harmless line")
	var out strings.Builder
	if run.Verdict(&out, 0) != 0 || run.Verdict(&out, 2) != 2 || out.Len() > 0 {
		t.Errorf("a run without a leak fails: %s", out.String())
	}
	run.Saw("the log", secret)
	if run.Verdict(&out, 0) != 1 || !strings.Contains(out.String(), "the log:2: a secret") || strings.Contains(out.String(), secret) {
		t.Errorf("a run with a leak passes, or is told in the wrong words: %s", out.String())
	}
}

// TestSentAndGot: the secrets of requests and answers are recognized, however they are sent.
func TestSentAndGot(t *testing.T) {
	sent := func(r *Run, body string, authorization ...string) {
		request := httptest.NewRequest(http.MethodPost, "/", nil)
		request.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(body)), nil }
		request.Header["Authorization"] = authorization
		r.Sent(request)
	}
	for name, take := range map[string]func(*Run){
		"form": func(r *Run) { sent(r, "client_secret="+secret+"&x=%zz") },
		"JSON": func(r *Run) { sent(r, `{"client_secret":"`+secret+`"}`) },
		"Basic": func(r *Run) {
			sent(r, "", "Basic "+base64.StdEncoding.EncodeToString([]byte("x:"+secret)))
		},
		"Bearer":       func(r *Run) { sent(r, "", "Bearer "+secret) },
		"assertion":    func(r *Run) { sent(r, "client_assertion=x."+secret+".y") },
		"token":        func(r *Run) { sent(r, "token="+secret) },
		"access token": func(r *Run) { r.Got("answers", http.StatusOK, nil, `{"access_token":"x.`+secret+`.y"}`) },
	} {
		run := NewRun()
		take(run)
		run.Saw("the log", secret)
		if len(run.Leaks()) != 1 {
			t.Errorf("%s: found %q", name, run.Leaks())
		}
	}
	run := NewRun()
	run.Secret("a secret", secret)
	run.Got("answers", http.StatusOK, nil, secret)
	run.Got("answers", http.StatusBadRequest, nil, secret)
	run.Got("answers", http.StatusUnauthorized, http.Header{"X": {secret}}, "")
	if leaks := run.Leaks(); len(leaks) != 2 {
		t.Errorf("found %q", leaks)
	}
}

// TestHostileRequestsAreFound: a server that repeats what it is sent is found out, whatever it repeats.
func TestHostileRequestsAreFound(t *testing.T) {
	run := NewRun()
	echo := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		run.Saw("the log", fmt.Sprintf("%s %s %s %q %q", r.Method, r.URL, r.Host, r.Header, body))
	}))
	defer echo.Close()
	requests := run.HostileRequests(echo.URL+"/oauth2/token", Caller{"jobs.publisher", secret, "https://courses.example.com"})
	if err := run.Send(echo.Client(), requests); err != nil {
		t.Fatal(err)
	}
	_, size := run.Size()
	if leaks := run.Leaks(); len(leaks) < len(requests)-2*4 || len(requests) < 80 || size == 0 {
		t.Errorf("%d requests, found %d", len(requests), len(leaks))
	}
}
