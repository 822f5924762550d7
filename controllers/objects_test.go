package controllers_test

import (
	"context"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/controllers"
)

// Nothing is made for an owner that is gone, or is another one of the same name, whatever was seen of it before.
func TestStillThere(t *testing.T) {
	ctx, namespace := context.Background(), newNamespace(t)
	made := func() *v1alpha1.ScopeGrant {
		grant := &v1alpha1.ScopeGrant{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "owner"}, Spec: v1alpha1.ScopeGrantSpec{
			ApiResourceRef: v1alpha1.LocalApiResourceReference{Name: "none"},
			Subjects:       []v1alpha1.GrantSubject{{Namespace: "jobs", Name: "job"}}, Scopes: []v1alpha1.ScopeName{"read"},
		}}
		if err := admin.Create(ctx, grant); err != nil {
			t.Fatal(err)
		}
		return grant
	}
	seen := made()
	if err := controllers.StillThere(ctx, admin, seen); err != nil {
		t.Errorf("it is there: %v", err)
	}
	if err := admin.Delete(ctx, seen.DeepCopy()); err != nil {
		t.Fatal(err)
	}
	if err := controllers.StillThere(ctx, admin, seen); !apierrors.IsConflict(err) {
		t.Errorf("it is gone: %v", err)
	}
	made()
	if err := controllers.StillThere(ctx, admin, seen); !apierrors.IsConflict(err) {
		t.Errorf("it is another one: %v", err)
	}
}
