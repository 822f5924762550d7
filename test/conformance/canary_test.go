package conformance

import (
	"net/http"
	"os"
	"testing"

	"github.com/m2m-operator/m2m-operator/test/canary"
)

// canaries knows what all tests here sent and got, and what servers logged and refused.
var canaries = canary.NewRun()

func TestMain(m *testing.M) { os.Exit(canaries.Verdict(os.Stderr, m.Run())) }

// TestHostileRequestsLeaveNoTrace sends requests with something in every place where it does not belong, and looks for it
// in both logs and in all answers.
func TestHostileRequestsLeaveNoTrace(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	run := canary.NewRun()
	caller := canary.Caller{ClientID: publisher, Secret: w.secrets[publisher], Audience: courses}
	sent := 0
	for _, client := range []*http.Client{w.http1, w.http2} {
		for _, path := range []string{tokenPath, introspectionPath, jwksPath, oauthPath} {
			requests := run.HostileRequests("https://"+w.address+path, caller)
			sent += len(requests)
			if err := run.Send(client, requests); err != nil {
				t.Fatal(err)
			}
		}
	}
	run.Saw("the log", w.log.String())
	run.Saw("the audit log", w.audit.String())
	for _, leak := range run.Leaks() {
		t.Error(leak)
	}
	if canaries, evidence := run.Size(); sent < 500 || canaries < 200 || evidence < 100<<10 {
		t.Errorf("sent %d requests, with %d canaries, and looked at %d bytes", sent, canaries, evidence)
	}
	w.send(w.tokenRequest()).wantToken(t)
}
