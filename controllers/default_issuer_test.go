package controllers_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/controllers"
	"github.com/m2m-operator/m2m-operator/test/suite"
)

// installation is a control plane of its own: there must be no other TokenIssuer.
type installation struct{ *suite.Suite }

func newInstallation(t *testing.T) installation {
	t.Helper()
	empty, err := suite.Start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := empty.Stop(); err != nil {
			t.Error(err)
		}
	})
	return installation{empty}
}

// awaitMade waits until the manager has noted that it has nothing left to make.
func (i installation) awaitMade(t *testing.T) {
	t.Helper()
	suite.Eventually(t, func() string {
		if err := i.Admin.Get(t.Context(), client.ObjectKey{Namespace: installNamespace, Name: "m2m-default-issuer"}, &corev1.ConfigMap{}); err != nil {
			return err.Error()
		}
		return ""
	})
}

func (i installation) defaultURL(t *testing.T) (string, error) {
	t.Helper()
	issuer := &v1alpha1.TokenIssuer{}
	err := i.Admin.Get(t.Context(), client.ObjectKey{Name: "default"}, issuer)
	return issuer.Spec.URL, err
}

// TestDefaultIssuerIsMadeOnce: another spec comes too late, and whoever deletes it means it.
func TestDefaultIssuerIsMadeOnce(t *testing.T) {
	empty := newInstallation(t)
	const first = "https://tokens.example.com"
	for _, url := range []string{first, "https://later.example.com"} {
		empty.makeOnce(t, url)
		if got, err := empty.defaultURL(t); err != nil || got != first {
			t.Errorf("it has the URL %q (%v)", got, err)
		}
	}
	if err := empty.Admin.Delete(t.Context(), &v1alpha1.TokenIssuer{ObjectMeta: metav1.ObjectMeta{Name: "default"}}); err != nil {
		t.Fatal(err)
	}
	empty.makeOnce(t, first)
	if got, err := empty.defaultURL(t); !apierrors.IsNotFound(err) {
		t.Errorf("whoever deleted it meant it: there is one with the URL %q (%v)", got, err)
	}
}

func (i installation) makeOnce(t *testing.T, url string) {
	t.Helper()
	if err := controllers.MakeDefaultIssuer(t.Context(), i.Admin, installNamespace, v1alpha1.TokenIssuerSpec{URL: url}); err != nil {
		t.Fatal(err)
	}
}

// awaitWork waits until the manager has worked on a TokenIssuer made now, as it does at its start on all there is.
func (i installation) awaitWork(t *testing.T, name string) {
	t.Helper()
	issuer := &v1alpha1.TokenIssuer{ObjectMeta: metav1.ObjectMeta{Name: name}}
	if err := i.Admin.Create(t.Context(), issuer); err != nil {
		t.Fatal(err)
	}
	suite.Eventually(t, func() string {
		if err := i.Admin.Get(t.Context(), client.ObjectKeyFromObject(issuer), issuer); err != nil || issuer.Status.PepperID == "" {
			return fmt.Sprintf("the manager does not work on %s: %v", name, err)
		}
		return ""
	})
}

// TestRefusedDefaultIssuer: the manager says what is wrong with its spec and goes on; a person's TokenIssuer ends the matter.
func TestRefusedDefaultIssuer(t *testing.T) {
	empty := newInstallation(t)
	longer := &v1alpha1.TokenIssuerSpec{Tokens: v1alpha1.TokenIssuerTokens{
		DefaultLifetime: &metav1.Duration{Duration: 2 * time.Hour}, MaxLifetime: &metav1.Duration{Duration: time.Hour},
	}}
	stop, err := empty.StartManager(suite.ManagerOptions{DefaultIssuer: longer})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := stop(); err != nil {
			t.Error(err)
		}
	}()
	const why = "defaultLifetime must not be longer than maxLifetime"
	suite.Eventually(t, func() string {
		var list eventsv1.EventList
		if err := empty.Admin.List(context.Background(), &list); err != nil {
			return err.Error()
		}
		for _, event := range list.Items {
			if event.Regarding.Kind == "TokenIssuer" && event.Regarding.Name == "default" && event.Reason == v1alpha1.ReasonRefused && strings.Contains(event.Note, why) {
				return ""
			}
		}
		return fmt.Sprintf("no event says why: %v", list.Items)
	})
	if !strings.Contains(world.Log.String(), why) { // a process has one log, that of the first control plane
		t.Error("the log does not say why")
	}
	empty.awaitWork(t, "by-hand")
	empty.awaitMade(t)
	if got, err := empty.defaultURL(t); !apierrors.IsNotFound(err) {
		t.Errorf("there is one with the URL %q (%v)", got, err)
	}
}
