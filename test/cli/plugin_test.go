package cli

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestPlugin: kubectl finds the binary by its name, and completes by it.
func TestPlugin(t *testing.T) {
	settled(t)
	folder := t.TempDir()
	if out, err := exec.CommandContext(ctx, "go", "build", "-o", filepath.Join(folder, "kubectl-m2m"), "../../cmd/kubectl-m2m").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if err := os.Symlink("kubectl-m2m", filepath.Join(folder, "kubectl_complete-m2m")); err != nil {
		t.Fatal(err)
	}
	assets := os.Getenv("KUBEBUILDER_ASSETS")
	if assets == "" {
		out, err := exec.CommandContext(ctx, "../../hack/kubernetes/assets.sh").Output()
		if err != nil {
			t.Fatal(err)
		}
		assets = strings.TrimSpace(string(out))
	}
	kubectl := filepath.Join(assets, "kubectl")
	environment := append(os.Environ(), "PATH="+folder+":"+os.Getenv("PATH"), "KUBECONFIG="+filepath.Join(kubeconfigs, "admin"))
	for _, c := range []struct {
		line   string
		status int
		want   string
	}{
		{"m2m explain jobs.publisher", 0, "courses/nightly-publisher"},
		{"m2m lint -f ../../internal/cli/testdata/wrong", 2, "29 errors"},
		{"m2m nonsense", 1, "unknown command"},
		{"__complete m2m explain jobs.pub", 0, "jobs.publisher"},
	} {
		command := exec.CommandContext(ctx, kubectl, strings.Fields(c.line)...)
		command.Env = environment
		out, err := command.CombinedOutput()
		if command.ProcessState == nil {
			t.Fatal(err)
		}
		if status := command.ProcessState.ExitCode(); status != c.status || !strings.Contains(string(out), c.want) {
			t.Errorf("kubectl %s: exit status %d\n%s", c.line, status, out)
		}
	}
}
