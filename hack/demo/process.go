package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"time"
)

// process that the stage holds. It is never restarted: people kill it to see what happens.
type process struct {
	name string
	cmd  *exec.Cmd
	done chan struct{} // closed when the process has ended
}

func startProcess(at paths, name, binary string, args ...string) (*process, error) {
	output, err := os.Create(at.logOf(name))
	if err != nil {
		return nil, err
	}
	defer output.Close() // the process has its own copy
	p := &process{name: name, cmd: exec.Command(binary, args...), done: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = output, output
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	go func() {
		_ = p.cmd.Wait() // how it ended is read off its state
		close(p.done)
	}()
	return p, nil
}

func (p *process) pid() int { return p.cmd.Process.Pid }

// end asks the process to end, and insists after a while.
func (p *process) end(patience time.Duration) {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	_ = p.cmd.Process.Signal(syscall.SIGCONT) // a frozen process hears nothing else
	select {
	case <-p.done:
	case <-time.After(patience):
		_ = p.cmd.Process.Kill()
		<-p.done
	}
}

// awaitReady waits until the URL answers 200, as a kubelet asks for readiness, and gives up when the process is gone.
func (p *process) awaitReady(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		last := askReady(ctx, url)
		if last == nil {
			return nil
		}
		select {
		case <-p.done:
			return fmt.Errorf("%s has ended: %s", p.name, p.cmd.ProcessState)
		case <-ctx.Done():
			return fmt.Errorf("%s did not become ready: %w: %w", p.name, context.Cause(ctx), last)
		case <-time.After(pollInterval):
		}
	}
}

// pollInterval between two looks at a condition that comes true soon.
const pollInterval = 30 * time.Millisecond

func askReady(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s", url, response.Status)
	}
	return nil
}

// freeAddresses of this machine. They lie below the ports that systems hand out for outgoing connections, so that none
// of these takes one between now and its use.
func freeAddresses(n int) ([]string, error) {
	const first, count, attempts = 20000, 10000, 1000
	var out []string
	taken := map[int]bool{}
	for range attempts {
		if len(out) == n {
			return out, nil
		}
		port := first + rand.IntN(count)
		address := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
		listener, err := net.Listen("tcp", address)
		if err != nil || taken[port] {
			continue
		}
		_ = listener.Close()
		taken[port] = true
		out = append(out, address)
	}
	return nil, errors.New("found no free ports between 20000 and 30000 on 127.0.0.1")
}
