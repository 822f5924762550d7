package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	k8syaml "sigs.k8s.io/yaml"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/internal/access"
	"github.com/m2m-operator/m2m-operator/internal/review"
)

func (s *session) requests() *cobra.Command {
	var filenames []string
	var format, client string
	var grant bool
	cmd := &cobra.Command{
		Use:   "requests [API]",
		Short: "Wishes for scopes that wait for an API's owner",
		Long: "The scopes that clients ask for in spec.requests and do not have, of all APIs or of one. --grant prints the " +
			"ScopeGrants that would give them, ready to be read, and committed; it applies nothing.",
		Example: "  kubectl m2m requests\n" +
			"  kubectl m2m requests payment/payment-service --client cart.cart-service --grant > grant.yaml",
		Args:              arguments(0, 1, "at most one API"),
		ValidArgsFunction: s.complete(apiNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			if grant && format != formatText {
				return usage("--grant prints YAML: leave -o out")
			}
			answer, w, err := s.wishes(cmd, args, client, filenames)
			if err != nil {
				return err
			}
			if grant {
				return s.printGrants(w, answer.Requests)
			}
			return s.print(format, answer, func(p *page) { wished(p, answer) })
		},
	}
	cmd.Flags().BoolVar(&grant, "grant", false, "Print the ScopeGrants that would give what is asked for")
	cmd.Flags().StringVar(&client, "client", "", "Only wishes of this client")
	_ = cmd.RegisterFlagCompletionFunc("client", s.complete(clientIDs, clientIDs)) // the flag exists
	addFilenames(cmd, &filenames, filenamesInstead)
	addOutput(cmd, &format, formatJSON, formatYAML)
	return cmd
}

// waiting is the answer to requests.
type waiting struct {
	Requests []review.Wish `json:"requests"`
	Notes    []string      `json:"notes,omitempty"`
}

func (s *session) wishes(cmd *cobra.Command, args []string, client string, filenames []string) (waiting, review.World, error) {
	namespace, err := s.namespace()
	if err != nil {
		return waiting{}, review.World{}, err
	}
	w, err := s.world(cmd.Context(), filenames, namespacesOf(append(args, client)...)...)
	if err != nil {
		return waiting{}, w, err
	}
	var api *v1alpha1.ApiResource
	if len(args) > 0 {
		if api, err = findAPI(w, args[0], namespace); err != nil {
			return waiting{}, w, err
		}
	}
	answer := waiting{Requests: w.Wishes(api), Notes: w.Unseen()}
	if client != "" {
		one, err := findClient(w, client, namespace)
		if err != nil {
			return waiting{}, w, err
		}
		kept := []review.Wish{}
		for _, wish := range answer.Requests {
			if wish.Client == one.ClientID() {
				kept = append(kept, wish)
			}
		}
		answer.Requests = kept
	}
	if !w.Everywhere(access.KindM2MClient) {
		for _, seen := range w.APIs() {
			if api == nil || seen == api {
				answer.Notes = append(answer.Notes, w.Unlisted(seen)...)
			}
		}
	}
	return answer, w, nil
}

func wished(p *page, answer waiting) {
	var rows [][]string
	for _, wish := range answer.Requests {
		for _, lack := range wish.Missing {
			rows = append(rows, []string{wish.API, wish.Client, lack.Scope, wish.State, lack.Reason})
		}
	}
	p.table([]string{"API", "CLIENT", "SCOPE", "STATE", "REASON"}, rows)
	if len(rows) == 0 {
		p.coloured(green, "Nobody waits for anything.")
	} else {
		p.line("")
		p.line("--grant prints the ScopeGrants that would answer them.")
	}
	p.notes(answer.Notes)
}

// printGrants writes the manifests that answer wishes to the output, and what cannot be answered to where errors go.
func (s *session) printGrants(w review.World, wishes []review.Wish) error {
	printed := 0
	for _, wish := range wishes {
		grant, unknown := w.Answer(wish)
		if len(unknown) > 0 {
			_, _ = fmt.Fprintf(s.ErrOut, "# %s: ApiResource %s does not declare %s, so that nobody can be given it\n",
				wish.Client, wish.API, strings.Join(unknown, ", "))
		}
		if grant == nil {
			continue
		}
		w.Add(grant) // takes its name
		text, err := manifest(grant)
		if err != nil {
			return err
		}
		separator := ""
		if printed++; printed > 1 {
			separator = "---\n"
		}
		if _, err := fmt.Fprintf(s.Out, "%s# Answers spec.requests of M2MClient %s\n%s", separator, wish.Client, text); err != nil {
			return err
		}
	}
	if printed == 0 {
		_, _ = fmt.Fprintln(s.ErrOut, "No wish that could be answered is waiting.")
	}
	return nil
}

// manifest is an object as one would write it: no status, and nothing that the API server fills in.
func manifest(object any) ([]byte, error) {
	text, err := json.Marshal(object)
	if err != nil {
		return nil, err
	}
	var fields map[string]any
	if err := json.Unmarshal(text, &fields); err != nil {
		return nil, err
	}
	delete(fields, "status")
	if metadata, ok := fields["metadata"].(map[string]any); ok {
		delete(metadata, "creationTimestamp")
	}
	out, err := k8syaml.Marshal(fields)
	return bytes.TrimLeft(out, "\n"), err
}
