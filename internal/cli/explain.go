package cli

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/internal/review"
)

const flagFilename = "filename"

// addFilenames gives a command -f.
func addFilenames(cmd *cobra.Command, filenames *[]string, description string) {
	cmd.Flags().StringSliceVarP(filenames, flagFilename, "f", nil, description)
}

const filenamesInstead = "Answer from manifests instead of the cluster: files, folders, kustomizations, or - for the standard input"

func (s *session) explain() *cobra.Command {
	var filenames []string
	var format string
	cmd := &cobra.Command{
		Use:   "explain CLIENT [API]",
		Short: "What a client may do, through which grants, and why not more",
		Long: "Every scope that a client has on every API, with the grant, the role and the entry of the grant's subjects that " +
			"give it, and until when; and every scope that it asks for in spec.requests and lacks, with the reason. With an API, " +
			"also the API's other scopes, and why the client does not have them.\n\n" +
			"CLIENT is a client_id (jobs.publisher), namespace/name, or a name in the namespace; API is namespace/name, an " +
			"identifier, or a name in the namespace.\n\n" +
			"Who may not list the objects of all namespaces is told what could not be seen, and what the client has comes from " +
			"its status then.",
		Example: "  kubectl m2m explain jobs.publisher\n" +
			"  kubectl m2m explain jobs.publisher courses/course-api\n" +
			"  kubectl m2m explain jobs.publisher -f config/samples/course-management",
		Args:              arguments(1, 2, "a CLIENT and at most one API"),
		ValidArgsFunction: s.complete(clientIDs, apiNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			namespace, err := s.namespace()
			if err != nil {
				return err
			}
			w, err := s.world(cmd.Context(), filenames, namespacesOf(args...)...)
			if err != nil {
				return err
			}
			client, err := findClient(w, args[0], namespace)
			if err != nil {
				return err
			}
			var api *v1alpha1.ApiResource
			if len(args) > 1 {
				if api, err = apiOf(w, client, args[1], namespace); err != nil {
					return err
				}
			}
			answer := w.Explain(client, api)
			return s.print(format, answer, func(p *page) { explained(p, answer, format == formatWide) })
		},
	}
	addFilenames(cmd, &filenames, filenamesInstead)
	addOutput(cmd, &format, formatWide, formatJSON, formatYAML)
	return cmd
}

// apiOf finds API; if it may not be seen, by what the client knows of it.
func apiOf(w review.World, client *v1alpha1.M2MClient, text, namespace string) (*v1alpha1.ApiResource, error) {
	api, err := findAPI(w, text, namespace)
	var hidden *hiddenError
	if !errors.As(err, &hidden) {
		return api, err
	}
	if api = toldOf(client, text, namespace); api == nil {
		return nil, fmt.Errorf("%w; neither the status nor spec.requests of M2MClient %s/%s names it", err, client.Namespace, client.Name)
	}
	return api, nil
}

func explained(p *page, e review.Explanation, wide bool) {
	title := e.Client
	if e.Name != "" {
		title += "  (" + e.Name + ")"
	}
	p.coloured(bold, "%s", title)
	p.line("TokenIssuer %s", e.Issuer)
	p.line("")
	if len(e.Access) == 0 {
		p.coloured(yellow, "It has no scope of any API%s.", map[bool]string{true: " that was asked about"}[len(e.Others) > 0])
	}
	var rows [][]string
	for _, a := range e.Access {
		for _, scope := range a.Scopes {
			rows = append(rows, scopeRows(a, scope, wide)...)
		}
	}
	headings := []string{"API", "SCOPE", "GRANT", "ROLE", "SUBJECT", "LIMITS", "SINCE", "AUDIENCE", "TOKENS LIVE"}
	p.table(headings, rows)
	for _, a := range e.Access {
		if len(a.Rules) > 0 {
			p.line("")
			p.line("%s gives tokens only if %s", a.API, strings.Join(a.Rules, " && "))
		}
	}
	var missing [][]string
	for _, wish := range e.Wishes {
		for _, lack := range wish.Missing {
			missing = append(missing, []string{wish.API, lack.Scope, lack.Reason, lack.Message})
		}
	}
	if len(missing) > 0 {
		p.line("")
		p.line("Asked for in spec.requests, and not given:")
		p.table([]string{"API", "SCOPE", "REASON", "MESSAGE"}, missing)
	}
	if len(e.Others) > 0 {
		p.line("")
		p.line("Other scopes of the API:")
		p.table([]string{"SCOPE", "REASON", "MESSAGE"}, lackRows(e.Others))
	}
	if e.Source == review.FromStatus {
		e.Notes = append([]string{"What the client has is from its status: you may not see all objects"}, e.Notes...)
	}
	p.notes(e.Notes)
}

func lackRows(lacks []review.Lack) (rows [][]string) {
	for _, lack := range lacks {
		rows = append(rows, []string{lack.Scope, lack.Reason, lack.Message})
	}
	return rows
}

func scopeRows(a review.Access, scope review.Scope, wide bool) (rows [][]string) {
	audience, lifetime := "", ""
	if wide {
		audience, lifetime = a.Audience, a.TokenLifetime
	}
	if len(scope.Ways) == 0 {
		return [][]string{{a.API, scope.Name, "(not visible)", "", "", "", "", audience, lifetime}}
	}
	for _, way := range scope.Ways {
		since := ""
		if wide {
			since = moment(way.Since)
		}
		rows = append(rows, []string{a.API, scope.Name, giver(way), way.Role, way.Subject, limits(way), since, audience, lifetime})
	}
	return rows
}

func giver(way review.Way) string {
	if way.Grant == "" {
		return "(any client)"
	}
	return way.Grant
}

// limits are the time limits and conditions of a way.
func limits(way review.Way) string {
	var parts []string
	add := func(word string, t time.Time) {
		if !t.IsZero() {
			parts = append(parts, word+" "+moment(t))
		}
	}
	add("from", way.From)
	add("until", way.Until)
	if len(way.Conditions) > 0 {
		parts = append(parts, "if "+strings.Join(way.Conditions, " && "))
	}
	return strings.Join(parts, ", ")
}
