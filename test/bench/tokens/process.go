package tokens

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"
)

// process is a server process of ours.
type process struct {
	addresses
	command  *exec.Cmd
	log      *exec.Cmd // takes every line that it logs, as a container runtime does
	commands io.WriteCloser
	answers  *json.Decoder
	trust    *tls.Config
}

// start runs this program again, as a server of a world.
func start(ctx context.Context, on *processors, role string, w world) (*process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	p := &process{command: exec.CommandContext(ctx, self, role), log: exec.CommandContext(ctx, self, RoleLog)} //nolint:gosec // it is this program
	p.command.Stderr = os.Stderr
	if p.commands, err = p.command.StdinPipe(); err != nil {
		return nil, err
	}
	if p.log.Stdin, err = p.command.StdoutPipe(); err != nil {
		return nil, err
	}
	answers, answering, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	p.command.ExtraFiles = []*os.File{answering}
	p.answers = json.NewDecoder(bufio.NewReader(answers))
	authorities := x509.NewCertPool()
	authorities.AppendCertsFromPEM(w.Certificate)
	p.trust = &tls.Config{RootCAs: authorities, ServerName: serverName, MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}}
	if err := on.serve(p.command.Start); err != nil {
		return nil, err
	}
	_ = answering.Close()
	if err := p.log.Start(); err != nil {
		return nil, err
	}
	if err := json.NewEncoder(p.commands).Encode(w); err != nil {
		return nil, fmt.Errorf("%s: %w", role, err)
	}
	if err := p.answers.Decode(&p.addresses); err != nil {
		return nil, fmt.Errorf("%s does not come up: %w", role, err)
	}
	return p, nil
}

// order carries out a command, and returns what the process has consumed by then.
func (p *process) order(command string) (usage, error) {
	if _, err := fmt.Fprintln(p.commands, command); err != nil {
		return usage{}, err
	}
	var u usage
	err := p.answers.Decode(&u)
	return u, err
}

// restInterval is how long a process must have done nothing to be at rest, but for answering that it has, which takes less
// than restTolerance.
const (
	restInterval  = 3 * time.Millisecond
	restTolerance = 300 * time.Microsecond
)

// atRest is what the process has consumed once it has finished: a collection of garbage that began with its last request
// goes on after that.
func (p *process) atRest() (usage, error) {
	before, err := p.order(commandUsage)
	for err == nil {
		time.Sleep(restInterval)
		var now usage
		if now, err = p.order(commandUsage); now.CPU-before.CPU < restTolerance {
			return now, err
		}
		before = now
	}
	return before, err
}

// stop ends the process, and what reads its log, which then comes to its end.
func (p *process) stop() error {
	return errors.Join(p.commands.Close(), p.log.Wait(), p.command.Wait())
}
