package cli

import (
	"bufio"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/m2m-operator/m2m-operator/internal/graph"
)

// Formats of graphs.
const (
	formatMermaid = "mermaid"
	formatDOT     = "dot"
	formatHTML    = "html"
)

func (s *session) graph() *cobra.Command {
	var filenames []string
	var format string
	formats := []string{formatMermaid, formatDOT, formatHTML}
	cmd := &cobra.Command{
		Use:   "graph [-f DIR|FILE|-] -o mermaid|dot|html",
		Short: "A picture of who may call what",
		Long: "Clients, APIs, and the scopes between them: as a Mermaid flowchart, which GitHub and GitLab draw in Markdown; in " +
			"the language of Graphviz; or as one page of HTML, with what is wrong first, a matrix of clients and APIs, search and " +
			"filters, grants with their ends, and the times of keys and secrets. The page needs no network and no other file.\n\n" +
			"Mermaid and Graphviz show what clients have, also from a later time on. Dashed lines are bounded in time, or subject to " +
			"conditions. Clients of a namespace that have the same are one node, if they are more than four. Problems are red.\n\n" +
			"The page holds what its author could see of all namespaces: give it to whom that may be shown.",
		Example: "  kubectl m2m graph -o html > access.html\n" +
			"  kubectl m2m graph -o mermaid -f config/samples/course-management\n" +
			"  kubectl m2m graph -o dot | dot -Tsvg > access.svg",
		Args: arguments(0, 0, "no arguments"),
		PreRunE: func(*cobra.Command, []string) error {
			if !slices.Contains(formats, format) {
				return usage("there is no output format %q: there are %s", format, strings.Join(formats, ", "))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error {
			w, err := s.world(cmd.Context(), filenames)
			if err != nil {
				return err
			}
			model := graph.Build(w, sourceOf(filenames))
			if format != formatHTML { // the page has the notes in it
				for _, note := range model.Notes {
					_, _ = fmt.Fprintln(s.ErrOut, plain(note)) // there is nowhere to say that it cannot be said
				}
			}
			return s.draw(format, model)
		},
	}
	addFilenames(cmd, &filenames, filenamesInstead)
	cmd.Flags().StringVarP(&format, "output", "o", formatMermaid, "Output format: "+strings.Join(formats, ", "))
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(formats, cobra.ShellCompDirectiveNoFileComp)) // the flag exists
	return cmd
}

// sourceOf says where objects are from.
func sourceOf(filenames []string) string {
	if len(filenames) == 0 {
		return "a cluster"
	}
	names := slices.Clone(filenames)
	if at := slices.Index(names, "-"); at >= 0 {
		names[at] = "the standard input"
	}
	return strings.Join(names, ", ")
}

func (s *session) draw(format string, model graph.Model) error {
	out := bufio.NewWriter(s.Out)
	var err error
	switch format {
	case formatHTML:
		err = graph.HTML(out, model)
	case formatDOT:
		_, err = io.WriteString(out, graph.DOT(model))
	default:
		_, err = io.WriteString(out, graph.Mermaid(model))
	}
	if err != nil {
		return err
	}
	return out.Flush()
}
