package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/internal/access"
	"github.com/m2m-operator/m2m-operator/internal/review"
)

// clientKeys reads CLIENT: a client_id (jobs.publisher), jobs/publisher, or a name in the namespace. Names may hold dots
// too, so that there may be two readings.
func clientKeys(text, namespace string) []types.NamespacedName {
	if ns, name, ok := strings.Cut(text, "/"); ok {
		return []types.NamespacedName{{Namespace: ns, Name: name}}
	}
	own := types.NamespacedName{Namespace: namespace, Name: text}
	if ns, name, ok := strings.Cut(text, "."); ok {
		return []types.NamespacedName{{Namespace: ns, Name: name}, own}
	}
	return []types.NamespacedName{own}
}

// namespacesOf are those that CLIENT may be in, as far as it says so.
func namespacesOf(arguments ...string) []string {
	var out []string
	for _, text := range arguments {
		for _, separator := range []string{"/", "."} {
			if namespace, _, ok := strings.Cut(text, separator); ok && !strings.Contains(namespace, ":") {
				out = append(out, namespace)
			}
		}
	}
	return out
}

// findClient finds CLIENT.
func findClient(w review.World, text, namespace string) (*v1alpha1.M2MClient, error) {
	for _, key := range clientKeys(text, namespace) {
		if client := w.Client(key); client != nil {
			return client, nil
		}
	}
	var elsewhere []string
	for _, client := range w.Clients() {
		if client.Name == text {
			elsewhere = append(elsewhere, client.ClientID())
		}
	}
	hint := "name it as its client_id (namespace.name), or give -n"
	if len(elsewhere) > 0 {
		hint = "did you mean " + strings.Join(elsewhere[:min(len(elsewhere), 5)], ", ") + "?"
	}
	if !w.Everywhere(access.KindM2MClient) {
		hint += "; clients of other namespaces than your own you may not see"
	}
	return nil, fmt.Errorf("there is no M2MClient %q: %s", text, hint)
}

// findAPI finds API: an identifier, namespace/name, or a name in the namespace.
func findAPI(w review.World, text, namespace string) (*v1alpha1.ApiResource, error) {
	var named, identified []*v1alpha1.ApiResource
	for _, api := range w.APIs() {
		switch {
		case api.Namespace+"/"+api.Name == text, api.Namespace == namespace && api.Name == text:
			return api, nil
		case api.Spec.Identifier == text:
			identified = append(identified, api)
		case api.Name == text:
			named = append(named, api)
		}
	}
	if len(identified) == 1 {
		return identified[0], nil
	}
	hint := "name it as namespace/name, by its identifier, or give -n"
	switch {
	case len(identified) > 1:
		hint = fmt.Sprintf("the identifier is claimed by several, name one: %s", namesOf(identified))
	case len(named) > 0:
		hint = fmt.Sprintf("did you mean %s?", namesOf(named))
	case !w.Everywhere(access.KindApiResource):
		hint += "; ApiResources of other namespaces than your own you may not see"
	}
	return nil, fmt.Errorf("there is no ApiResource %q: %s", text, hint)
}

func namesOf(apis []*v1alpha1.ApiResource) string {
	var out []string
	for _, api := range apis[:min(len(apis), 5)] {
		out = append(out, api.Namespace+"/"+api.Name)
	}
	return strings.Join(out, ", ")
}

// completion completes the arguments of a command: at each place the names that there are.
type completion func(w review.World, args []string) []string

func (s *session) complete(places ...completion) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if len(args) >= len(places) {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		filenames, _ := cmd.Flags().GetStringSlice(flagFilename) // not every command has it
		w, err := s.world(cmd.Context(), filenames, namespacesOf(args...)...)
		if err != nil {
			cobra.CompErrorln(err.Error()) // to where the shell does not look, but who wonders does
			return nil, cobra.ShellCompDirectiveError
		}
		return places[len(args)](w, args), cobra.ShellCompDirectiveNoFileComp
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
