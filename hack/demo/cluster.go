package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"
)

const (
	clusterScript = "hack/cluster/cluster.sh"
	// clusterNetwork is where the cluster's addresses are: no proxy may be asked for these.
	clusterNetwork = "198.18.0.0/15"
)

// cluster of hack/cluster, in front of which the demo plays.
type cluster struct {
	at  paths
	out *terminal
	// found: it was up already, and whoever has brought it up keeps it.
	found bool
}

// ready is there while the cluster is up, and after a crash of the machine.
func (p paths) ready() string { return filepath.Join(filepath.Dir(p.log), "ready") }

// mark says that the cluster is a demo's. It lies with the cluster's own files, and so goes with it.
func (p paths) mark() string { return filepath.Join(filepath.Dir(p.log), "of-the-demo") }

// images of what runs in the pods, as `make image image-demo` packs them.
func (p paths) images() (tarballs []string) {
	for _, name := range []string{"m2m-operator", "course-api", "publisher"} {
		tarballs = append(tarballs, filepath.Join(p.bin, name+"-"+runtime.GOARCH+".tar"))
	}
	return tarballs
}

// raise brings the cluster up and gives it the images. A cluster that an earlier demo has left makes room for a fresh one.
func (c *cluster) raise(ctx context.Context) error {
	if exists(c.at.mark()) {
		began := time.Now()
		if err := c.end(); err != nil {
			return err
		}
		c.out.okTook(time.Since(began), "the cluster that KEEP=1 had left running is gone")
	}
	c.found = exists(c.at.ready()) && c.script(ctx, nil, "in", "true") == nil
	for _, tarball := range c.at.images() {
		if !exists(tarball) {
			return fmt.Errorf("%s is missing: run `make demo CLUSTER=1`, which packs it", tarball)
		}
	}
	if c.found {
		c.out.ok("a cluster is up already: it is used, and stays")
	} else {
		began := time.Now()
		if err := c.script(ctx, c.out.block, "up"); err != nil {
			return fmt.Errorf("bring up the cluster: %w", err)
		}
		if err := os.WriteFile(c.at.mark(), nil, 0o600); err != nil {
			return err
		}
		c.out.okTook(time.Since(began), "the cluster is up")
	}
	began := time.Now()
	for _, tarball := range c.at.images() {
		if err := c.script(ctx, c.out.block, "load-image", tarball); err != nil {
			return fmt.Errorf("load the image %s: %w", filepath.Base(tarball), err)
		}
	}
	c.out.okTook(time.Since(began), "it has the images of the operator, the course API and the publisher")
	return os.Setenv("NO_PROXY", strings.TrimPrefix(os.Getenv("NO_PROXY")+","+clusterNetwork, ","))
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// end leaves nothing of the cluster, whatever state it is in.
func (c *cluster) end() error {
	err := c.script(context.Background(), c.out.block, "down")
	if err != nil {
		err = fmt.Errorf("take the cluster down: %w", err)
	}
	return errors.Join(err, os.RemoveAll(c.at.run))
}

// script runs cluster.sh in a process group of its own: a Ctrl-C is this process' to pass on, so that nothing that the
// script has started is left to hold its lock. What it says of its progress goes to say, if that is not nil.
func (c *cluster) script(ctx context.Context, say func(string), args ...string) error {
	cmd := exec.CommandContext(ctx, clusterScript, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	progress, err := cmd.StderrPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	for lines := bufio.NewScanner(progress); lines.Scan(); {
		if say != nil {
			say(lines.Text())
		}
	}
	return cmd.Wait()
}

// stopCluster ends the demo that is playing in pods, or the cluster that one has left, and says whether there was any.
func stopCluster(at paths) (was bool, err error) {
	pid, err := runningStage(at)
	if err != nil {
		return false, err
	}
	if pid != 0 {
		if err := endPlaying(at, pid); err != nil {
			return true, err
		}
	}
	if !exists(at.mark()) {
		return pid != 0, nil
	}
	c := &cluster{at: at, out: newTerminal(os.Stderr)}
	return true, c.end()
}

// endPlaying ends a demo that is playing, which takes its cluster down by itself.
func endPlaying(at paths, pid int) error {
	if err := syscall.Kill(pid, syscall.SIGTERM); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("end the demo, process %d: %w", pid, err)
	}
	for deadline := time.Now().Add(stopPatience); time.Now().Before(deadline); time.Sleep(pollInterval) {
		if running, err := runningStage(at); running != pid {
			return err
		}
	}
	return fmt.Errorf("the demo, process %d, does not end", pid)
}
