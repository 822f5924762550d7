package feed

import (
	"slices"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/internal/access"
)

// An object of a namespace that is made anew may arrive before the namespace does, while the name still stands for the
// one that is being deleted. Its controller sees nothing then, and must be told when there is something.
func TestNamespaceMadeAnew(t *testing.T) {
	var told []access.Ref
	index := access.NewIndex("m2m-system")
	f := &indexFeed{index: index, notify: func(_ access.Ref, affected []access.Ref) { told = append(told, affected...) }}
	client := func(name string) *v1alpha1.M2MClient {
		return &v1alpha1.M2MClient{ObjectMeta: metav1.ObjectMeta{Namespace: "jobs", Name: name, Generation: 1}}
	}
	f.upsert(nil, client("old"))
	f.namespace("jobs", true)
	f.namespace("jobs", index.Holds("jobs")) // it is gone, and its last object is not known to be
	f.upsert(nil, client("new"))
	if _, ok := index.Client("jobs.new"); ok {
		t.Fatal("an object of a terminating namespace counts")
	}
	told = nil
	f.namespace("jobs", false)
	if !slices.Contains(told, access.RefOf(client("new"))) {
		t.Errorf("told of %v", told)
	}
	told = nil
	if f.namespace("jobs", false); len(told) > 0 {
		t.Errorf("told of %v, and nothing has changed", told)
	}
}
