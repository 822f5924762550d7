package plane

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
)

// process is an m2m-issuer or m2m-manager.
type process struct {
	command *exec.Cmd
	// listens is the address of the public port, ops that of health.
	listens, ops string
}

// launch starts a program, which logs into a file beside it.
func (b *bench) launch(ctx context.Context, name string, arguments ...string) (*exec.Cmd, error) {
	log, err := os.OpenFile(filepath.Join(b.dir, name+".log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600) //nolint:gosec // a directory of our own
	if err != nil {
		return nil, err
	}
	defer func() { _ = log.Close() }()                                            // the process has its own copy
	command := exec.CommandContext(ctx, filepath.Join(b.dir, name), arguments...) //nolint:gosec // a program of ours
	command.Stderr = log
	return command, command.Start()
}

// freeAddress is one that nobody listens on.
func freeAddress() (string, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return listener.Addr().String(), listener.Close()
}

func (b *bench) startManager(ctx context.Context) (*process, error) {
	p := &process{}
	var err error
	if p.ops, err = freeAddress(); err != nil {
		return nil, err
	}
	p.command, err = b.launch(ctx, "manager", "--kubeconfig", b.kubeconfig("m2m-manager"), "--leader-elect=false",
		"--metrics-listen=0", "--health-listen", p.ops)
	return p, err
}

// startIssuer starts an issuer as it is deployed, with a snapshot of its own, and waits until it is ready.
func (b *bench) startIssuer(ctx context.Context) (p *process, took time.Duration, err error) {
	pepper, err := b.pepperFile(ctx)
	if err != nil {
		return nil, 0, err
	}
	snapshot, err := os.MkdirTemp(b.dir, "snapshot-")
	if err != nil {
		return nil, 0, err
	}
	p = &process{}
	var err1, err2 error
	p.listens, err1 = freeAddress()
	p.ops, err2 = freeAddress()
	if err := errors.Join(err1, err2); err != nil {
		return nil, 0, err
	}
	began := time.Now()
	p.command, err = b.launch(ctx, "issuer", "--kubeconfig", b.kubeconfig("m2m-issuer"), "--listen", p.listens, "--ops-listen", p.ops,
		"--drain-delay=0s", "--snapshot-dir", snapshot, "--snapshot-key-file", pepper)
	if err != nil {
		return nil, 0, err
	}
	err = awaitReady(ctx, p.ops)
	return p, time.Since(began), err
}

// awaitReady waits until an operations port says that its process is ready.
func awaitReady(ctx context.Context, ops string) error {
	return await(ctx, func(context.Context) (bool, error) {
		response, err := http.Get("http://" + ops + "/readyz") //nolint:noctx // this machine answers or refuses at once
		if err != nil {
			return false, nil //nolint:nilerr // it does not listen yet
		}
		return response.StatusCode == http.StatusOK, response.Body.Close()
	})
}

func await(ctx context.Context, condition wait.ConditionWithContextFunc) error {
	return wait.PollUntilContextTimeout(ctx, 20*time.Millisecond, startTimeout, true, condition)
}

// stop ends the process.
func (p *process) stop() error {
	if err := p.command.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	return p.command.Wait()
}

const (
	// A process has settled when its memory has changed by less than a hundredth for so long.
	settled     = 4 * time.Second
	settleLimit = time.Minute
)

// memory is how many bytes the process has resident, once that has settled.
func (p *process) memory(ctx context.Context) (float64, error) {
	last, err := p.resident()
	since, deadline := time.Now(), time.Now().Add(settleLimit)
	for err == nil && time.Since(since) < settled && time.Now().Before(deadline) {
		select {
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-time.After(200 * time.Millisecond):
		}
		var now float64
		if now, err = p.resident(); max(now, last)-min(now, last) > last/100 {
			last, since = now, time.Now()
		}
	}
	return last, err
}

// cpu is how much CPU time the process has used.
func (p *process) cpu() (time.Duration, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.command.Process.Pid))
	if err != nil {
		return 0, err
	}
	const ticks = 100 // a second, for whoever reads it
	fields := strings.Fields(string(stat))
	if len(fields) < 15 {
		return 0, errors.New("the kernel does not say how much CPU time a process has used")
	}
	user, err1 := strconv.Atoi(fields[13])
	system, err2 := strconv.Atoi(fields[14])
	return time.Duration(user+system) * time.Second / ticks, errors.Join(err1, err2)
}

// resident asks the kernel for what a container is charged for: memory that belongs to no file.
func (p *process) resident() (float64, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.command.Process.Pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(status)) {
		if rest, found := strings.CutPrefix(line, "RssAnon:"); found {
			kilobytes, err := strconv.ParseFloat(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 64)
			return kilobytes * 1024, err
		}
	}
	return 0, errors.New("the kernel does not say how much memory a process has")
}
