package outages

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/m2m-operator/m2m-operator/internal/snapshot"
	"github.com/m2m-operator/m2m-operator/test/suite"
)

// container is what stays when an issuer's container restarts: its volumes.
type container struct {
	t       testing.TB
	options snapshot.Options
	issuer  string
}

func newContainer(t testing.TB) *container {
	t.Helper()
	dir := t.TempDir()
	c := &container{t: t, issuer: "default", options: snapshot.Options{
		Dir: dir, KeyFile: filepath.Join(dir, "pepper"), Namespace: suite.InstallNamespace, TokenIssuer: "default",
	}}
	c.setPepper(pepper)
	return c
}

func (c *container) setPepper(pepper []byte) {
	c.t.Helper()
	if err := os.WriteFile(c.options.KeyFile, pepper, 0o600); err != nil {
		c.t.Fatal(err)
	}
}

// copy of the container, with its snapshot as it is now.
func (c *container) copy() *container {
	c.t.Helper()
	other := newContainer(c.t)
	text, err := os.ReadFile(c.options.Path())
	if err == nil {
		err = os.WriteFile(other.options.Path(), text, 0o600)
	}
	if err != nil {
		c.t.Fatal(err)
	}
	return other
}

// saved is what the snapshot says of a thing now, "" if nothing.
func (c *container) saved(kind, key string) string {
	c.t.Helper()
	opener, err := c.options.ReadKey()
	if err != nil {
		c.t.Fatal(err)
	}
	s, err := snapshot.Open(c.options.Path(), opener)
	if err != nil {
		return ""
	}
	defer s.Close()
	value, err := s.Get(kind, key)
	if err != nil {
		c.t.Fatal(err)
	}
	return string(value)
}

// awaitSaved waits until the snapshot says something of a thing.
func (c *container) awaitSaved(kind, key, want string) {
	c.t.Helper()
	suite.Eventually(c.t, func() string {
		if value := c.saved(kind, key); !strings.Contains(value, want) {
			return fmt.Sprintf("of %s %s the snapshot says %q, want %q", kind, key, value, want)
		}
		return ""
	})
}

// process is an issuer that runs.
type process struct {
	t                   testing.TB
	cmd                 *exec.Cmd
	done                chan struct{}
	log                 *suite.Log
	address, opsAddress string
}

// start starts the issuer and waits until it listens.
func (c *container) start() *process {
	c.t.Helper()
	p := &process{t: c.t, done: make(chan struct{}), log: suite.NewLog(world.Log), cmd: exec.Command(binary,
		"--token-issuer="+c.issuer, "--namespace="+suite.InstallNamespace, "--kubeconfig="+kubeconfig, "--listen=127.0.0.1:0",
		"--ops-listen=127.0.0.1:0", "--drain-delay=0s", "--snapshot-dir="+c.options.Dir, "--snapshot-key-file="+c.options.KeyFile)}
	p.cmd.Stdout, p.cmd.Stderr = world.Audit, p.log
	if err := p.cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	go func() {
		_ = p.cmd.Wait() // how it ended is known: by a signal of ours
		close(p.done)
	}()
	c.t.Cleanup(p.kill)
	line := p.awaitLog(`"msg":"serving"`)
	var serving struct{ Address, OpsAddress string }
	if err := json.Unmarshal([]byte(line), &serving); err != nil {
		c.t.Fatal(err)
	}
	p.address, p.opsAddress = serving.Address, serving.OpsAddress
	return p
}

// kill ends it as a crash does.
func (p *process) kill() {
	_ = p.cmd.Process.Kill() // it may have ended
	<-p.done
}

// awaitLog waits until a line that holds the text is logged, and returns it.
func (p *process) awaitLog(text string) (line string) {
	p.t.Helper()
	suite.Eventually(p.t, func() string {
		for line = range strings.Lines(p.log.String()) {
			if strings.Contains(line, text) {
				return ""
			}
		}
		select {
		case <-p.done:
			p.t.Fatalf("the issuer has ended:\n%s", p.log)
		default:
		}
		return "nothing is logged that holds " + text
	})
	return line
}

func (p *process) awaitReady() {
	p.t.Helper()
	suite.Eventually(p.t, func() string {
		if a := p.ops("/readyz"); a.status != 200 {
			return a.String()
		}
		return ""
	})
}

// awaitMetric waits until a series has the value.
func (p *process) awaitMetric(series, want string) {
	p.t.Helper()
	suite.Eventually(p.t, func() string {
		if value := p.metric(series); value != want {
			return fmt.Sprintf("%s is %q, want %q", series, value, want)
		}
		return ""
	})
}
