package cli

import (
	"encoding/json"
	"fmt"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// tracks are the labels and annotations by which tools mark what they keep as it is written elsewhere.
var tracks = []struct {
	tool, key string
	value     string // "" for any
}{
	{"Argo CD", "argocd.argoproj.io/tracking-id", ""},
	{"Argo CD", "argocd.argoproj.io/instance", ""},
	{"Flux", "kustomize.toolkit.fluxcd.io/name", ""},
	{"Flux", "helm.toolkit.fluxcd.io/name", ""},
	{"Helm", "meta.helm.sh/release-name", ""},
	{"Helm", "app.kubernetes.io/managed-by", "Helm"},
}

// managerOf says who keeps an object as it is written elsewhere, so that a change made here would be undone; "" if nobody
// does. That is a tool that says so, or any field manager of its spec but kubectl and the operator.
func managerOf(object metav1.Object) string {
	for _, track := range tracks {
		for place, marks := range map[string]map[string]string{"annotation": object.GetAnnotations(), "label": object.GetLabels()} {
			if value, ok := marks[track.key]; ok && (track.value == "" || track.value == value) {
				return fmt.Sprintf("%s (%s %s)", track.tool, place, track.key)
			}
		}
	}
	for _, entry := range object.GetManagedFields() {
		if entry.Subresource == "" && !ours(entry.Manager) && ownsSpec(entry.FieldsV1) {
			return fmt.Sprintf("the field manager %q", entry.Manager)
		}
	}
	return ""
}

// ours reports whether a field manager is a person with kubectl, this command, or the operator itself.
func ours(manager string) bool {
	return manager == "kubectl" || strings.HasPrefix(manager, "kubectl-") || manager == "m2m-manager"
}

// appliesOf names another field manager that applies fields which a patch sets, as kubectl apply --server-side does; "" if
// none does. It is nobody who would undo the change, and the next time that it applies it is told of a conflict.
func appliesOf(object metav1.Object, patch map[string]any) string {
	for _, entry := range object.GetManagedFields() {
		if entry.Operation != metav1.ManagedFieldsOperationApply || entry.Subresource != "" || entry.Manager == string(fieldOwner) || entry.FieldsV1 == nil {
			continue
		}
		var owned map[string]any
		if json.Unmarshal(entry.FieldsV1.GetRawBytes(), &owned) == nil && overlap(owned, patch) {
			return entry.Manager
		}
	}
	return ""
}

// overlap reports whether one of the fields that a patch sets is among the owned ones.
func overlap(owned, patch map[string]any) bool {
	for name, value := range patch {
		within, ok := owned["f:"+name].(map[string]any)
		if !ok {
			continue
		}
		fields, isObject := value.(map[string]any)
		if !isObject || overlap(within, fields) {
			return true
		}
	}
	return false
}

func ownsSpec(fields *metav1.FieldsV1) bool {
	if fields == nil {
		return false
	}
	var owned map[string]json.RawMessage
	if json.Unmarshal(fields.GetRawBytes(), &owned) != nil {
		return true // what cannot be read is not assumed to be nobody's
	}
	_, ok := owned["f:spec"]
	return ok
}
