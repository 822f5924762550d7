package controllers_test

import (
	"context"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/controllers"
	"github.com/m2m-operator/m2m-operator/test/suite"
)

// TestDefaultIssuerIsMadeOnce has a control plane of its own: there must be no other TokenIssuer.
func TestDefaultIssuerIsMadeOnce(t *testing.T) {
	ctx := context.Background()
	empty, err := suite.Start(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer empty.Stop()
	d := &controllers.DefaultIssuer{Client: empty.Admin, Live: empty.Admin, Namespace: installNamespace}
	d.Spec.URL = "http://tokens.example.com"
	if err := d.Start(ctx); !apierrors.IsInvalid(err) {
		t.Errorf("a URL without TLS: %v, want Invalid", err)
	}
	d.Spec.URL = "https://tokens.example.com"
	issuer := &v1alpha1.TokenIssuer{}
	for range 2 {
		if err := d.Start(ctx); err != nil {
			t.Fatal(err)
		}
		if err := empty.Admin.Get(ctx, client.ObjectKey{Name: "default"}, issuer); err != nil {
			t.Fatal(err)
		}
		if issuer.Spec.URL != "https://tokens.example.com" {
			t.Errorf("it is made with the URL %q", issuer.Spec.URL)
		}
		d.Spec.URL = "https://later.example.com" // comes too late
	}
	if err := empty.Admin.Delete(ctx, issuer); err != nil {
		t.Fatal(err)
	}
	if err := d.Start(ctx); err != nil {
		t.Fatal(err)
	}
	if err := empty.Admin.Get(ctx, client.ObjectKey{Name: "default"}, issuer); !apierrors.IsNotFound(err) {
		t.Errorf("whoever deleted the default TokenIssuer meant it: %v", err)
	}
}
