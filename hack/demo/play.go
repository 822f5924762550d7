package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// play is the demo, from nothing to the verdict.
func play(ctx context.Context, at paths, out *terminal, keep bool) error {
	began := time.Now()
	out.line("%s", out.paint(bold, "m2m-operator demo: a nightly job may publish courses, and nothing else"))
	out.section("A Kubernetes API server, the manager and two issuers, as processes on this machine")
	assets, err := prepare(ctx, at, out)
	if err != nil {
		return err // nothing has been started that could have written a log
	}
	stageFront, err := raiseStage(ctx, at, assets, out)
	if err != nil {
		return explain(ctx, at, out, err, false)
	}
	err = playBefore(ctx, at, out, stageFront, keep)
	failed := err != nil
	if keep && ctx.Err() == nil { // what has failed is worth a look too
		if keepErr := stageFront.keep(); keepErr != nil {
			return explain(ctx, at, out, errors.Join(err, keepErr, stageFront.end()), false)
		}
	} else if endErr := stageFront.end(); endErr != nil {
		err = errors.Join(err, endErr)
	}
	if err != nil {
		return explain(ctx, at, out, err, failed && keep && ctx.Err() == nil)
	}
	out.verdict("All of it happened, in %.0f s.", time.Since(began).Seconds())
	return nil
}

// playBefore plays the scenario before the stage, for as long as the stage stands.
func playBefore(parent context.Context, at paths, out *terminal, f *front, keep bool) error {
	ctx, stopWatching := f.watch(parent)
	defer stopWatching()
	s, err := newScenario(at, out, f.state)
	if err != nil {
		return err
	}
	if err := s.play(ctx); err != nil {
		if cause := context.Cause(ctx); cause != nil && parent.Err() == nil {
			return fmt.Errorf("%w (%w)", cause, err)
		}
		return err
	}
	if !keep {
		return nil
	}
	if err := writeEnvFile(at, f.state, s.credential); err != nil {
		return err
	}
	s.sayWhatToTry()
	return nil
}

// prepare makes or finds everything that the stage needs; assets is the directory of the control plane's binaries.
func prepare(ctx context.Context, at paths, out *terminal) (assets string, err error) {
	if err := endKeptStage(at, out); err != nil {
		return "", err
	}
	for _, name := range []string{"m2m-manager", "m2m-issuer", "course-api", "publisher"} {
		if _, err := os.Stat(filepath.Join(at.bin, name)); err != nil {
			return "", fmt.Errorf("bin/%s is missing: run `make build` first, or `make demo`, which does", name)
		}
	}
	began := time.Now()
	if assets, err = findAssets(ctx); err != nil {
		return "", err
	}
	if took := time.Since(began); took > 5*time.Second {
		out.okTook(took, "etcd, kube-apiserver and kubectl are there; the next demo finds them")
	}
	return assets, linkKubectl(at, assets)
}

// endKeptStage makes room. A stage that was kept is worth a new demo's while; one that a demo is playing before is not.
func endKeptStage(at paths, out *terminal) error {
	pid, err := runningStage(at)
	if err != nil || pid == 0 {
		return errors.Join(err, endLeftovers(at))
	}
	s, err := readState(at)
	if err != nil {
		return err
	}
	if !s.Kept {
		return errors.New("another demo is running at this moment: let it end, or end it with `make demo-stop`")
	}
	began := time.Now()
	if err := endStage(at, pid); err != nil {
		return err
	}
	out.okTook(time.Since(began), "the demo that KEEP=1 had left running is ended")
	return nil
}

// findAssets is the directory of etcd, kube-apiserver and kubectl. Building them takes minutes, once: the script's
// progress goes to the terminal.
func findAssets(ctx context.Context) (string, error) {
	cmd := exec.CommandContext(ctx, "hack/kubernetes/assets.sh")
	cmd.Stderr = os.Stderr
	directory, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("find or build etcd, kube-apiserver and kubectl: %w", err)
	}
	return strings.TrimSpace(string(directory)), nil
}

// linkKubectl makes the commands that the demo prints work on a machine without kubectl.
func linkKubectl(at paths, assets string) error {
	link := filepath.Join(at.bin, "kubectl")
	if err := os.RemoveAll(link); err != nil {
		return err
	}
	return os.Symlink(filepath.Join(assets, "kubectl"), link)
}

// explain says what has failed, and shows what the processes said last.
func explain(ctx context.Context, at paths, out *terminal, err error, kept bool) error {
	if ctx.Err() != nil {
		out.failed("Interrupted. Everything is stopped.")
		return errTold
	}
	out.failed("%v", err)
	logs, _ := filepath.Glob(filepath.Join(at.log, "*.log"))
	for _, path := range logs {
		if name := filepath.Base(path); name != "etcd.log" && name != "kube-apiserver.log" {
			out.showEnd(path)
		}
	}
	out.say("All logs are in %s.", at.log)
	if kept {
		out.say("KEEP=1: everything still runs, KUBECONFIG=%s; `make demo-stop` ends it.", at.kubeconfig)
	}
	return errTold
}

func tail(path string, lines int) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	all := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}
