package cli_test

import (
	"bytes"
	"context"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/m2m-operator/m2m-operator/internal/cli"
)

var update = flag.Bool("update", false, "rewrite the golden files")

const samples = "../../config/samples/"

// now is when the tests play.
var now = time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)

// result of one command line.
type result struct {
	code        int
	out, errOut string
}

// run carries out a command line without any cluster.
func run(t *testing.T, stdin string, arguments ...string) result {
	t.Helper()
	return runIn(t, cli.Environment{}, stdin, arguments...)
}

func runIn(t *testing.T, e cli.Environment, stdin string, arguments ...string) result {
	t.Helper()
	t.Setenv("KUBECONFIG", filepath.Join(t.TempDir(), "none"))
	out, errOut := &bytes.Buffer{}, &bytes.Buffer{}
	e.IOStreams = genericiooptions.IOStreams{In: strings.NewReader(stdin), Out: out, ErrOut: errOut}
	e.Now = func() time.Time { return now }
	code := cli.Run(context.Background(), arguments, e)
	return result{code, out.String(), errOut.String()}
}

const change = "diff -f testdata/change/after --against testdata/change/before"

// TestGolden: what is printed, and the exit status.
func TestGolden(t *testing.T) {
	for name, line := range map[string]string{
		"explain":             "explain jobs.publisher -f testdata/change/before",
		"explain-wide":        "explain jobs.reader -f testdata/change/before -o wide",
		"explain-api":         "explain fleet/sensor courses/course-api -f testdata/change/before",
		"explain-suspended":   "explain fleet.sensor https://courses.example.com/api -f testdata/change/after",
		"explain-later":       "explain new -n jobs -f testdata/change/after",
		"explain-wishes":      "explain cart.cart-service -f testdata/wishes",
		"explain-json":        "explain cart.cart-service -f testdata/wishes -o json",
		"explain-yaml":        "explain jobs.reader -f testdata/change/before -o yaml",
		"explain-sample":      "explain jobs.publisher -f " + samples + "course-management",
		"explain-fleet":       "explain car-park-sensors.sensor-a1 -f " + samples + "iot-fleet",
		"who-can":             "who-can course-api -n courses -f testdata/change/before",
		"who-can-scope":       "who-can courses/course-api courses:publish -f testdata/change/before -o json",
		"who-can-hierarchy":   "who-can big-screen/big-screen-display announce:7:read -f " + samples + "big-screen-display",
		"who-can-sample":      "who-can payment/payment-service -o wide -f " + samples + "cart-and-payment",
		"requests":            "requests -f testdata/wishes",
		"requests-api":        "requests payment/payment-service --client shop.shop -f testdata/wishes -o json",
		"requests-grant":      "requests --grant -f testdata/wishes",
		"requests-none":       "requests -f " + samples + "cart-and-payment",
		"diff":                change,
		"diff-json":           change + " -o json",
		"diff-markdown":       change + " -o markdown",
		"diff-nothing":        "diff -f testdata/change/after --against testdata/change/after --fail-on-widening",
		"diff-first":          "diff -f testdata/owner/before --against testdata/nothing/yet --fail-on-widening",
		"diff-fail":           change + " --fail-on-widening",
		"diff-narrow":         "diff -f testdata/change/before/api.yaml --against testdata/change/before --fail-on-widening",
		"diff-owner":          "diff -f testdata/owner/after --against testdata/owner/before --fail-on-widening",
		"diff-sample":         "diff -f " + samples + "course-management --against testdata/kustomized/base -n tenant",
		"lint":                "lint -f testdata/wrong",
		"lint-json":           "lint -f testdata/wrong/invalid.yaml -o json",
		"lint-kustomized":     "lint -f testdata/kustomized",
		"lint-partly":         "lint -f " + samples + "no-secret",
		"lint-strict":         "lint --strict -f " + samples + "big-screen-display",
		"lint-ok":             "lint --strict -f " + samples + "course-management",
		"graph":               "graph -f " + samples + "course-management",
		"graph-dot":           "graph -o dot -f " + samples + "big-screen-display",
		"bad-graph-output":    "graph -o svg -f testdata/change/before",
		"bad-no-command":      "nonsense",
		"bad-flag":            "explain --nonsense",
		"bad-arguments":       "explain",
		"bad-output":          "explain jobs.publisher -f testdata/change/before -o xml",
		"bad-client":          "explain publisher -f testdata/change/before",
		"bad-api":             "who-can course-api -f testdata/change/before",
		"bad-unknown-api":     "explain jobs.publisher nothing -f testdata/change/before",
		"bad-scope":           "who-can courses/course-api courses:delete -f testdata/change/before",
		"bad-file":            "diff -f testdata/nothing --against testdata/change/before",
		"bad-manifests":       "diff -f testdata/wrong --against testdata/change/before",
		"bad-no-files":        "diff",
		"bad-lint-no-files":   "lint",
		"bad-lint-file":       "lint -f testdata/nothing",
		"bad-prune":           change + " --prune",
		"bad-grant-output":    "requests --grant -o json -f testdata/wishes",
		"bad-no-cluster":      "explain jobs.publisher",
		"bad-token-arguments": "token",
		"bad-token-no-jwt":    "verify nonsense",
	} {
		t.Run(name, func(t *testing.T) {
			got := run(t, "", strings.Fields(line)...)
			golden(t, name, "$ kubectl m2m "+line+"\n", got)
		})
	}
}

// golden compares a result with its file.
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
