package cli

import (
	"maps"
	"slices"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/internal/review"
)

// completion completes the arguments of a command: at each place the names that there are.
type completion func(w review.World, args []string) []string

func (s *session) complete(places ...completion) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, text string) ([]string, cobra.ShellCompDirective) {
		if len(args) >= len(places) {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return s.completeFlag(func(w review.World, _ *cobra.Command, args []string) []string { return places[len(args)](w, args) })(cmd, args, text)
	}
}

// completeFlag completes by the names that there are, where the place does not matter: flags, and lists of arguments.
func (s *session) completeFlag(names func(w review.World, cmd *cobra.Command, args []string) []string) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		filenames, _ := cmd.Flags().GetStringSlice(flagFilename) // not every command has it
		w, err := s.world(cmd.Context(), filenames, namespacesOf(args...)...)
		if err != nil {
			cobra.CompErrorln(err.Error()) // to where the shell does not look, but who wonders does
			return nil, cobra.ShellCompDirectiveError
		}
		return names(w, cmd, args), cobra.ShellCompDirectiveNoFileComp
	}
}

func clientIDs(w review.World, _ []string) []string {
	var out []string
	for _, client := range w.Clients() {
		out = append(out, client.ClientID())
	}
	return out
}

func apiNames(w review.World, _ []string) []string {
	var out []string
	for _, api := range w.APIs() {
		out = append(out, api.Namespace+"/"+api.Name)
	}
	return out
}

func issuerNames(w review.World, _ []string) []string {
	var out []string
	for _, issuer := range w.Issuers() {
		out = append(out, issuer.Name)
	}
	return out
}

// scopeNames are those of the API before.
func scopeNames(w review.World, args []string) []string {
	api, err := findAPI(w, args[0], "")
	if err != nil {
		return nil
	}
	var out []string
	for _, scope := range api.Spec.Scopes {
		out = append(out, string(scope.Name))
	}
	return out
}

func (s *session) completeNamespaces(root *cobra.Command) {
	_ = root.RegisterFlagCompletionFunc("namespace", func(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
		c, err := s.cluster()
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		var names []string
		list := &corev1.NamespaceList{}
		if err := c.List(cmd.Context(), list); err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		for _, namespace := range list.Items {
			names = append(names, namespace.Name)
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	}) // the flag exists
}

func (s *session) completeContexts(root *cobra.Command) {
	_ = root.RegisterFlagCompletionFunc("context", func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		config, err := s.kube.ToRawKubeConfigLoader().RawConfig()
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		return slices.Sorted(maps.Keys(config.Contexts)), cobra.ShellCompDirectiveNoFileComp
	}) // the flag exists
}

// identifiers are those of all APIs.
func identifiers(w review.World, _ *cobra.Command, _ []string) []string {
	var out []string
	for _, api := range w.APIs() {
		out = append(out, api.Spec.Identifier)
	}
	return out
}

// audiences are those that the client before has access to, by its status.
func audiences(w review.World, _ *cobra.Command, args []string) []string {
	var out []string
	for _, entry := range accessOf(w, args) {
		out = append(out, entry.Audience)
	}
	return out
}

// heldScopes are those that the client before has of the --audience, by its status.
func heldScopes(w review.World, cmd *cobra.Command, args []string) []string {
	audience, _ := cmd.Flags().GetString("audience") // where it is not known, of all
	var out []string
	for _, entry := range accessOf(w, args) {
		if audience != "" && entry.Audience != audience {
			continue
		}
		for _, scope := range entry.Scopes {
			out = append(out, string(scope))
		}
	}
	return out
}

func accessOf(w review.World, args []string) []v1alpha1.EffectiveAccess {
	if len(args) == 0 {
		return nil
	}
	client, err := findClient(w, args[0], "")
	if err != nil {
		return nil
	}
	return client.Status.Access
}
