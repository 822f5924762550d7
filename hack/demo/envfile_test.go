package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The shell itself is asked, since it is the one that has to understand the file.
func TestAShellReadsWhatWasWritten(t *testing.T) {
	want := []variable{
		{"M2M_SCOPE", "courses:read-approved courses:publish"},
		{"M2M_ISSUER_PIDS", "12 34"},
		{"M2M_CLIENT_SECRET", `it's $HOME; "quoted" \ and ` + "`backticked` *"},
		{"M2M_AUDIENCE", ""},
	}
	path := filepath.Join(t.TempDir(), "demo.env")
	if err := writePrivate(path, []byte(shellAssignments(want))); err != nil {
		t.Fatal(err)
	}
	for _, v := range want {
		// The value is read from a child's environment, which only exported variables reach.
		cmd := exec.Command("sh", "-c", `set -a; . "$0"; exec printenv "$1"`, path, v.name)
		got, err := cmd.Output()
		if err != nil {
			t.Fatalf("%s: %v", v.name, err)
		}
		if strings.TrimSuffix(string(got), "\n") != v.value {
			t.Errorf("%s is %q, want %q", v.name, got, v.value)
		}
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, error %v; want 0600", info.Mode(), err)
	}
}
