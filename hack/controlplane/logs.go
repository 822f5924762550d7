package controlplane

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// LogDir is where etcd.log and kube-apiserver.log are.
func (cp *ControlPlane) LogDir() string { return cp.logDir }

func (cp *ControlPlane) openLog(name string) (*os.File, error) {
	path := filepath.Join(cp.logDir, name+".log")
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the log of %s: %w", name, err)
	}
	return f, nil
}

// logTails is what the processes said last: without it, "did not start" helps nobody.
func (cp *ControlPlane) logTails() string {
	const lines = 15
	var out strings.Builder
	for _, name := range []string{"etcd", "kube-apiserver"} {
		path := filepath.Join(cp.logDir, name+".log")
		text, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		all := strings.Split(strings.TrimSpace(string(text)), "\n")
		fmt.Fprintf(&out, "--- the end of %s.log\n%s\n", name, strings.Join(all[max(0, len(all)-lines):], "\n"))
	}
	return out.String()
}
