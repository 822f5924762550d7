//go:build soak

package soak

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/m2m-operator/m2m-operator/hack/controlplane"
)

const (
	issuerURL = "https://127.0.0.1/machines"
	audience  = "https://courses.example.com/api"
	// haste is how much faster the clock of keys runs. A manager must look at the endpoints every 30 s of it.
	haste = 12
)

var (
	ctx = context.Background()
	// binary is m2m-issuer.
	binary string
)

func TestMain(m *testing.M) {
	if os.Getenv(asManager) != "" {
		os.Exit(manage())
	}
	// Most of what is tested at once is waiting: how many processors there are does not matter.
	flag.Parse()
	if err := flag.Set("test.parallel", "8"); err != nil {
		panic(err) // there is such a flag
	}
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "m2m-soak-")
	if err == nil {
		defer os.RemoveAll(dir)
		err = build(dir)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

func build(dir string) error {
	root, err := controlplane.RepoRoot()
	if err != nil {
		return err
	}
	binary = filepath.Join(dir, "m2m-issuer")
	build := exec.Command("go", "build", "-o", binary, "./cmd/issuer")
	build.Dir, build.Stderr = root, os.Stderr
	return build.Run()
}

// measured prints a result, also where tests are not verbose.
func measured(format string, args ...any) { fmt.Printf("  "+format+"\n", args...) }

// TestFaults has what needs time rather than the machine: beside each other, on a control plane each.
func TestFaults(t *testing.T) {
	t.Run("API server away", func(t *testing.T) {
		t.Parallel()
		testAPIServerAway(t, newWorld(t))
	})
	t.Run("one installation", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		w.startManager(t)
		w.keepLooking(t)
		t.Run("processes that stand still", func(t *testing.T) { testStandStill(t, w) })
		t.Run("everything rotates", func(t *testing.T) { testRotation(t, w) })
	})
}

// until waits for a moment that the test is about.
func until(at time.Time) { <-time.After(time.Until(at)) }
