package controlplane

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
)

// reaperScript waits on standard input until the process that holds the other end says so, or is gone: after a panic, a
// test's timeout or a SIGKILL too, when no Go code can clean up any more. Then it kills the processes whose ids are in
// $1, and, when nobody is left to do it, removes $1.
//
// A process id may have found a new owner since: where /proc tells, only a process started from $1 is killed.
const reaperScript = `
trap '' INT TERM HUP
word=
read -r word
killed=
for file in "$1"/*.pid; do
	[ -f "$file" ] || continue
	pid=$(cat "$file")
	if [ -d /proc/self ] && ! grep -qsF -- "$1" "/proc/$pid/cmdline"; then continue; fi
	kill -KILL "$pid" 2>/dev/null && killed="$killed $pid"
done
for pid in $killed; do
	for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do kill -0 "$pid" 2>/dev/null || break; sleep 0.05; done
done
[ "$word" = stop ] || rm -rf "$1"
`

// reaper is a small process that outlives this one just long enough to end what this one has started.
type reaper struct {
	dir   string
	cmd   *exec.Cmd
	stdin io.WriteCloser
}

func startReaper(dir string) (*reaper, error) {
	cmd := exec.Command("/bin/sh", "-c", reaperScript, "m2m-controlplane-reaper", dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // a Ctrl-C at the terminal is for us, not for the reaper
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the reaper of the control plane: %w", err)
	}
	return &reaper{dir: dir, cmd: cmd, stdin: stdin}, nil
}

// wrap is a script that becomes the binary after it has told the reaper its process id.
func (r *reaper) wrap(binary string) (string, error) {
	name := filepath.Base(binary)
	path := filepath.Join(r.dir, name)
	script := "#!/bin/sh\necho $$ >'" + path + ".pid'\nexec '" + binary + "' \"$@\"\n"
	if err := os.WriteFile(path, []byte(script), 0o700); err != nil {
		return "", fmt.Errorf("write the start script of %s: %w", name, err)
	}
	return path, nil
}

// finish makes the reaper do its work now, and waits for it.
func (r *reaper) finish() error {
	_, err := io.WriteString(r.stdin, "stop\n")
	return errors.Join(err, r.stdin.Close(), r.cmd.Wait())
}
