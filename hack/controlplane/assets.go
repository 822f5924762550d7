package controlplane

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

// assetsScript finds, downloads or builds the binaries; see there.
const assetsScript = "hack/kubernetes/assets.sh"

// findAssets is the directory that holds etcd, kube-apiserver and kubectl.
func findAssets(ctx context.Context) (string, error) {
	if dir := os.Getenv("KUBEBUILDER_ASSETS"); dir != "" {
		for _, name := range []string{"etcd", "kube-apiserver"} {
			if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
				return "", fmt.Errorf("KUBEBUILDER_ASSETS names a directory without %s: %w", name, err)
			}
		}
		return dir, nil
	}
	root, err := RepoRoot()
	if err != nil {
		return "", fmt.Errorf("KUBEBUILDER_ASSETS is not set, and the script that would fill it is out of reach: %w", err)
	}
	unlock, err := lockAssets()
	if err != nil {
		return "", err
	}
	defer unlock()
	var path bytes.Buffer
	cmd := exec.CommandContext(ctx, filepath.Join(root, assetsScript))
	cmd.Stdout, cmd.Stderr = &path, os.Stderr
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("there are no control plane binaries: %s: %w", assetsScript, err)
	}
	return strings.TrimSpace(path.String()), nil
}

// RepoRoot is the directory, at or above the working directory, of this repository's go.mod.
func RepoRoot() (string, error) {
	start, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for dir := start; ; dir = filepath.Dir(dir) {
		// hack/ has modules of its own: the root is the one that has the script.
		_, noModule := os.Stat(filepath.Join(dir, "go.mod"))
		_, noScript := os.Stat(filepath.Join(dir, assetsScript))
		if noModule == nil && noScript == nil {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			return "", fmt.Errorf("no go.mod with %s beside it at or above %s: %w", assetsScript, start, fs.ErrNotExist)
		}
	}
}

// lockAssets makes test binaries, which start side by side, build the binaries once rather than each for itself.
func lockAssets() (unlock func(), err error) {
	name := fmt.Sprintf("m2m-operator-assets-%d.lock", os.Getuid())
	path := filepath.Join(os.TempDir(), name)
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the lock of the control plane binaries: %w", err)
	}
	for {
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX)
		if !errors.Is(err, syscall.EINTR) {
			break
		}
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("lock the control plane binaries: %w", err), f.Close())
	}
	return func() { _ = f.Close() }, nil // closing the file releases the lock
}
