package cli_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/m2m-operator/m2m-operator/internal/cli"
)

// TestStdin: manifests may come from another command.
func TestStdin(t *testing.T) {
	text, err := os.ReadFile("testdata/owner/after/api.yaml")
	if err != nil {
		t.Fatal(err)
	}
	r := run(t, string(text), "diff", "-f", "-", "--against", "testdata/owner/before")
	if r.code != 0 || !strings.Contains(r.out, "+ jobs.writer") {
		t.Errorf("exit status %d\n%s%s", r.code, r.out, r.errOut)
	}
	if r := run(t, "kind: [", "lint", "-f", "-"); r.code != 2 || !strings.HasPrefix(r.out, "-:1: error: ") {
		t.Errorf("exit status %d\n%s%s", r.code, r.out, r.errOut)
	}
	if r := run(t, string(text), "diff", "-f", "-", "--against", "-"); r.code != 1 || !strings.Contains(r.errOut, "can be read once") {
		t.Errorf("exit status %d\n%s%s", r.code, r.out, r.errOut)
	}
}

// TestNoObjects: a path that is wrong does not look like one where all is well.
func TestNoObjects(t *testing.T) {
	folder := t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, "values.yaml"), []byte("replicas: 2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ line, says string }{
		{"lint -f " + folder, "no objects of m2m-operator.io in " + folder},
		{"lint -f -", "no objects of m2m-operator.io in the standard input"},
		{"lint -f /dev/null", "no objects of m2m-operator.io in /dev/null"},
		{"lint -f testdata/change/before -f testdata/nothing", "testdata/nothing: no such file"},
		{"diff --against testdata/change/before -f " + folder, "no objects of m2m-operator.io in " + folder},
		{"diff --against testdata/change/before -f - ", "no objects of m2m-operator.io in the standard input"},
		{"explain jobs.reader -f " + folder, "no objects of m2m-operator.io in " + folder},
	} {
		if r := run(t, "", strings.Fields(c.line)...); r.code != 1 || !strings.Contains(r.errOut, c.says) {
			t.Errorf("%s: exit status %d\n%s%s", c.line, r.code, r.out, r.errOut)
		}
	}
	// What is compared with may be empty, as in the first pull request.
	r := run(t, "", "diff", "-f", "testdata/change/before", "--against", folder, "--fail-on-widening")
	if r.code != 2 || !strings.Contains(r.out, "+ jobs.publisher") {
		t.Errorf("exit status %d\n%s%s", r.code, r.out, r.errOut)
	}
}

// TestDiffOfWhatNobodyApplies: that an object is being deleted, or older than it is, a manifest can only claim.
func TestDiffOfWhatNobodyApplies(t *testing.T) {
	text, err := os.ReadFile("testdata/owner/after/api.yaml")
	if err != nil {
		t.Fatal(err)
	}
	claimed := strings.ReplaceAll(string(text), "metadata: {", `metadata: {deletionTimestamp: "2026-01-01T00:00:00Z", creationTimestamp: "2020-01-01T00:00:00Z", `)
	if claimed == string(text) {
		t.Fatal("there is no metadata to change")
	}
	plain := run(t, string(text), "diff", "-f", "-", "--against", "testdata/owner/before")
	if r := run(t, claimed, "diff", "-f", "-", "--against", "testdata/owner/before"); r != plain {
		t.Errorf("exit status %d\n%s%s, want\n%s", r.code, r.out, r.errOut, plain.out)
	}
}

// TestColours: on a terminal only, and what tenants write colours nothing.
func TestColours(t *testing.T) {
	line := strings.Fields(change)
	ordinary, coloured := run(t, "", line...), runIn(t, cli.Environment{Colours: true}, "", line...)
	if strings.Contains(ordinary.out, "\x1b") || !strings.Contains(coloured.out, "\x1b[32m+ jobs.new") {
		t.Errorf("in colours:\n%q", coloured.out)
	}
	bare := strings.NewReplacer("\x1b[0m", "", "\x1b[1m", "", "\x1b[31m", "", "\x1b[32m", "", "\x1b[33m", "").Replace(coloured.out)
	if bare != ordinary.out {
		t.Errorf("in colours it says something else:\n%q\n%q", bare, ordinary.out)
	}
	r := runIn(t, cli.Environment{Colours: true}, "", "explain", "cart.cart-service", "-f", "testdata/wishes")
	if strings.Contains(r.out, "\x1b[31mservice") {
		t.Errorf("a client's name colours the terminal: %q", r.out)
	}
	if r := runIn(t, cli.Environment{Colours: true}, "", append(line, "-o", "json")...); strings.Contains(r.out, "\x1b") {
		t.Error("JSON is coloured")
	}
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	defer writer.Close()
	if cli.Terminal(writer) {
		t.Error("a pipe is taken for a terminal")
	}
}

// TestNoColour: a terminal has colours, unless its user does not want them (no-color.org), or it has none.
func TestNoColour(t *testing.T) {
	terminal, err := os.Open("/dev/ptmx")
	if err != nil {
		t.Fatal(err)
	}
	defer terminal.Close()
	for name, c := range map[string]struct {
		noColour, term string
		want           bool
	}{"terminal": {"", "xterm", true}, "NO_COLOR": {"1", "xterm", false}, "dumb": {"", "dumb", false}} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("NO_COLOR", c.noColour)
			t.Setenv("TERM", c.term)
			if got := cli.Terminal(terminal); got != c.want {
				t.Errorf("colours: %v", got)
			}
		})
	}
}

// TestMisspeltCommands: one error each, in one line, and never a help that looks like success.
func TestMisspeltCommands(t *testing.T) {
	for line, want := range map[string]string{
		"explian":       "error: unknown command \"explian\" for \"kubectl m2m\": did you mean explain?\nSee 'kubectl m2m --help'.\n",
		"nonsense":      "error: unknown command \"nonsense\" for \"kubectl m2m\"\nSee 'kubectl m2m --help'.\n",
		"keys lst":      "error: unknown command \"lst\" for \"kubectl m2m keys\": did you mean list?\nSee 'kubectl m2m keys --help'.\n",
		"client resumx": "error: unknown command \"resumx\" for \"kubectl m2m client\": did you mean resume?\nSee 'kubectl m2m client --help'.\n",
	} {
		if r := run(t, "", strings.Fields(line)...); r.code != 1 || r.errOut != want || r.out != "" {
			t.Errorf("%s: exit status %d\n%s%s", line, r.code, r.out, r.errOut)
		}
	}
	if r := run(t, "", "keys"); r.code != 0 || !strings.Contains(r.out, "rotate") {
		t.Errorf("keys: exit status %d\n%s%s", r.code, r.out, r.errOut)
	}
}

// TestMarkdownIsInert: what a pull request writes into a manifest is text in the comment on it.
func TestMarkdownIsInert(t *testing.T) {
	manifest := `
apiVersion: m2m-operator.io/v1alpha1
kind: ScopeGrant
metadata: {namespace: courses, name: more}
spec:
  apiResourceRef: {name: course-api}
  subjects: [{namespace: jobs, name: writer}]
  scopes: [write]
  conditions: [{expression: "request.source == '` + "``|<img src=x>" + `'"}]
`
	base, err := os.ReadFile("testdata/owner/before/api.yaml")
	if err != nil {
		t.Fatal(err)
	}
	r := run(t, string(base)+"---\n"+manifest, "diff", "-f", "-", "--against", "testdata/owner/before", "-o", "markdown")
	row := slices.IndexFunc(strings.Split(r.out, "\n"), func(line string) bool { return strings.Contains(line, "<img") })
	if r.code != 0 || row < 0 {
		t.Fatalf("exit status %d\n%s%s", r.code, r.out, r.errOut)
	}
	if line := strings.Split(r.out, "\n")[row]; !strings.Contains(line, `''\|<img src=x>`) {
		t.Errorf("the code ends where a manifest says: %s", line)
	}
}

// TestMarkdownFitsIntoAComment: GitHub refuses a longer one. What widens access comes first then.
func TestMarkdownFitsIntoAComment(t *testing.T) {
	before, after := many(t, false), many(t, true)
	manifests, err := os.ReadFile(after)
	if err != nil {
		t.Fatal(err)
	}
	narrow := bytes.ReplaceAll(manifests, []byte("scopes: [read], expiresAt"), []byte("suspend: true, scopes: [read], expiresAt"))
	if err := os.WriteFile(after, narrow, 0o600); err != nil {
		t.Fatal(err)
	}
	r := run(t, "", "diff", "-f", after, "--against", before, "-o", "markdown")
	if r.code != 0 || len(r.out) > 60_000 || len(r.out) < 55_000 {
		t.Fatalf("exit status %d, %d characters\n%s", r.code, len(r.out), r.errOut)
	}
	rows := strings.Split(r.out, "\n")
	if gains, last := strings.Count(r.out, "gains"), strings.LastIndex(r.out, "gains"); gains != 70 || last > strings.Index(r.out, "loses") {
		t.Errorf("%d gains, the last at %d, the first loss at %d", gains, last, strings.Index(r.out, "loses"))
	}
	shown := strings.Count(r.out, "loses")
	if more := fmt.Sprintf("**And %d changes more**, of which 0 widen access: kubectl m2m diff lists them all.", 420-shown); !slices.Contains(rows, more) {
		t.Errorf("no %q in\n%s", more, r.out[len(r.out)-500:])
	}
}

func TestCompletion(t *testing.T) {
	for line, want := range map[string][]string{
		"explain -f testdata/change/before ":                              {"fleet.sensor", "jobs.gone", "jobs.publisher", "jobs.reader"},
		"explain -f testdata/change/before jobs.reader ":                  {"courses/course-api", "courses/open-api"},
		"who-can -f testdata/change/before ":                              {"courses/course-api", "courses/open-api"},
		"who-can -f testdata/change/before courses/course-api ":           {"courses:read", "courses:write", "courses:publish"},
		"requests -f testdata/wishes --client ":                           {"cart.cart-service", "shop.shop"},
		"diff -o ":                                                        {"json", "yaml", "markdown"},
		"keys ":                                                           {"list\tThe published keys, with the times at which their states change"},
		"explain -f testdata/change/before jobs.reader courses/open-api ": nil,
	} {
		arguments := strings.Split(line, " ")
		r := run(t, "", append([]string{"__complete"}, arguments...)...)
		got := strings.Split(strings.TrimSpace(r.out), "\n")
		got = got[:len(got)-1] // a directive
		if len(want) == 1 && !slices.Contains(got, want[0]) || len(want) != 1 && !slices.Equal(got, want) {
			t.Errorf("%q completes to %q, want %q\n%s", line, got, want, r.errOut)
		}
	}
}

// many writes manifests of a thousand objects, of which some grant more the second time.
func many(t testing.TB, more bool) string {
	t.Helper()
	out := &bytes.Buffer{}
	for i := range 20 {
		fmt.Fprintf(out, "---\napiVersion: m2m-operator.io/v1alpha1\nkind: ApiResource\nmetadata: {namespace: api-%d, name: api}\n"+
			"spec: {identifier: \"https://api-%d.example.com\", scopes: [{name: read}, {name: write}]}\n", i, i)
	}
	for i := range 490 {
		scopes := "read"
		if more && i%7 == 0 {
			scopes = "read, write"
		}
		fmt.Fprintf(out, "---\napiVersion: m2m-operator.io/v1alpha1\nkind: M2MClient\nmetadata: {namespace: team-%d, name: client-%d}\nspec: {}\n", i%50, i)
		fmt.Fprintf(out, "---\napiVersion: m2m-operator.io/v1alpha1\nkind: ScopeGrant\nmetadata: {namespace: api-%d, name: grant-%d}\n"+
			"spec: {apiResourceRef: {name: api}, subjects: [{namespace: team-%d, name: client-%d}], scopes: [%s], expiresAt: \"2027-01-01T00:00:00Z\"}\n",
			i%20, i, i%50, i, scopes)
	}
	file := filepath.Join(t.TempDir(), "all.yaml")
	if err := os.WriteFile(file, out.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestDiffOfAThousandObjects(t *testing.T) {
	r := run(t, "", "diff", "-f", many(t, true), "--against", many(t, false))
	if lines := strings.Count(r.out, "gains write"); r.code != 0 || lines != 70 || strings.Count(r.out, "\n") != 70+3 {
		t.Errorf("exit status %d, %d lines, %d gains", r.code, strings.Count(r.out, "\n"), lines)
	}
}

// BenchmarkDiff compares a thousand objects with a thousand, from files to lines.
func BenchmarkDiff(b *testing.B) {
	before, after := many(b, false), many(b, true)
	b.Setenv("KUBECONFIG", filepath.Join(b.TempDir(), "none"))
	for b.Loop() {
		out := &bytes.Buffer{}
		e := cli.Environment{}
		e.Out, e.ErrOut = out, out
		if code := cli.Run(b.Context(), []string{"diff", "-f", after, "--against", before}, e); code != 0 {
			b.Fatal(out.String())
		}
	}
}
