package cli

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/m2m-operator/m2m-operator/internal/inventory/files"
	"github.com/m2m-operator/m2m-operator/internal/lint"
)

// linted is the answer to lint.
type linted struct {
	Objects  int            `json:"objects"`
	Errors   int            `json:"errors"`
	Warnings int            `json:"warnings"`
	Findings []lint.Finding `json:"findings"`
}

func (s *session) lint() *cobra.Command {
	var filenames []string
	var format string
	var strict bool
	cmd := &cobra.Command{
		Use:   "lint -f DIR|FILE|-",
		Short: "Mistakes in manifests, without a cluster",
		Long: "What the API server would refuse of manifests, by the definitions that this build was made with, and what the " +
			"operator would report only once they are applied: scopes that nobody declares, identifiers and Secrets that two claim, " +
			"identifiers that are reserved, grants in another namespace than their API's or for clients of another TokenIssuer, keys " +
			"that are unfit. Warnings are about what works, and may not be meant: expired grants, clients that nobody grants " +
			"anything, grants that match nobody, wildcards; and about APIs and TokenIssuers that are not among the manifests, since " +
			"they may be in the cluster.\n\n" +
			"Files are read as kubectl reads them, and what kubectl would leave out of one without a word is a mistake. Nothing that " +
			"a kustomization names is fetched, and no plugin of one is run.\n\n" +
			"The exit status is 2 if there are errors, with --strict also if there are warnings; 1 if there is nothing to look at.",
		Example: "  kubectl m2m lint -f deploy\n  kustomize build overlays/production | kubectl m2m lint -f -",
		Args:    arguments(0, 0, "no arguments, but -f"),
		RunE: func(*cobra.Command, []string) error {
			if len(filenames) == 0 {
				return usage("say with -f which manifests to look at")
			}
			answer, err := s.findings(filenames)
			if err != nil {
				return err
			}
			if err := s.print(format, answer, func(p *page) { found(p, answer) }); err != nil {
				return err
			}
			if answer.Errors > 0 || (strict && answer.Warnings > 0) {
				return &status{ExitFound, fmt.Errorf("%s, %s in %s",
					count(answer.Errors, "error"), count(answer.Warnings, "warning"), count(answer.Objects, "object"))}
			}
			return nil
		},
	}
	addFilenames(cmd, &filenames, "Manifests to look at: files, folders, kustomizations, or - for the standard input")
	cmd.Flags().BoolVar(&strict, "strict", false, "Exit with 2 also if there are only warnings")
	addOutput(cmd, &format, formatJSON, formatYAML)
	return cmd
}

func (s *session) findings(filenames []string) (linted, error) {
	namespace, err := s.namespace()
	if err != nil {
		return linted{}, err
	}
	documents, unread := files.Source{Paths: filenames, Stdin: s.In, Namespace: namespace}.Read()
	if failed := failures(unread); failed != nil {
		return linted{}, failed
	}
	if len(documents) == 0 && unread == nil {
		return linted{}, noObjects(filenames)
	}
	schema, err := lint.NewSchema()
	if err != nil {
		return linted{}, err
	}
	answer := linted{Objects: len(documents), Findings: []lint.Finding{}}
	answer.Findings = append(answer.Findings,
		lint.Check(lint.Manifests{Documents: documents, Unread: unread}, schema, s.installNamespace, s.Now())...)
	for _, f := range answer.Findings {
		if f.Severity == lint.Error {
			answer.Errors++
		} else {
			answer.Warnings++
		}
	}
	return answer, nil
}

// failures are the errors of which none is a mistake in a file: something could not be read at all.
func failures(err error) error {
	var joined interface{ Unwrap() []error }
	var mistake *files.Error
	if errors.As(err, &joined) {
		var out []error
		for _, one := range joined.Unwrap() {
			out = append(out, failures(one))
		}
		return errors.Join(out...)
	}
	if errors.As(err, &mistake) {
		return nil
	}
	return err
}

func found(p *page, answer linted) {
	for _, f := range answer.Findings {
		c := yellow
		if f.Severity == lint.Error {
			c = red
		}
		place := fmt.Sprintf("%s:%d", f.File, f.Line)
		if f.File == "" {
			place = "-"
		}
		field := f.Field
		if field != "" {
			field = " " + field
		}
		object := f.Object
		if object != "" {
			object += field + ": "
		}
		p.coloured(c, "%s: %s: %s%s [%s]", place, f.Severity, object, f.Message, f.Rule)
	}
	if len(answer.Findings) == 0 {
		p.coloured(green, "%s, nothing found.", count(answer.Objects, "object"))
	}
}
