// Command kubectl-m2m is a plugin of kubectl: kubectl m2m.
package main

import (
	"context"
	"os"
	"path/filepath"
	"runtime/debug"

	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/m2m-operator/m2m-operator/internal/cli"
)

// completer is the name by which kubectl runs a plugin to complete its arguments.
const completer = "kubectl_complete-m2m"

// main leaves signals to the system, as kubectl does: there is nothing to put in order, and whoever interrupts a command
// that computes, or waits for its input, wants it to end.
func main() {
	debug.SetGCPercent(400) // it is over before memory would be short, and a kustomization makes much garbage
	os.Exit(cli.Run(context.Background(), arguments(os.Args), cli.Environment{
		IOStreams: genericiooptions.IOStreams{In: os.Stdin, Out: os.Stdout, ErrOut: os.Stderr},
		Colours:   cli.Terminal(os.Stdout),
	}))
}

// arguments are those of the command line. Under the name that kubectl asks for completions, they are to be completed.
func arguments(command []string) []string {
	if filepath.Base(command[0]) == completer {
		return append([]string{"__complete"}, command[1:]...)
	}
	return command[1:]
}
