package faults

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/internal/credential"
	"github.com/m2m-operator/m2m-operator/internal/manifests"
	"github.com/m2m-operator/m2m-operator/test/suite"
)

// settledClient is one that has been rotated once.
func settledClient(t *testing.T, name string) (c *v1alpha1.M2MClient, first, second string) {
	t.Helper()
	c = rotatingClient("tampering", name, "tampering", 8760*time.Hour)
	create(t, c)
	suite.Eventually(t, func() string { return unsettled(c, "") })
	first = valueOf(t, c)
	change(t, c, func(c *v1alpha1.M2MClient) { c.Spec.Credential.Revision = "1" })
	before := c.Status.Credentials[0].ID
	suite.Eventually(t, func() string { return unsettled(c, before) })
	awaitReady(t, c)
	return c, first, valueOf(t, c)
}

// writeStatus replaces the credentials in status, whatever the manager is doing.
func writeStatus(t *testing.T, c *v1alpha1.M2MClient, credentials ...v1alpha1.CredentialStatus) {
	t.Helper()
	suite.Eventually(t, func() string {
		get(t, c, c.Namespace, c.Name)
		c.Status.Credentials = credentials
		if err := admin.Status().Update(ctx, c); err != nil {
			return err.Error()
		}
		return ""
	})
}

func TestTamperedStatusIsRepairedAndReported(t *testing.T) {
	ensureIssuer(t, "tampering")
	server := startIssuer(t, "tampering")
	startManager(t)
	_, _, stolen := settledClient(t, "victim")
	victims := get(t, &v1alpha1.M2MClient{}, "tampering", "victim").Status.Credentials

	for name, tampered := range map[string]func(good []v1alpha1.CredentialStatus, old v1alpha1.CredentialStatus) []v1alpha1.CredentialStatus{
		"pasted": func(good []v1alpha1.CredentialStatus, _ v1alpha1.CredentialStatus) []v1alpha1.CredentialStatus {
			return append(good, victims[0])
		},
		"prolonged": func(good []v1alpha1.CredentialStatus, _ v1alpha1.CredentialStatus) []v1alpha1.CredentialStatus {
			later := metav1.NewTime(good[1].ExpiryTime.AddDate(10, 0, 0))
			good[1].ExpiryTime = &later
			return good
		},
		"older": func(good []v1alpha1.CredentialStatus, old v1alpha1.CredentialStatus) []v1alpha1.CredentialStatus {
			return []v1alpha1.CredentialStatus{good[0], old}
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := rotatingClient("tampering", name, "tampering", 8760*time.Hour)
			create(t, c)
			suite.Eventually(t, func() string { return unsettled(c, "") })
			old, first := c.Status.Credentials[0], valueOf(t, c)
			change(t, c, func(c *v1alpha1.M2MClient) { c.Spec.Credential.Revision = "1" })
			suite.Eventually(t, func() string { return unsettled(c, old.ID) })
			good, value := c.DeepCopy().Status.Credentials, valueOf(t, c)
			writeStatus(t, c, tampered(c.DeepCopy().Status.Credentials, old)...)
			if _, refusal := server.ask(c.ClientID(), stolen); refusal != "invalid_client" {
				t.Errorf("another client's secret: %q", refusal)
			}
			awaitEvent(t, c, v1alpha1.ReasonCredentialStatusEdited)
			suite.Eventually(t, func() string {
				if now := get(t, c, c.Namespace, c.Name).Status.Credentials; !reflect.DeepEqual(now, good) {
					return "status is not as it was"
				}
				return ""
			})
			if valueOf(t, c) != value {
				t.Error("the secret changed")
			}
			if end := good[1].ExpiryTime.Time; accepted(t, c, first, end) || !accepted(t, c, first, end.Add(-time.Second)) {
				t.Error("the previous secret does not live as long as it did")
			}
			suite.Eventually(t, func() string {
				_, refusal := server.ask(c.ClientID(), value)
				return refusal
			})
		})
	}
}

func TestTamperedSecretIsReported(t *testing.T) {
	t.Cleanup(resetClock)
	ensureIssuer(t, "tampering")
	server := startIssuer(t, "tampering")
	m := startManager(t)
	refused := func(t *testing.T, c *v1alpha1.M2MClient, value string) {
		t.Helper()
		if _, refusal := server.ask(c.ClientID(), value); refusal != "invalid_client" {
			t.Errorf("a value that others wrote: %q", refusal)
		}
	}
	t.Run("edited value", func(t *testing.T) {
		c, _, second := settledClient(t, "edited")
		before := c.Status.Credentials[0].ID
		secret := get(t, &corev1.Secret{}, c.Namespace, c.Name)
		secret.Data[manifests.KeyClientSecret] = []byte("chosen-by-a-stranger")
		suite.Save(t, admin, secret)
		suite.Eventually(t, func() string { return unsettled(c, before) })
		awaitEvent(t, c, v1alpha1.ReasonCredentialReplaced)
		refused(t, c, "chosen-by-a-stranger")
		if !accepted(t, c, valueOf(t, c), time.Now()) || !accepted(t, c, second, time.Now()) {
			t.Error("it was not replaced as in a rotation")
		}
	})
	t.Run("old copy", func(t *testing.T) {
		c, first, second := settledClient(t, "copied")
		backup := get(t, &corev1.Secret{}, c.Namespace, c.Name)
		clockAhead.Add(int64(time.Hour))
		change(t, c, func(c *v1alpha1.M2MClient) { c.Spec.Credential.Revision = "2" })
		before := c.Status.Credentials[0].ID
		suite.Eventually(t, func() string { return unsettled(c, before) })
		before = c.Status.Credentials[0].ID
		backup.ResourceVersion = get(t, &corev1.Secret{}, c.Namespace, c.Name).ResourceVersion
		if err := admin.Update(ctx, backup); err != nil {
			t.Fatal(err)
		}
		suite.Eventually(t, func() string { return unsettled(c, before) })
		awaitEvent(t, c, v1alpha1.ReasonCredentialReplaced)
		refused(t, c, first)
		if value := valueOf(t, c); value == first || value == second {
			t.Error("an old value came back")
		}
	})
	t.Run("forged owner", func(t *testing.T) {
		other, _, stolen := settledClient(t, "other")
		original := get(t, &corev1.Secret{}, other.Namespace, other.Name)
		c := rotatingClient("tampering", "heir", "tampering", 8760*time.Hour)
		c.Spec.Credential.SecretName = "forged"
		forged := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{
			Namespace: c.Namespace, Name: "forged", Annotations: original.Annotations, Labels: map[string]string{
				manifests.LabelManagedBy: manifests.ManagedBy, manifests.LabelM2MClient: c.Name,
			},
		}, Data: original.Data}
		if err := m.stop(); err != nil { // which would be faster
			t.Fatal(err)
		}
		create(t, c)
		forged.OwnerReferences = []metav1.OwnerReference{*metav1.NewControllerRef(c, v1alpha1.GroupVersion.WithKind("M2MClient"))}
		create(t, forged)
		startManager(t)
		stranger(t, c)
		refused(t, c, stolen)
	})
	t.Run("forged annotations", func(t *testing.T) {
		startManager(t)
		c, _, second := settledClient(t, "annotated")
		data, err := credential.NewPepper(zeros{})
		if err != nil {
			t.Fatal(err)
		}
		pepper, err := credential.ParsePepper(data)
		if err != nil {
			t.Fatal(err)
		}
		owner := credential.Owner{Issuer: "tampering", ClientID: c.ClientID()}
		chosen := credential.Credential{ID: "0123456789abcdef", Secret: "chosen-by-a-stranger"}
		entry := pepper.Entry(owner, chosen, v1alpha1.CredentialCurrent, time.Now(), time.Time{})
		entry.PepperID = c.Status.Credentials[0].PepperID
		annotations, err := pepper.Annotate(owner, credential.Held{Current: entry, Revision: "1"})
		if err != nil {
			t.Fatal(err)
		}
		secret := get(t, &corev1.Secret{}, c.Namespace, c.Name)
		secret.Annotations = annotations
		secret.Data[manifests.KeyClientSecret] = []byte(chosen.Secret)
		suite.Save(t, admin, secret)
		stranger(t, c)
		refused(t, c, chosen.Secret)
		if !accepted(t, c, second, time.Now()) {
			t.Error("the secret that was good is refused")
		}
	})
}

// zeros is a reader of a pepper that is not the issuer's.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

// stranger waits until the client's Secret is reported as a stranger's, which is left alone.
func stranger(t *testing.T, c *v1alpha1.M2MClient) {
	t.Helper()
	secret := get(t, &corev1.Secret{}, c.Namespace, c.SecretName())
	awaitEvent(t, c, v1alpha1.ReasonSecretNotOwned)
	suite.Eventually(t, func() string {
		for _, condition := range get(t, c, c.Namespace, c.Name).Status.Conditions {
			if condition.Type == v1alpha1.ConditionReady && condition.Reason != v1alpha1.ReasonSecretNotOwned {
				return "Ready has the reason " + condition.Reason
			}
		}
		return ""
	})
	if again := get(t, &corev1.Secret{}, c.Namespace, c.SecretName()); secret.ResourceVersion != again.ResourceVersion {
		t.Error("a stranger's Secret was written")
	}
}

// TestRevokedIsRefusedWithoutAManager: issuers go by the spec; a new secret has to wait for a manager.
func TestRevokedIsRefusedWithoutAManager(t *testing.T) {
	ensureIssuer(t, "tampering")
	server := startIssuer(t, "tampering")
	m := startManager(t)
	c, first, second := settledClient(t, "compromised")
	if err := m.stop(); err != nil {
		t.Fatal(err)
	}
	told := func(secret, want string) {
		t.Helper()
		suite.Eventually(t, func() string {
			if _, refusal := server.ask(c.ClientID(), secret); refusal != want {
				return fmt.Sprintf("told %q, want %q", refusal, want)
			}
			return ""
		})
	}
	told(second, "")
	before := c.Status.Credentials[0].ID
	change(t, c, func(c *v1alpha1.M2MClient) {
		c.Spec.Credential.RevokedIDs = []v1alpha1.CredentialID{v1alpha1.CredentialID(before)}
	})
	told(second, "invalid_client")
	told(first, "")
	startManager(t)
	suite.Eventually(t, func() string { return unsettled(c, before) })
	told(valueOf(t, c), "")
	told(second, "invalid_client")
	if text := fmt.Sprint(get(t, &corev1.Secret{}, c.Namespace, c.Name).Annotations, c.Status); strings.Contains(text, before) {
		t.Error("the revoked credential is still known")
	}
}
