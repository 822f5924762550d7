package main

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
)

func TestArguments(t *testing.T) {
	if got := arguments([]string{"/usr/bin/kubectl-m2m", "explain", "jobs.publisher"}); !slices.Equal(got, []string{"explain", "jobs.publisher"}) {
		t.Errorf("%q", got)
	}
	if got := arguments([]string{"/usr/bin/kubectl_complete-m2m", "explain", ""}); !slices.Equal(got, []string{"__complete", "explain", ""}) {
		t.Errorf("%q", got)
	}
}

// TestSignals: a signal ends the command, also while it waits for its input.
func TestSignals(t *testing.T) {
	binary := filepath.Join(t.TempDir(), "kubectl-m2m")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", binary, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, signal := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		t.Run(signal.String(), func(t *testing.T) {
			command := exec.CommandContext(t.Context(), binary, "lint", "-f", "-") // ends it with the test
			command.Env = append(os.Environ(), "KUBECONFIG="+filepath.Join(t.TempDir(), "none"))
			input, err := command.StdinPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := command.Start(); err != nil {
				t.Fatal(err)
			}
			// More than a pipe holds: once it is written, the command reads.
			if _, err := input.Write(bytes.Repeat([]byte("# nothing\n"), 20_000)); err != nil {
				t.Fatal(err)
			}
			if err := command.Process.Signal(signal); err != nil {
				t.Fatal(err)
			}
			var exit *exec.ExitError
			if err := command.Wait(); !errors.As(err, &exit) {
				t.Fatalf("it ended with %v", err)
			}
			if status := exit.Sys().(syscall.WaitStatus); !status.Signaled() || status.Signal() != signal {
				t.Errorf("its wait status is %#x", status)
			}
		})
	}
}
