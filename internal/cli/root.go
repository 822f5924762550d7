package cli

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/m2m-operator/m2m-operator/internal/version"
)

// Exit statuses. Scripts may rely on them.
const (
	// ExitOK: done, and nothing found.
	ExitOK = 0
	// ExitFailed: the command could not be carried out.
	ExitFailed = 1
	// ExitFound: it was, and what it looked at is not as it should be: lint, doctor, verify, diff --fail-on-widening.
	ExitFound = 2
	// ExitUnchanged: nothing was changed, since somebody else manages the object: keys, client.
	ExitUnchanged = 3
)

// Environment is what the commands live in. What is not set is the process's own.
type Environment struct {
	genericiooptions.IOStreams
	// Now is the clock.
	Now func() time.Time
	// Dial connects to issuers.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Colours may be used, as the output is a terminal.
	Colours bool
}

// status is an error that comes with an exit status.
type status struct {
	code int
	err  error
}

func (s *status) Error() string { return s.err.Error() }
func (s *status) Unwrap() error { return s.err }

// Run carries out one command line and returns the exit status.
func Run(ctx context.Context, arguments []string, e Environment) int {
	command := NewCommand(e)
	command.SetArgs(arguments)
	ran, err := command.ExecuteContextC(ctx)
	if err == nil {
		return ExitOK
	}
	var s *status
	if errors.As(err, &s) {
		_, _ = fmt.Fprintln(e.ErrOut, plain(err.Error())) // there is nowhere to say that it cannot be said
		return s.code
	}
	err = misspelt(ran, err)
	for line := range strings.SplitSeq(err.Error(), "\n") { // an error each
		_, _ = fmt.Fprintln(e.ErrOut, "error:", plain(line))
	}
	var usage *usageError
	if errors.As(err, &usage) {
		_, _ = fmt.Fprintf(e.ErrOut, "See '%s --help'.\n", ran.CommandPath())
	}
	return ExitFailed
}

// misspelt adds to an unknown command those that may have been meant, in the same line.
func misspelt(parent *cobra.Command, err error) error {
	var typed string
	if n, _ := fmt.Sscanf(err.Error(), "unknown command %q", &typed); n != 1 {
		return err
	}
	if meant := parent.SuggestionsFor(typed); len(meant) > 0 {
		return usage("%w: did you mean %s?", err, strings.Join(meant, ", or "))
	}
	return &usageError{err}
}

// usageError is a command line that is wrong.
type usageError struct{ error }

func usage(format string, args ...any) error { return &usageError{fmt.Errorf(format, args...)} }

// session is an Environment with the flags that all commands have.
type session struct {
	Environment
	kube             *genericclioptions.ConfigFlags
	installNamespace string
}

// NewCommand makes the command with all below it.
func NewCommand(e Environment) *cobra.Command {
	if e.Now == nil {
		e.Now = time.Now
	}
	if e.Dial == nil {
		e.Dial = (&net.Dialer{Timeout: 10 * time.Second}).DialContext
	}
	s := &session{Environment: e, kube: genericclioptions.NewConfigFlags(true)}
	s.kube.CacheDir, s.kube.DisableCompression = nil, nil // nothing is discovered
	root := &cobra.Command{
		Use:         "kubectl-m2m",
		Annotations: map[string]string{cobra.CommandDisplayNameAnnotation: "kubectl m2m"},
		Short:       "Who may call what, why, and what a change would do to that",
		Long: "kubectl m2m answers questions about m2m-operator's objects: who may call which API, through which grant and until " +
			"when, and what applying manifests would change in that. The engine that answers is the one that issuers decide by.\n\n" +
			"Exit status: 0 if all is well; 1 if the command could not be carried out, or verify cannot tell; 2 if it found what it looks for (lint, " +
			"doctor, verify, diff --fail-on-widening); 3 if it changed nothing, since somebody else manages the object.",
		Version: version.Version,
		// Cobra's suggestions are of several lines.
		DisableSuggestions:         true,
		SuggestionsMinimumDistance: 2,
		SilenceErrors:              true,
		SilenceUsage:               true,
	}
	root.SetIn(e.In)
	root.SetOut(e.Out)
	root.SetErr(e.ErrOut)
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return &usageError{err} })
	s.kube.AddFlags(root.PersistentFlags())
	root.PersistentFlags().StringVar(&s.installNamespace, "install-namespace", "m2m-system", "Namespace that the operator is installed in")
	root.CompletionOptions.HiddenDefaultCmd = true // kubectl asks for completions in its own way
	s.completeNamespaces(root)
	s.completeContexts(root)
	root.AddCommand(
		s.explain(), s.whoCan(), s.requests(),
		s.diff(), s.lint(), s.graph(),
		s.token(), s.verify(),
		s.keys(), s.client(),
		s.doctor(),
	)
	return root
}

// group is a command that is only there for those below it.
func group(cmd *cobra.Command, below ...*cobra.Command) *cobra.Command {
	cmd.AddCommand(below...)
	cmd.DisableSuggestions, cmd.SuggestionsMinimumDistance = true, 2
	cmd.ValidArgsFunction = cobra.NoFileCompletions
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if len(args) > 0 {
			return fmt.Errorf("unknown command %q for %q", args[0], cmd.CommandPath())
		}
		return nil
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	return cmd
}

// arguments checks how many there are, and says which are meant.
func arguments(least, most int, names string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) < least || len(args) > most {
			return usage("%s takes %s, and was given %d", cmd.CommandPath(), names, len(args))
		}
		return nil
	}
}
