package v1alpha1_test

import (
	"testing"

	"k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/m2m-operator/m2m-operator/internal/access"
	"github.com/m2m-operator/m2m-operator/internal/lint"
)

// TestLintAgrees: what `kubectl m2m lint` says of an object without a cluster is what the API server says of it, of the
// same field in the same words.
func TestLintAgrees(t *testing.T) {
	t.Parallel()
	s, err := lint.NewSchema()
	if err != nil {
		t.Fatal(err)
	}
	for kind, table := range refusals {
		for _, r := range table {
			if r.before != nil {
				continue // lint knows of no object before
			}
			t.Run(kind+"/"+r.rule+"/"+r.example, func(t *testing.T) {
				t.Parallel()
				found := s.Validate(access.Kind(kind), fixture(t, kind, r.change).Object)
				if !complains(errors.NewInvalid(schema.GroupKind{Kind: kind}, "", found), r.rule) {
					t.Errorf("lint says %v", found)
				}
			})
		}
	}
	for kind, table := range acceptances {
		for name, change := range table {
			t.Run(kind+"/"+name, func(t *testing.T) {
				t.Parallel()
				if found := s.Validate(access.Kind(kind), fixture(t, kind, change).Object); len(found) > 0 {
					t.Errorf("lint says %v", found)
				}
			})
		}
	}
}
