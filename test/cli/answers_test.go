package cli

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/internal/review"
)

// TestAnswers: what is said of a cluster, with all rights and with those of tenants.
func TestAnswers(t *testing.T) {
	settled(t)
	for name, c := range map[string]struct{ user, line string }{
		"explain":                 {"admin", "explain jobs.publisher"},
		"explain-api":             {"admin", "explain publisher courses/course-api -n jobs"},
		"explain-role":            {"admin", "explain cart.cart-service"},
		"explain-fleet":           {"admin", "explain car-park-sensors.sensor-a1"},
		"explain-tenant":          {"job-team", "explain jobs.publisher"},
		"explain-tenant-json":     {"job-team", "explain publisher -n jobs -o json"},
		"explain-not-visible":     {"job-team", "explain cart.cart-service"},
		"explain-tenant-api":      {"job-team", "explain publisher courses/course-api -n jobs"},
		"explain-tenant-audience": {"job-team", "explain publisher " + courses + " -n jobs"},
		"explain-tenant-other":    {"job-team", "explain publisher payment/payment-service -n jobs"},
		"explain-tenant-unknown":  {"job-team", "explain publisher https://nobody.example.com -n jobs"},
		"explain-nobody":          {"nobody", "explain jobs.publisher"},
		"who-can":                 {"admin", "who-can " + courses},
		"who-can-tenant":          {"course-team", "who-can course-api courses:publish -n courses"},
		"who-can-nobody":          {"nobody", "who-can courses/course-api"},
		"requests":                {"admin", "requests"},
		"requests-tenant":         {"course-team", "requests -n courses"},
		"diff-same":               {"admin", "diff -f " + samples + "course-management --fail-on-widening"},
		"diff-prune":              {"admin", "diff -f testdata/pruned --prune"},
		"diff-without-pruning":    {"admin", "diff -f testdata/pruned"},
		"diff-new":                {"admin", "diff -f testdata/new --fail-on-widening"},
		"diff-tenant":             {"course-team", "diff -f testdata/new -n courses"},
		"change-nobody":           {"nobody", "client suspend jobs.publisher"},
		"token-nobody":            {"nobody", "token jobs.publisher"},
		"token-nothing-granted":   {"admin", "token jobs.publisher --audience https://payment.example.com/api"},
		"token-other-scope":       {"admin", "token jobs.publisher --audience " + courses + " --scope courses:write"},
		"token-no-audience":       {"admin", "token jobs.publisher"},
		"token-no-client":         {"admin", "token jobs.nobody"},
		"keys-unknown":            {"admin", "keys revoke AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"},
		"keys-no-issuer":          {"admin", "keys rotate other"},
	} {
		t.Run(name, func(t *testing.T) {
			got := kubectl(t, c.user, strings.Fields(c.line)...)
			golden(t, name, "$ kubectl m2m "+c.line+"   # as "+c.user+"\n", got)
		})
	}
}

func golden(t *testing.T, name, title string, r result) {
	t.Helper()
	got := title + r.out
	if r.errOut != "" {
		got += "--- stderr\n" + r.errOut
	}
	got += "--- exit status " + string(rune('0'+r.code)) + "\n"
	file := filepath.Join("testdata/golden", name+".txt")
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("differs from %s (-update rewrites it):\n%s", file, got)
	}
}

// TestSince: since when a client has a scope is when its grant was made.
func TestSince(t *testing.T) {
	settled(t)
	answer := decode[review.Explanation](t, must(t, "admin", "explain", "jobs.publisher", "-o", "json"))
	made := get(t, &v1alpha1.ScopeGrant{}, "courses", "nightly-publisher").CreationTimestamp.UTC()
	if since := answer.Access[0].Scopes[0].Ways[0].Since; !since.Equal(made) {
		t.Errorf("since %s, and the grant was made at %s", since, made)
	}
	if text := must(t, "admin", "explain", "jobs.publisher", "-o", "wide"); !strings.Contains(text, made.Format("2006-01-02T15:04:05Z")) {
		t.Errorf("wide does not say since when:\n%s", text)
	}
}

// TestRequestsAreAnswered: what --grant prints is what is missing.
func TestRequestsAreAnswered(t *testing.T) {
	settled(t)
	machine := &v1alpha1.M2MClient{ObjectMeta: metav1.ObjectMeta{Namespace: "jobs", Name: "wishful"}}
	machine.Spec.Requests = []v1alpha1.AccessRequest{{
		ApiResource: v1alpha1.NamespacedReference{Namespace: "courses", Name: "course-api"}, Scopes: []v1alpha1.ScopeName{"courses:write"},
	}}
	create(t, machine)
	waiting := must(t, "admin", "requests", "courses/course-api")
	if !strings.Contains(waiting, "jobs.wishful") || !strings.Contains(waiting, "courses:write") {
		t.Errorf("nobody waits:\n%s", waiting)
	}
	file := filepath.Join(t.TempDir(), "grant.yaml")
	if err := os.WriteFile(file, []byte(must(t, "admin", "requests", "--client", "jobs.wishful", "--grant")), 0o600); err != nil {
		t.Fatal(err)
	}
	must(t, "admin", "lint", "-f", file, "-f", samples+"course-management") // it warns of clients that are not there
	preview := decode[review.Diff](t, must(t, "course-team", "diff", "-n", "courses", "-f", file, "-o", "json"))
	if len(preview.Changes) != 1 || preview.Changes[0].Client != "jobs.wishful" || preview.Changes[0].Scope != "courses:write" || !preview.Widens {
		t.Errorf("the preview is %+v", preview)
	}
	if err := world.Plane.InstallManifests(ctx, file); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := world.Admin.Delete(ctx, get(t, &v1alpha1.ScopeGrant{}, "courses", "jobs-wishful")); err != nil {
			t.Error(err)
		}
	})
	if left := must(t, "admin", "requests", "courses/course-api"); strings.Contains(left, "jobs.wishful") {
		t.Errorf("still waiting:\n%s", left)
	}
	if has := must(t, "admin", "explain", "jobs.wishful"); !strings.Contains(has, "courses/jobs-wishful") {
		t.Errorf("the grant is not the reason:\n%s", has)
	}
}

// TestLiveCompletion: what there is in the cluster, where a file cannot be meant.
func TestLiveCompletion(t *testing.T) {
	settled(t)
	var kids []string
	for _, key := range get(t, &v1alpha1.TokenIssuer{}, "", "default").Status.Keys {
		kids = append(kids, key.KID)
	}
	for line, want := range map[string][]string{
		"keys revoke ":                                             kids,
		"keys revoke " + kids[0] + " ":                             kids[1:],
		"token jobs.publisher --audience ":                         {courses},
		"token jobs.publisher --scope ":                            {"courses:publish", "courses:read-approved"},
		"token --audience ":                                        {},
		"verify - --audience ":                                     {courses, "https://payment.example.com/api"},
		"explain jobs.publisher --context ":                        {"m2m-controlplane"},
		"token jobs.publisher --audience " + courses + " --scope ": {"courses:publish", "courses:read-approved"},
	} {
		out := strings.Split(strings.TrimSpace(must(t, "admin", append([]string{"__complete"}, strings.Split(line, " ")...)...)), "\n")
		got, directive := out[:len(out)-1], out[len(out)-1]
		for _, name := range want {
			if !slices.Contains(got, name) {
				t.Errorf("%q completes to %q, without %s", line, got, name)
			}
		}
		if len(want) == 0 && len(got) > 0 || directive != ":4" { // no files
			t.Errorf("%q completes to %q %s", line, got, directive)
		}
	}
}
