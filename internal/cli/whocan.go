package cli

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/m2m-operator/m2m-operator/internal/review"
)

func (s *session) whoCan() *cobra.Command {
	var filenames []string
	var format string
	cmd := &cobra.Command{
		Use:   "who-can API [SCOPE]",
		Short: "Which clients may do what with an API, or have one of its scopes",
		Long: "The clients that have scopes of an API, now or later, with the grants that give them. With a SCOPE, those that " +
			"would get exactly it, also where the API's scopes are hierarchical and a wider one was granted.",
		Example: "  kubectl m2m who-can courses/course-api\n" +
			"  kubectl m2m who-can https://courses.example.com/api courses:publish",
		Args:              arguments(1, 2, "an API and at most one SCOPE"),
		ValidArgsFunction: s.complete(apiNames, scopeNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			namespace, err := s.namespace()
			if err != nil {
				return err
			}
			w, err := s.world(cmd.Context(), filenames, namespacesOf(args[0])...)
			if err != nil {
				return err
			}
			api, err := findAPI(w, args[0], namespace)
			if err != nil {
				return err
			}
			answer, err := w.WhoCan(api, strings.Join(args[1:], ""))
			if err != nil {
				return err
			}
			return s.print(format, answer, func(p *page) { held(p, answer, format == formatWide) })
		},
	}
	addFilenames(cmd, &filenames, filenamesInstead)
	addOutput(cmd, &format, formatWide, formatJSON, formatYAML)
	return cmd
}

func held(p *page, h review.Holders, wide bool) {
	p.coloured(bold, "%s  %s", h.API, h.Audience)
	p.line("")
	var rows [][]string
	for _, holder := range h.Clients {
		for _, scope := range holder.Scopes {
			for _, way := range scope.Ways {
				name, since := "", ""
				if wide {
					name, since = holder.Name, moment(way.Since)
				}
				rows = append(rows, []string{holder.Client, scope.Name, giver(way), way.Role, way.Subject, limits(way), since, name})
			}
		}
	}
	p.table([]string{"CLIENT", "SCOPE", "GRANT", "ROLE", "SUBJECT", "LIMITS", "SINCE", "NAME"}, rows)
	if len(rows) == 0 {
		p.coloured(yellow, "No client that could be seen.")
	}
	if len(h.Rules) > 0 {
		p.line("")
		p.line("It gives tokens only if %s", strings.Join(h.Rules, " && "))
	}
	p.notes(h.Notes)
}
