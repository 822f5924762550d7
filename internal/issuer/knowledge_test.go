package issuer

import (
	"net/http"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/internal/access"
)

func TestStaleness(t *testing.T) {
	now := time.Now()
	wall := now.Round(0)
	started := now.Add(-time.Hour)
	for name, test := range map[string]struct {
		heard map[string]time.Time
		want  time.Duration
	}{
		"nothing is told":              {nil, time.Hour},
		"never heard":                  {map[string]time.Time{"Secret": {}, "M2MClient": now}, time.Hour},
		"the oldest counts":            {map[string]time.Time{"Secret": now.Add(-time.Second), "M2MClient": now.Add(-time.Minute)}, time.Minute},
		"heard now":                    {map[string]time.Time{"Secret": now}, 0},
		"heard before this process":    {map[string]time.Time{"Secret": wall.Add(-5 * time.Hour)}, 5 * time.Hour},
		"the clock was set back since": {map[string]time.Time{"Secret": wall.Add(2 * time.Hour)}, 2 * time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer(0).state
			s.SetWatchHeard(func() map[string]time.Time { return test.heard })
			if got := s.staleness(now, started); got.Round(time.Millisecond) != test.want {
				t.Errorf("%s, want %s", got, test.want)
			}
		})
	}
}

// TestBeyondTheBound: tokens and introspection are refused, uniformly and before anything of the request is looked at,
// and nothing else is.
func TestBeyondTheBound(t *testing.T) {
	s, audit := newAudited(t)
	heard := time.Now().Add(-2 * time.Minute)
	s.state.SetWatchHeard(func() map[string]time.Time { return map[string]time.Time{"Secret": heard, "M2MClient": time.Now()} })
	bound := func(d time.Duration) {
		issuer := &v1alpha1.TokenIssuer{ObjectMeta: metav1.ObjectMeta{Name: "default"}}
		if d > 0 {
			issuer.Spec.MaxStaleness = &metav1.Duration{Duration: d}
		}
		s.state.index.Upsert(issuer)
	}
	token := func() int {
		return post(s, "jobs.publisher", auditSecret, "grant_type", "client_credentials", "audience", auditAudience).Code
	}
	for _, within := range []time.Duration{0, time.Hour, 3 * time.Minute} {
		if bound(within); token() != http.StatusOK {
			t.Errorf("refused with a bound of %s", within)
		}
	}
	bound(119 * time.Second)
	audit.take(t)
	for name, answer := range map[string]int{
		"a good request":     token(),
		"a wrong secret":     post(s, "jobs.publisher", "wrong", "grant_type", "client_credentials").Code,
		"a malformed one":    post(s, "", "", "scope", "x").Code,
		"JWKS":               ask(s.servePublic, "GET", "/oauth2/jwks").Code - http.StatusOK + http.StatusServiceUnavailable,
		"metadata":           ask(s.servePublic, "GET", pathMetadata).Code - http.StatusOK + http.StatusServiceUnavailable,
		"readiness":          ask(s.servePublic, "GET", "/readyz").Code - http.StatusOK + http.StatusServiceUnavailable,
		"introspection":      ask(s.servePublic, "POST", "/oauth2/introspect").Code,
		"verbose, and ready": ask(s.serveOps, "GET", "/readyz?verbose").Code - http.StatusOK + http.StatusServiceUnavailable,
	} {
		if answer != http.StatusServiceUnavailable {
			t.Errorf("%s is answered otherwise", name)
		}
	}
	for _, line := range audit.take(t) {
		if line["reason"] != reasonTooStale || line["outcome"] != codeUnavailable {
			t.Errorf("the line is %v", line)
		}
	}
	w := ask(s.servePublic, "POST", "/oauth2/token")
	want := `{"error":"temporarily_unavailable","error_description":"the server has not heard of changes for too long, try again later"}` + "\n"
	if w.Body.String() != want || w.Header().Get("Retry-After") != "10" || w.Header().Get("Cache-Control") != "no-store" {
		t.Errorf("%v %s", w.Header(), w.Body)
	}
	if text := ask(s.serveOps, "GET", "/readyz?verbose").Body.String(); !strings.Contains(text, "[-]issuing failed: what is known is older than spec.maxStaleness\n") {
		t.Errorf("verbose says %s", text)
	}
	heard = time.Now()
	if token() != http.StatusOK {
		t.Error("refused although the API server was heard again")
	}
}

func TestVerbose(t *testing.T) {
	s, _ := newAudited(t)
	verbose := func() string {
		w := ask(s.serveOps, "GET", "/readyz?verbose")
		text := w.Body.String()
		if passed := strings.HasSuffix(text, "\nreadyz check passed\n"); passed != (w.Code == http.StatusOK) {
			t.Errorf("%d %s", w.Code, text)
		}
		return text
	}
	expect := func(want ...string) {
		t.Helper()
		text := verbose()
		for _, line := range want {
			if !strings.Contains(text, line+"\n") {
				t.Errorf("it does not say %q:\n%s", line, text)
			}
		}
	}
	all := []string{"[+]synced ok", "[+]token-issuer ok", "[+]signing-key ok", "[+]pepper ok", "[+]certificate ok", "[+]shutdown ok"}
	expect(append(all, "[+]source ok: the API server", "[+]snapshot ok: none is written")...)

	k := Knowledge{Unlisted: []string{"Secret", "M2MClient"}, SnapshotBytes: 5}
	s.state.SetKnowledge(func() Knowledge { return k })
	expect("[+]source ok: waiting for the API server to list Secret, M2MClient", "[+]snapshot ok: 5 bytes are written")
	k.Restored = time.Date(2026, 11, 1, 2, 3, 4, 0, time.UTC)
	expect("[+]source ok: serving from a snapshot of 2026-11-01T02:03:04Z; not yet listed by the API server: Secret, M2MClient")
	k.Unlisted = nil
	k.OlderLists = map[string]OlderLists{"Secret": {}, "M2MClient": {Count: 1, At: k.Restored, Listed: "5", Seen: "9"}}
	expect("[+]source ok: the API server", "[+]lists ok: M2MClient was listed at resourceVersion 5 at 2026-11-01T02:03:04Z, "+
		"which is older than 9 that was known; the API server was restored or lags behind")
	if strings.Contains(verbose(), "Secret was listed") {
		t.Error("a list that was not older is reported")
	}

	s.state.index.Delete(access.Ref{Kind: access.KindTokenIssuer, Name: "default"})
	expect(`[-]token-issuer failed: there is no TokenIssuer "default"`, "readyz check failed")
	s.draining.Store(true)
	expect("[-]shutdown failed: shutting down", "readyz check failed")
	if w := ask(s.serveOps, "POST", "/readyz?verbose"); w.Code != http.StatusMethodNotAllowed {
		t.Errorf("POST is answered %d", w.Code)
	}
	if text := ask(s.servePublic, "GET", "/readyz?verbose").Body.String(); text != "shutting down\n" {
		t.Errorf("strangers are told %q", text)
	}
}

func TestServingFromSnapshotIsCounted(t *testing.T) {
	s, _ := newAudited(t)
	k := Knowledge{
		Restored: time.Now(), Unlisted: []string{"Secret"}, SnapshotBytes: 7, SnapshotFailures: 2,
		OlderLists: map[string]OlderLists{"Secret": {}, "M2MClient": {Count: 3}},
	}
	s.state.SetKnowledge(func() Knowledge { return k })
	expect := func(want ...string) {
		t.Helper()
		text := strings.Join(scrape(s), "\n") + "\n"
		for _, line := range want {
			if !strings.Contains(text, line+"\n") {
				t.Errorf("there is no %s", line)
			}
		}
	}
	expect("m2m_issuer_serving_from_snapshot 1", "m2m_issuer_snapshot_bytes 7", "m2m_issuer_snapshot_failures_total 2",
		`m2m_issuer_older_lists_total{kind="M2MClient"} 3`, `m2m_issuer_older_lists_total{kind="Secret"} 0`, "m2m_issuer_too_stale 0")
	k.Unlisted = nil
	expect("m2m_issuer_serving_from_snapshot 0")
	k.Restored, k.Unlisted = time.Time{}, []string{"Secret"}
	expect("m2m_issuer_serving_from_snapshot 0")
}
