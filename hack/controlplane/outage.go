package controlplane

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Kill ends kube-apiserver and etcd at once, as a machine does that fails. What they have written stays.
func (cp *ControlPlane) Kill() error {
	for _, name := range []string{"kube-apiserver", "etcd"} {
		text, err := os.ReadFile(filepath.Join(cp.dir, name+".pid"))
		if err != nil {
			return err
		}
		pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
		if err != nil {
			return fmt.Errorf("the process id of %s: %w", name, err)
		}
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			return fmt.Errorf("kill %s: %w", name, err)
		}
		for !errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) { // until it has been waited for
			time.Sleep(time.Millisecond)
		}
	}
	return nil
}

// Revive starts what Kill has ended: on the same ports, with the same data.
func (cp *ControlPlane) Revive() error {
	etcdLog, err := cp.openLog("etcd")
	if err != nil {
		return err
	}
	defer func() { _ = etcdLog.Close() }() // the process has its own copy
	apiServerLog, err := cp.openLog("kube-apiserver")
	if err != nil {
		return err
	}
	defer func() { _ = apiServerLog.Close() }()
	etcd, apiServer := cp.plane.Etcd, cp.plane.APIServer
	etcd.Out, etcd.Err, apiServer.Out, apiServer.Err = etcdLog, etcdLog, apiServerLog, apiServerLog
	if err := etcd.Start(); err != nil {
		return fmt.Errorf("start etcd again: %w\n%s", err, cp.logTails())
	}
	if err := apiServer.Start(); err != nil {
		return fmt.Errorf("start kube-apiserver again: %w\n%s", err, cp.logTails())
	}
	return nil
}

// DataDir is where etcd keeps everything. It may be copied, and put back, between Kill and Revive.
func (cp *ControlPlane) DataDir() string { return cp.plane.Etcd.DataDir }
