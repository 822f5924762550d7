// Command demo shows the operator at work on a real API server, without a cluster: the course-management scenario of
// config/samples/course-management, with the manager and two issuers as processes of their own.
//
//	demo        plays the scenario; with KEEP=1 in the environment it leaves everything running
//	demo stop   ends what KEEP=1 left running
//
// What runs is held by a background process of its own, the stage; this process plays in front of it. With CLUSTER=1 in
// the environment there is no stage: the same scenario is played in pods, on the cluster of hack/cluster.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/m2m-operator/m2m-operator/hack/controlplane"
)

func main() {
	ctx, stopNotify := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	go func() {
		<-ctx.Done()
		if !wants("CLUSTER") { // which nobody else would take down; it takes a second
			stopNotify() // a second Ctrl-C ends this process at once; the stage notices and ends too
		}
	}()
	err := run(ctx, os.Args[1:])
	stopNotify()
	if err != nil {
		if !errors.Is(err, errTold) {
			fmt.Fprintln(os.Stderr, "demo:", err)
		}
		os.Exit(1)
	}
}

// errTold ends the process with a status of failure when everything there is to say has been said.
var errTold = errors.New("failed")

func run(ctx context.Context, args []string) error {
	root, err := controlplane.RepoRoot()
	if err != nil {
		return err
	}
	if err := os.Chdir(root); err != nil { // paths of binaries, manifests and samples are relative to it
		return err
	}
	at := newPaths(root)
	out := newTerminal(os.Stdout)
	switch {
	case len(args) == 0 && wants("CLUSTER"):
		return playInPods(ctx, newClusterPaths(root), out, wants("KEEP"))
	case len(args) == 0:
		return play(ctx, at, out, wants("KEEP"))
	case len(args) == 1 && args[0] == "stop":
		return stop(at, newClusterPaths(root), out)
	case len(args) == 1 && args[0] == stageCommand:
		return runStage(ctx, at)
	}
	return fmt.Errorf("unknown arguments %q: want none, or stop", args)
}

func wants(variable string) bool {
	value := os.Getenv(variable)
	return value != "" && value != "0" && value != "false"
}

// paths of what the demo reads and writes.
type paths struct {
	bin        string // binaries: the operator's and the demo's
	run        string // what exists while the stage runs, credentials among it
	log        string // logs of the last run
	lock       string // held by the stage as long as it lives; holds its process id
	env        string // shell assignments, while a stage is kept
	kubeconfig string // the administrator's
}

func newPaths(root string) paths {
	bin := filepath.Join(root, "bin")
	own := filepath.Join(bin, "demo-stage") // bin/demo is this program
	return paths{
		bin: bin, run: filepath.Join(own, "run"), log: filepath.Join(own, "log"),
		lock: filepath.Join(own, "lock"), env: filepath.Join(bin, "demo.env"),
		kubeconfig: filepath.Join(own, "run", "admin.kubeconfig"),
	}
}

// newClusterPaths are those of the demo in pods: what is in bin/cluster is the cluster's, and gone when that is down.
func newClusterPaths(root string) paths {
	bin := filepath.Join(root, "bin")
	own, cluster := filepath.Join(bin, "demo-cluster"), filepath.Join(bin, "cluster")
	return paths{
		bin: bin, run: filepath.Join(own, "run"), log: filepath.Join(cluster, "log"),
		lock: filepath.Join(own, "lock"), kubeconfig: filepath.Join(cluster, "admin.kubeconfig"),
	}
}

func (p paths) state() string            { return filepath.Join(p.run, "stage.json") }
func (p paths) credentials() string      { return filepath.Join(p.run, "publisher-credentials") }
func (p paths) logOf(name string) string { return filepath.Join(p.log, name+".log") }
