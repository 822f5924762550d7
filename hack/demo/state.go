package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// state is what the stage tells of itself.
type state struct {
	PID        int             `json:"pid"`
	Kept       bool            `json:"kept"` // the demo in front of it has ended
	IssuerURL  string          `json:"issuerURL"`
	CourseAPI  string          `json:"courseAPI"`
	ManagerPID int             `json:"managerPID"`
	Issuers    []issuerProcess `json:"issuers"`
	Processes  []int           `json:"processes"` // all that the stage has started, but for the control plane
}

// issuerProcess is one of the issuers behind the issuer URL.
type issuerProcess struct {
	PID     int    `json:"pid"`
	Address string `json:"address"`
	Ops     string `json:"ops"`
}

func (p issuerProcess) readyURL() string { return "http://" + p.Ops + "/readyz" }

func writeState(at paths, s state) error {
	text, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	return writePrivate(at.state(), text)
}

// readState is empty when the stage has not got that far.
func readState(at paths) (state, error) {
	var s state
	text, err := os.ReadFile(at.state())
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err != nil {
		return s, err
	}
	return s, json.Unmarshal(text, &s)
}

// takeLock makes this process the one stage. The lock is the kernel's, so it ends with the process, however that ends.
func takeLock(at paths) (*os.File, error) {
	var f *os.File
	var err error
	for range 20 { // someone who only looks holds it for a moment
		if f, err = lockFile(at, syscall.LOCK_EX); f != nil || err != nil {
			break
		}
		time.Sleep(pollInterval)
	}
	if err != nil {
		return nil, err
	}
	if f == nil {
		return nil, errors.New("another demo is running")
	}
	if err := f.Truncate(0); err != nil {
		return nil, err
	}
	_, err = f.WriteString(strconv.Itoa(os.Getpid()))
	return f, err
}

// lockFile is the locked file, or nil if another process has it.
func lockFile(at paths, how int) (*os.File, error) {
	if err := os.MkdirAll(filepath.Dir(at.lock), 0o755); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(at.lock, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	err = syscall.Flock(int(f.Fd()), how|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return nil, f.Close()
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", at.lock, err), f.Close())
	}
	return f, nil
}

// runningStage is the process id of the stage, or 0 if there is none.
func runningStage(at paths) (int, error) {
	f, err := lockFile(at, syscall.LOCK_SH) // shared: two that look do not take each other for the stage
	if err != nil {
		return 0, err
	}
	if f != nil {
		return 0, f.Close()
	}
	text, err := os.ReadFile(at.lock)
	if err != nil {
		return 0, err
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return 0, errors.New("a demo is starting at this moment: try again")
	}
	return pid, nil
}
