package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/m2m-operator/m2m-operator/internal/access"
	"github.com/m2m-operator/m2m-operator/internal/inventory"
	"github.com/m2m-operator/m2m-operator/internal/inventory/files"
	"github.com/m2m-operator/m2m-operator/internal/inventory/live"
	"github.com/m2m-operator/m2m-operator/internal/review"
)

type diffOptions struct {
	filenames, against []string
	format             string
	prune              bool
	failOnWidening     bool
}

func (s *session) diff() *cobra.Command {
	var o diffOptions
	cmd := &cobra.Command{
		Use:   "diff -f DIR|FILE|-",
		Short: "What applying manifests would change in what clients may do",
		Long: "What applying manifests would change in effective access: + for what a client gains, - for what it loses, ~ where " +
			"time limits, conditions, rules or the lifetime of tokens change.\n\n" +
			"The manifests are compared with the cluster, whose objects of the same name they replace; with --prune, what is in " +
			"their namespaces and not among them counts as deleted. With --against they are compared with other manifests, and no " +
			"cluster is asked: what is there and not in -f counts as deleted, and what is not there yet holds nothing.\n\n" +
			"A folder with a kustomization is built as kubectl does, except that nothing is fetched; of another one all .yaml, .yml " +
			"and .json files are read, and its folders likewise. Manifests are taken for valid: see kubectl m2m lint.\n\n" +
			"Clients that grants name and that cannot be seen, since their manifests or namespaces are others', are taken to be there.\n\n" +
			"A ~ is also what lets others be a client or makes refused things good again: another ServiceAccount or key, credentials, " +
			"signing keys and tokens that are revoked no longer, claims, reserved identifiers, trusted proxies.\n\n" +
			"With --fail-on-widening the exit status is 2 if somebody could do afterwards what could not be done before, or for " +
			"longer, or under fewer conditions, or where that cannot be told. It does not look at what Kubernetes alone decides, " +
			"such as who may read Secrets or use a ServiceAccount, nor at how often secrets and keys are rotated.",
		Example: "  kubectl m2m diff -f config/samples/course-management\n" +
			"  git worktree add /tmp/main main && kubectl m2m diff -f deploy --against /tmp/main/deploy -o markdown --fail-on-widening",
		Args: arguments(0, 0, "no arguments, but -f"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			answer, err := s.difference(cmd.Context(), o)
			if err != nil {
				return err
			}
			if o.format == formatMarkdown {
				_, err = io.WriteString(s.Out, markdown(answer))
			} else {
				err = s.print(o.format, answer, func(p *page) { differs(p, answer) })
			}
			if err == nil && o.failOnWidening && answer.Widens {
				err = &status{ExitFound, errors.New("access is widened (--fail-on-widening)")}
			}
			return err
		},
	}
	addFilenames(cmd, &o.filenames, "Manifests to look at: files, folders, kustomizations, or - for the standard input")
	cmd.Flags().StringSliceVar(&o.against, "against", nil, "Compare with these manifests, and not with the cluster")
	cmd.Flags().BoolVar(&o.prune, "prune", false, "Objects of the cluster that are in a namespace of the manifests, and not among them, count as deleted")
	cmd.Flags().BoolVar(&o.failOnWidening, "fail-on-widening", false, "Exit with 2 if access is widened")
	addOutput(cmd, &o.format, formatJSON, formatYAML, formatMarkdown)
	return cmd
}

func (s *session) difference(ctx context.Context, o diffOptions) (review.Diff, error) {
	if len(o.filenames) == 0 {
		return review.Diff{}, usage("say with -f which manifests to look at")
	}
	if o.prune && len(o.against) > 0 {
		return review.Diff{}, usage("--prune is about a cluster: with --against, what is not in -f counts as deleted anyway")
	}
	if slices.Contains(o.filenames, files.Stdin) && slices.Contains(o.against, files.Stdin) {
		return review.Diff{}, usage("the standard input can be read once: give -f or --against a file")
	}
	applied, err := s.manifests(o.filenames)
	if err != nil {
		return review.Diff{}, err
	}
	var before, after *inventory.Inventory
	var absent []string
	if len(o.against) > 0 {
		before, absent, err = s.earlier(o.against)
		if err == nil {
			after = applied.AppliedTo(before)
			assumeEqually(before, after)
		}
	} else {
		before, after, err = s.applied(ctx, applied, o.prune)
	}
	if err != nil {
		return review.Diff{}, err
	}
	applied = applied.Overlay(inventory.New()) // without stand-ins
	assumed := review.AddStandIns(before, after, len(o.against) > 0)
	now := s.Now()
	then := review.NewWorld(after, s.installNamespace, now)
	out := review.Compare(review.NewWorld(before, s.installNamespace, now), then)
	out.Notes = slices.Concat(absent, before.Unseen(), assumed, then.Idle(applied))
	for _, name := range after.Assumed {
		if len(o.against) > 0 {
			out.Notes = append(out.Notes, fmt.Sprintf("TokenIssuer %q is not among the manifests: it is taken to have nothing in its spec", name))
		}
	}
	return out, nil
}

// applied is the cluster before and after.
func (s *session) applied(ctx context.Context, manifests *inventory.Inventory, prune bool) (before, after *inventory.Inventory, err error) {
	c, err := s.cluster()
	if err != nil {
		return nil, nil, fmt.Errorf("%w; or compare with manifests: --against", err)
	}
	namespaces := []string{c.namespace}
	for _, kind := range inventory.Kinds {
		for _, ref := range manifests.Refs(kind) {
			namespaces = append(namespaces, ref.Namespace)
		}
	}
	if before, err = live.Load(ctx, c, namespaces...); err != nil {
		return nil, nil, err
	}
	after = before.Overlay(manifests)
	if prune {
		after.Prune(manifests)
	}
	if !before.Everywhere(access.KindTokenIssuer) { // manifests may be the first to name one
		after.AssumeIssuers()
		before.Assume(after.Assumed...)
	}
	return before, after, nil
}

// assumeEqually takes the TokenIssuers to be there that manifests name and do not hold. The default one is made by the
// manager, so that manifests for it change one; those for another one make it.
func assumeEqually(before, after *inventory.Inventory) {
	var made []string
	for _, issuer := range after.Issuers() {
		if issuer.Name != inventory.DefaultIssuer {
			made = append(made, issuer.Name)
		}
	}
	var gone []string
	for _, issuer := range before.Issuers() {
		if issuer.Name != inventory.DefaultIssuer {
			gone = append(gone, issuer.Name)
		}
	}
	before.AssumeIssuers(made...)
	after.AssumeIssuers(gone...)
}

// sentence is what a change says, without its sign.
func sentence(c review.Change) (verb, object string) {
	switch {
	case c.Sign == review.Gains:
		return "gains", c.Scope
	case c.Sign == review.Loses:
		return "loses", c.Scope
	case c.Kind == review.KindIssuer:
		return "changes", ""
	case c.Kind == review.KindScope:
		return "changes", c.Scope
	}
	return "changes", c.Kind
}

func differs(p *page, d review.Diff) {
	width := 0
	for _, c := range d.Changes {
		width = max(width, utf8.RuneCountInString(c.Subject()))
	}
	for _, c := range d.Changes {
		verb, object := sentence(c)
		what := strings.TrimSpace(verb + " " + object)
		if c.Audience != "" {
			what += " on " + c.Audience
		}
		p.coloured(map[string]colour{review.Gains: green, review.Loses: red, review.Differs: yellow}[c.Sign],
			"%s %-*s  %s  (%s)", c.Sign, width, c.Subject(), what, c.Detail)
	}
	if len(d.Changes) == 0 {
		p.line("No change in what clients may do.")
	}
	p.notes(d.Notes)
}
