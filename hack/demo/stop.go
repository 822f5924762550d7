package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"slices"
	"syscall"
	"time"
)

// stopPatience is longer than the stage gives to its own processes.
const stopPatience = 40 * time.Second

// stop ends a stage and a demo's cluster, whoever has started them, and is content when there is none.
func stop(at, inPods paths, out *terminal) error {
	pid, err := runningStage(at)
	switch {
	case err != nil:
		return err
	case pid == 0:
		err = endLeftovers(at)
	default:
		err = endStage(at, pid)
	}
	hadCluster, clusterErr := stopCluster(inPods)
	if err := errors.Join(err, clusterErr); err != nil {
		return err
	}
	if pid == 0 && !hadCluster {
		out.line("No demo is running.")
		return nil
	}
	out.line("The demo is stopped.")
	return nil
}

func endStage(at paths, pid int) error {
	before, err := readState(at)
	if err != nil {
		return err
	}
	if err := syscall.Kill(pid, syscall.SIGTERM); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("end the stage, process %d: %w", pid, err)
	}
	for deadline := time.Now().Add(stopPatience); ; {
		running, err := runningStage(at)
		if err != nil {
			return err
		}
		if running != pid {
			break
		}
		if time.Now().After(deadline) {
			_ = syscall.Kill(-pid, syscall.SIGKILL) // all it has started, but for the control plane, which ends with it by itself
			deadline = time.Now().Add(stopPatience)
		}
		time.Sleep(pollInterval)
	}
	return errors.Join(endProcessesOf(before), endLeftovers(at))
}

// endLeftovers ends what a stage that was killed itself could not end, and removes its files.
func endLeftovers(at paths) error {
	s, err := readState(at)
	if err == nil {
		err = endProcessesOf(s)
	}
	return errors.Join(err, os.RemoveAll(at.env), os.RemoveAll(at.run))
}

// endProcessesOf kills the processes of a stage that is gone. Process ids find new owners: one is taken for ours only
// if it is still in the stage's own process group.
func endProcessesOf(s state) error {
	if s.PID == 0 {
		return nil
	}
	for _, pid := range s.Processes {
		if group, err := syscall.Getpgid(pid); err != nil || group != s.PID {
			continue
		}
		if err := syscall.Kill(-s.PID, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("end what the stage has left running: %w", err)
		}
		return awaitGone(s.Processes)
	}
	return nil
}

func awaitGone(pids []int) error {
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(pollInterval) {
		if !slices.ContainsFunc(pids, alive) {
			return nil
		}
	}
	return fmt.Errorf("some of the processes %v do not end", pids)
}

// alive is false for a zombie too, which nobody may ever collect in a container. Without /proc there is no container.
func alive(pid int) bool {
	if syscall.Kill(pid, 0) != nil {
		return false
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	return err != nil || !bytes.Contains(status, []byte("\nState:\tZ"))
}
