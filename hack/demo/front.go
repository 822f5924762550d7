package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// front is the demo's view of the stage that it has started.
type front struct {
	at      paths
	cmd     *exec.Cmd
	stdin   io.WriteCloser
	reports chan report // closed when the stage has no more to say
	state   state
}

// raiseStage starts the stage in a session of its own, where no Ctrl-C reaches it, and waits until it stands. Should
// this process end in whatever way, the stage reads the end of its standard input and ends too.
func raiseStage(ctx context.Context, at paths, assets string, out *terminal) (*front, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(at.log, 0o755); err != nil {
		return nil, err
	}
	output, err := os.OpenFile(at.logOf(stageCommand), os.O_CREATE|os.O_TRUNC|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	defer output.Close()
	read, write, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	f := &front{at: at, cmd: exec.Command(self, stageCommand), reports: make(chan report)}
	f.cmd.Stdout, f.cmd.Stderr = output, output
	f.cmd.ExtraFiles = []*os.File{write} // reportFD
	f.cmd.Env = append(os.Environ(), "KUBEBUILDER_ASSETS="+assets)
	f.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if f.stdin, err = f.cmd.StdinPipe(); err != nil {
		return nil, errors.Join(err, read.Close(), write.Close())
	}
	if err := f.cmd.Start(); err != nil {
		return nil, errors.Join(fmt.Errorf("start the stage: %w", err), read.Close(), write.Close())
	}
	_ = write.Close() // the stage has its own copy, and its end shall be seen
	go f.read(read)
	if err := f.awaitReady(ctx, out); err != nil {
		return nil, errors.Join(err, f.end())
	}
	return f, nil
}

func (f *front) read(pipe io.ReadCloser) {
	defer pipe.Close()
	defer close(f.reports)
	decoder := json.NewDecoder(pipe)
	for {
		var r report
		if decoder.Decode(&r) != nil {
			return // the stage is gone
		}
		f.reports <- r
	}
}

func (f *front) awaitReady(ctx context.Context, out *terminal) error {
	began := time.Now()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case r, open := <-f.reports:
			switch {
			case !open:
				return errors.New("the background process ended before all was up")
			case r.Failed != "":
				return errors.New(r.Failed)
			case r.Ready != nil:
				f.state = *r.Ready
				return nil
			case r.Done != "":
				out.okTook(time.Since(began), "%s", r.Done)
				began = time.Now()
			}
		}
	}
}

// watch is a context that ends, with the cause, when the stage breaks down. It takes all reports until then: call it
// once, and stop it before the next report is of interest.
func (f *front) watch(parent context.Context) (ctx context.Context, stop func()) {
	ctx, cancel := context.WithCancelCause(parent)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		select {
		case <-ctx.Done():
		case r, open := <-f.reports:
			if !open {
				cancel(errors.New("the background process has ended"))
				return
			}
			cancel(errors.New(r.Failed))
		}
	}()
	return ctx, func() { cancel(context.Canceled); <-ended }
}

// keep lets the stage outlive this process.
func (f *front) keep() error {
	if _, err := io.WriteString(f.stdin, wordKeep+"\n"); err != nil {
		return fmt.Errorf("keep everything running: %w", err)
	}
	for r := range f.reports {
		if r.Kept {
			return nil
		}
	}
	return errors.New("keep everything running: the background process has ended")
}

// end ends the stage and waits until everything is gone.
func (f *front) end() error {
	_ = f.stdin.Close()
	go func() {
		for range f.reports {
			continue // what it says now changes nothing, but it must not block on saying it
		}
	}()
	_ = f.cmd.Wait() // a failure has been reported in words
	return endLeftovers(f.at)
}
