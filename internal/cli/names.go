package cli

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
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
	guess := ""
	if len(elsewhere) > 0 {
		guess = "did you mean " + strings.Join(elsewhere[:min(len(elsewhere), 5)], ", ") + "?"
	}
	return nil, absent(w, access.KindM2MClient, text, clientKeys(text, namespace), guess, "name it as its client_id (namespace.name), or give -n")
}

// absent is the error about what was not found, with what may have been meant, or else how to name it. Where it may be and
// not be visible, it does not say that it is not there.
func absent(w review.World, kind access.Kind, text string, places []types.NamespacedName, guess, naming string) error {
	for _, place := range places {
		if !w.Sees(kind, place.Namespace) {
			return &hiddenError{fmt.Errorf("whether there is an %s %q you may not see: you may not list %ss in the namespace %s; %s", kind, text, kind, place.Namespace,
				cmp.Or(guess, "ask somebody who may"))}
		}
	}
	if !w.Everywhere(kind) {
		return &hiddenError{fmt.Errorf("there is no %s %q that you may see, and those of other namespaces you may not see: %s", kind, text, cmp.Or(guess, naming))}
	}
	return fmt.Errorf("there is no %s %q: %s", kind, text, cmp.Or(guess, naming))
}

// hiddenError says that something was not found that may be there.
type hiddenError struct{ error }

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
	guess := ""
	switch {
	case len(identified) > 1:
		return nil, fmt.Errorf("the identifier %q is claimed by several ApiResources, name one: %s", text, namesOf(identified))
	case len(named) > 0:
		guess = "did you mean " + namesOf(named) + "?"
	}
	return nil, absent(w, access.KindApiResource, text, apiKeys(text, namespace), guess, "name it as namespace/name, by its identifier, or give -n")
}

// apiKeys reads API, as far as it is no identifier: courses/course-api, or a name in the namespace.
func apiKeys(text, namespace string) []types.NamespacedName {
	if strings.Contains(text, ":") { // identifiers are absolute URIs
		return nil
	}
	if ns, name, ok := strings.Cut(text, "/"); ok {
		return []types.NamespacedName{{Namespace: ns, Name: name}}
	}
	return []types.NamespacedName{{Namespace: namespace, Name: text}}
}

// toldOf is an API that may not be seen, as the client's status and wishes know it: its name, and maybe its identifier. It
// is nil if they do not know it.
func toldOf(client *v1alpha1.M2MClient, text, namespace string) *v1alpha1.ApiResource {
	known := func(ref v1alpha1.NamespacedReference, identifier string) *v1alpha1.ApiResource {
		key := types.NamespacedName{Namespace: string(ref.Namespace), Name: string(ref.Name)}
		if !slices.Contains(apiKeys(text, namespace), key) && (identifier == "" || identifier != text) {
			return nil
		}
		out := &v1alpha1.ApiResource{ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: key.Name}}
		out.Spec.Identifier = identifier
		return out
	}
	for _, entry := range client.Status.Access {
		if api := known(entry.ApiResource, entry.Audience); api != nil {
			return api
		}
	}
	for _, request := range client.Spec.Requests {
		if api := known(request.ApiResource, ""); api != nil {
			return api
		}
	}
	return nil
}

func namesOf(apis []*v1alpha1.ApiResource) string {
	var out []string
	for _, api := range apis[:min(len(apis), 5)] {
		out = append(out, api.Namespace+"/"+api.Name)
	}
	return strings.Join(out, ", ")
}
