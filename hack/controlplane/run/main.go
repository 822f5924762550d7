// Command run leaves a control plane running, with this repository's kinds installed, until it is told to stop.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/m2m-operator/m2m-operator/hack/controlplane"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func run() (err error) {
	root, err := controlplane.RepoRoot()
	if err != nil {
		return err
	}
	// A flag set of its own: controller-runtime puts a -kubeconfig, to read, on the common one.
	flags := flag.NewFlagSet("controlplane", flag.ExitOnError)
	kubeconfig := flags.String("kubeconfig", filepath.Join(root, "bin", "controlplane.kubeconfig"),
		"the file to write the administrator's kubeconfig to; removed at the end")
	logs := flags.String("logs", "", "a directory for etcd.log and kube-apiserver.log (default: a temporary one)")
	if err := flags.Parse(os.Args[1:]); err != nil {
		return err
	}

	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer cancel()

	fmt.Fprintln(os.Stderr, "Starting etcd and kube-apiserver ...")
	cp, err := controlplane.Start(ctx, controlplane.Options{LogDir: *logs})
	if err != nil {
		return err
	}
	defer func() {
		fmt.Fprintln(os.Stderr, "Stopping ...")
		if stopErr := cp.Stop(); err == nil {
			err = stopErr
		}
	}()
	if err := cp.InstallManifests(ctx, filepath.Join(root, "config", "crd", "bases")); err != nil {
		return err
	}
	if err := controlplane.WriteKubeconfig(*kubeconfig, cp.AdminKubeconfig()); err != nil {
		return err
	}
	defer func() { _ = os.Remove(*kubeconfig) }() // it leads nowhere from here on
	announce(cp, *kubeconfig)
	<-ctx.Done()
	return nil
}

// announce puts the line to be evaluated on stdout, and what a person wants to know on stderr.
func announce(cp *controlplane.ControlPlane, kubeconfig string) {
	fmt.Printf("export KUBECONFIG=%s\n", kubeconfig)
	fmt.Fprintf(os.Stderr, `
The control plane is up at %s. In another shell, run the line above, and then for example
  kubectl api-resources --categories=m2m
Its logs are in %s.
To stop it: Ctrl-C here, or kill %d
`, cp.Admin().Host, cp.LogDir(), os.Getpid())
}
