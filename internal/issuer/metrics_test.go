package issuer

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/internal/access"
	"github.com/m2m-operator/m2m-operator/internal/keyring"
)

// scrape returns the lines of samples.
func scrape(s *Server) []string {
	w := ask(s.serveOps, "GET", "/metrics")
	return slices.DeleteFunc(strings.Split(w.Body.String(), "\n"), func(line string) bool {
		return line == "" || strings.HasPrefix(line, "#")
	})
}

// series names the samples of the product's own metrics.
func series(s *Server) []string {
	var names []string
	for _, line := range scrape(s) {
		if strings.HasPrefix(line, "m2m_") {
			names = append(names, line[:strings.LastIndexByte(line, ' ')])
		}
	}
	return names
}

func TestMetrics(t *testing.T) {
	s, _ := newAudited(t)
	post(s, "", "")
	post(s, "jobs.publisher", auditSecret, "grant_type", "client_credentials", "audience", auditAudience)
	post(s, "jobs.publisher", auditSecret, "grant_type", "client_credentials", "audience", auditAudience, "scope", "write")
	post(s, "jobs.publisher", auditSecret, "grant_type", "client_credentials", "audience", "https://else.example.com")
	ask(s.servePublic, "GET", "/oauth2/token")
	ask(s.servePublic, "GET", "/oauth2/introspect")
	ask(s.servePublic, "GET", "/never-heard-of")
	lines := scrape(s)
	for _, line := range []string{
		`m2m_issuer_token_requests_total{api="",result="invalid_client"} 1`,
		`m2m_issuer_token_requests_total{api="",result="invalid_request"} 1`,
		`m2m_issuer_token_requests_total{api="",result="invalid_target"} 1`,
		`m2m_issuer_token_requests_total{api="",result="throttled"} 0`,
		`m2m_issuer_token_requests_total{api="courses/course-api",result="issued"} 1`,
		`m2m_issuer_token_requests_total{api="courses/course-api",result="invalid_scope"} 1`,
		`m2m_issuer_failures_total{error="invalid_client",reason="NoCredentials"} 1`,
		`m2m_issuer_failures_total{error="invalid_request",reason="WrongMethod"} 2`,
		`m2m_issuer_failures_total{error="invalid_scope",reason="NotGranted"} 1`,
		`m2m_issuer_failures_total{error="invalid_target",reason="ApiResourceNotFound"} 1`,
		`m2m_issuer_failures_total{error="throttled",reason="WrongSecret"} 0`,
		`m2m_issuer_introspections_total{result="invalid_request"} 1`,
		`m2m_issuer_introspections_total{result="active"} 0`,
		`m2m_issuer_request_duration_seconds_count{endpoint="token"} 5`,
		`m2m_issuer_request_duration_seconds_count{endpoint="unknown"} 1`,
		`m2m_issuer_audit_log_failures_total 0`,
		`m2m_issuer_synced 1`,
	} {
		if !slices.Contains(lines, line) {
			t.Errorf("there is no %s", line)
		}
	}
	all := strings.Join(lines, "\n")
	for _, name := range []string{"go_goroutines", "process_cpu_seconds_total", "m2m_issuer_watch_staleness_seconds"} {
		if !strings.Contains(all, "\n"+name) {
			t.Errorf("there is no %s", name)
		}
	}
	if strings.Contains(all, "never-heard-of") || strings.Contains(all, "jobs") || strings.Contains(all, "expiry_timestamp_seconds 0\n") {
		t.Error("a label comes from a request, or names a client, or the certificate's end is not told")
	}
	if problems, err := testutil.GatherAndLint(s.metrics.registry); err != nil || len(problems) > 0 {
		t.Errorf("%v, %v", problems, err)
	}
	if w := ask(s.servePublic, "GET", "/metrics"); w.Code != http.StatusNotFound {
		t.Errorf("metrics on the public port: %d", w.Code)
	}
}

// TestNoRequestMakesASeries sends 10,000 requests with every field chosen by an attacker, who has the credentials of one
// client besides.
func TestNoRequestMakesASeries(t *testing.T) {
	s, audit := newAudited(t)
	post(s, "jobs.publisher", auditSecret, "grant_type", "client_credentials", "audience", auditAudience)
	post(s, "jobs.publisher", auditSecret, "grant_type", "client_credentials", "audience", auditAudience, "scope", "write")
	audit.take(t)
	before := series(s)
	for i := range 10_000 {
		mine := fmt.Sprintf("attacker-%d", i)
		client, secret := mine, mine
		if i%4 == 0 {
			client, secret = "jobs.publisher", auditSecret
		}
		form := [][]string{
			{"grant_type", mine, "audience", mine},
			{"grant_type", "client_credentials", "audience", mine, "scope", mine},
			{"grant_type", "client_credentials", "audience", auditAudience, "scope", mine},
			{"grant_type", "client_credentials", "resource", "https://" + mine, mine, mine},
		}[i/4%4]
		switch i % 8 {
		case 5:
			ask(s.servePublic, "GET", "/"+mine)
		case 7:
			r := httptest.NewRequest("POST", "/oauth2/token?"+mine, strings.NewReader("%"))
			r.Method = "M" + strconv.Itoa(i)
			r.Header.Set("Authorization", mine+" "+mine)
			s.servePublic(httptest.NewRecorder(), r)
		default:
			post(s, client, secret, form...)
		}
	}
	outcomes := map[any]bool{}
	for _, line := range audit.take(t) {
		outcomes[line["outcome"]] = true
	}
	if len(outcomes) < 5 {
		t.Errorf("the requests were all alike: %v", outcomes)
	}
	if after := series(s); !slices.Equal(before, after) {
		t.Errorf("there were %d series, and are %d", len(before), len(after))
	}
}

func TestSeriesGoWithTheirObjects(t *testing.T) {
	s, _ := newAudited(t)
	post(s, "jobs.publisher", auditSecret, "grant_type", "client_credentials", "audience", auditAudience)
	holds := func(part string) bool { return strings.Contains(strings.Join(series(s), "\n"), part) }
	s.state.index.SetNamespaceTerminating("courses", true)
	if holds("course-api") {
		t.Error("an ApiResource of a terminating namespace is still counted")
	}
	s.state.index.SetNamespaceTerminating("courses", false)
	post(s, "jobs.publisher", auditSecret, "grant_type", "client_credentials", "audience", auditAudience)
	if !holds(`api="courses/course-api"`) {
		t.Error("the ApiResource is not counted")
	}
	s.state.index.Delete(access.Ref{Kind: access.KindApiResource, Namespace: "courses", Name: "course-api"})
	if holds("course-api") {
		t.Error("a deleted ApiResource is still counted")
	}

	first, _ := s.state.signingKey(v1alpha1.ES256)
	if !holds(fmt.Sprintf(`{algorithm="ES256",kid="%s",state="Active"}`, first.KeyID)) {
		t.Errorf("the key is not told of: %v", series(s))
	}
	second, err := keyring.Generate(v1alpha1.ES256)
	if err != nil {
		t.Fatal(err)
	}
	since := time.Unix(1_700_000_000, 0)
	set, err := keyring.NewKeySet(keyring.Ring{}.Fill(keyring.Slot{Algorithm: v1alpha1.ES256, Generation: 2}, second, since), nil)
	if err != nil {
		t.Fatal(err)
	}
	s.state.SetKeys(set)
	if holds(first.KeyID) {
		t.Error("a key that is gone is still told of")
	}
	want := fmt.Sprintf(`m2m_issuer_signing_key_since_timestamp_seconds{algorithm="ES256",kid="%s",state="Active"} 1.7e+09`, second.KeyID)
	if !slices.Contains(scrape(s), want) {
		t.Errorf("there is no %s", want)
	}
}

func TestStalenessOfTheWatch(t *testing.T) {
	s, _ := newAudited(t)
	start := time.Now()
	now := start
	s.metrics = newMetrics(s.state, func() time.Time { return now })
	s.metricsHandler = s.metrics.handler()
	expect := func(want ...string) {
		t.Helper()
		lines := scrape(s)
		for _, line := range want {
			if !slices.Contains(lines, line) {
				t.Errorf("there is no %s", line)
			}
		}
	}
	now = start.Add(3 * time.Second)
	expect("m2m_issuer_watch_staleness_seconds 3") // nothing was ever heard
	heard := map[string]time.Time{"Secret": {}, "ApiResource": start.Add(2 * time.Second)}
	s.state.SetWatchHeard(func() map[string]time.Time { return heard })
	expect("m2m_issuer_watch_staleness_seconds 3", `m2m_issuer_watch_heard_timestamp_seconds{kind="Secret"} 0`)
	heard["Secret"] = start.Add(time.Second)
	expect("m2m_issuer_watch_staleness_seconds 2")
	now = start.Add(100 * time.Second)
	expect("m2m_issuer_watch_staleness_seconds 99")
	heard["Secret"], heard["ApiResource"] = now, now
	expect("m2m_issuer_watch_staleness_seconds 0")
}

// TestEveryReasonIsCounted holds the constants of the packages that refuse against what the metric lists: a new reason
// must be put there, or it would be counted as another.
func TestEveryReasonIsCounted(t *testing.T) {
	listed := map[string]bool{}
	for _, reasons := range failures {
		for _, reason := range reasons {
			listed[reason] = true
		}
	}
	// These refuse no request: they are of tokens that are not active, or say that a scope is granted.
	for _, reason := range []string{
		reasonOlderThanClient, reasonRevoked, reasonNotTheOwner, access.ReasonGranted, access.ReasonPartiallyGranted,
	} {
		if listed[reason] {
			t.Errorf("%s is listed in vain", reason)
		}
		listed[reason] = true
	}
	listed[reasonOther] = true
	for _, directory := range []string{".", "../clientauth", "../access"} {
		found := reasonsIn(t, directory)
		if len(found) < 5 {
			t.Fatalf("%s has the reasons %q, which cannot be all", directory, found)
		}
		for _, reason := range found {
			if !listed[reason] {
				t.Errorf("%s: %s is not counted: put it into failures", directory, reason)
			}
		}
	}
	for code, reasons := range failures {
		if slices.Contains(reasons, "") || len(slices.Compact(slices.Sorted(slices.Values(reasons)))) != len(reasons) {
			t.Errorf("%s lists a reason twice, or none", code)
		}
	}
}

// reasonsIn returns the values of the constants of a package that are called reasons.
func reasonsIn(t *testing.T, directory string) []string {
	t.Helper()
	name, word := regexp.MustCompile(`^[rR]eason[A-Z]`), regexp.MustCompile(`^"[A-Za-z0-9]+"$`)
	var reasons []string
	for _, file := range sources(t, directory) {
		ast.Inspect(file, func(n ast.Node) bool {
			spec, ok := n.(*ast.ValueSpec)
			if !ok || len(spec.Values) != 1 || !name.MatchString(spec.Names[0].Name) {
				return true
			}
			if value, ok := spec.Values[0].(*ast.BasicLit); ok {
				if !word.MatchString(value.Value) {
					t.Errorf("%s is %s, which is no fixed word", spec.Names[0].Name, value.Value)
				}
				reasons = append(reasons, strings.Trim(value.Value, `"`))
			}
			return true
		})
	}
	return reasons
}

// sources are the parsed files of a package, but for its tests.
func sources(t *testing.T, directory string) []*ast.File {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(directory, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	var files []*ast.File
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, file)
	}
	return files
}

// TestEveryErrorHasAReason: what refuses must be told apart by operators.
func TestEveryErrorHasAReason(t *testing.T) {
	seen := 0
	for _, file := range sources(t, ".") {
		ast.Inspect(file, func(n ast.Node) bool {
			literal, ok := n.(*ast.CompositeLit)
			if !ok || fmt.Sprint(literal.Type) != "oauthError" {
				return true
			}
			seen++
			fields := map[string]string{}
			for _, element := range literal.Elts {
				pair := element.(*ast.KeyValueExpr)
				fields[fmt.Sprint(pair.Key)] = fmt.Sprint(pair.Value)
			}
			if fields["reason"] == "" && fields["code"] != "codeNotFound" {
				t.Errorf("an error has no reason: %v", fields)
			}
			return true
		})
	}
	if seen < 5 {
		t.Errorf("found %d errors, which cannot be all", seen)
	}
}
