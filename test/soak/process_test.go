//go:build soak

package soak

import (
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/m2m-operator/m2m-operator/test/suite"
)

// process is an issuer or a manager.
type process struct {
	cmd  *exec.Cmd
	log  *suite.Log
	done chan struct{}
}

// launch starts a command, which ends with the test at the latest.
func (w *world) launch(t testing.TB, cmd *exec.Cmd) *process {
	t.Helper()
	p := &process{cmd: cmd, log: suite.NewLog(w.Log), done: make(chan struct{})}
	cmd.Stderr = p.log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = cmd.Wait() // how it ended is known: by a signal of ours
		close(p.done)
	}()
	w.t.Cleanup(func() { p.end(syscall.SIGKILL) })
	return p
}

func (p *process) signal(s syscall.Signal) { _ = p.cmd.Process.Signal(s) } // it may have ended

// end sends a signal and waits until the process has ended by it.
func (p *process) end(s syscall.Signal) {
	p.signal(s)
	<-p.done
}

func (p *process) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

func (p *process) logged(text string) bool { return strings.Contains(p.log.String(), text) }

// leads is whether a manager has begun to lead.
func (p *process) leads() bool { return p.logged(`"msg":"leading"`) }

// awaitLog waits until something is logged.
func (p *process) awaitLog(t testing.TB, text string) {
	t.Helper()
	suite.Eventually(t, func() string {
		switch {
		case p.logged(text):
			return ""
		case p.ended():
			t.Fatalf("the process has ended:\n%s", p.log)
		}
		return "nothing is logged that holds " + text
	})
}

// ops asks an issuer's operations port.
func (i *issuer) ops(path string) (int, string) {
	client := http.Client{Timeout: readinessTimeout, Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Get("http://" + i.opsAddress + path)
	if err != nil {
		return 0, err.Error()
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return 0, err.Error()
	}
	return response.StatusCode, string(body)
}

func (i *issuer) awaitReady(t testing.TB) {
	t.Helper()
	suite.Eventually(t, func() string {
		if status, body := i.ops("/readyz"); status != http.StatusOK {
			return fmt.Sprint(status, " ", body)
		}
		return ""
	})
}

// metrics are the values of all series, by name with labels.
func (i *issuer) metrics() map[string]float64 {
	values := map[string]float64{}
	_, body := i.ops("/metrics")
	for line := range strings.Lines(body) {
		series, text, _ := strings.Cut(strings.TrimSpace(line), " ")
		if value, err := strconv.ParseFloat(text, 64); err == nil {
			values[series] = value
		}
	}
	return values
}
