package controllers_test

import (
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/internal/credential"
	"github.com/m2m-operator/m2m-operator/test/suite"
)

// awaitCredential waits until the Secret and status agree on a credential other than before, and returns its id.
func awaitCredential(t *testing.T, c *v1alpha1.M2MClient, before string) (id string) {
	t.Helper()
	suite.Eventually(t, func() string {
		id = get(t, &corev1.Secret{}, c.Namespace, c.Name).Annotations[credential.AnnotationID]
		entries := get(t, c, c.Namespace, c.Name).Status.Credentials
		if id == before || len(entries) == 0 || entries[0].ID != id || entries[0].State != v1alpha1.CredentialCurrent {
			return "there is no new credential"
		}
		return ""
	})
	return id
}

func TestCredentialIsRotatedBySchedule(t *testing.T) {
	defer clockAhead.Store(0)
	newIssuer(t, "schedules", nil)
	namespace := newNamespace(t)
	c := newClient(t, namespace, "publisher", "schedules", func(c *v1alpha1.M2MClient) {
		c.Spec.Credential.Rotation = &v1alpha1.CredentialRotation{Interval: metav1.Duration{Duration: 48 * time.Hour}}
	})
	awaitReady(t, c)
	first, value := awaitCredential(t, c, ""), secretValue(t, namespace, "publisher")
	next := c.Status.NextRotationTime
	if next == nil || !next.After(c.CreationTimestamp.Time) || next.After(clock().Add(48*time.Hour)) {
		t.Fatalf("the next rotation is at %s", next)
	}
	clockAhead.Store(int64(time.Until(next.Time) + time.Minute))
	c.Labels = map[string]string{"look": "again"}
	suite.Save(t, admin, c)
	awaitCredential(t, c, first)
	awaitEvent(t, "M2MClient", "publisher", v1alpha1.ReasonCredentialRotated)
	if later := c.Status.NextRotationTime; later == nil || !later.Equal(&metav1.Time{Time: next.Add(48 * time.Hour)}) {
		t.Errorf("the rotation after %s is at %s", next, later)
	}
	rotated, err := time.Parse(time.RFC3339, get(t, &corev1.Secret{}, namespace, "publisher").Annotations[credential.AnnotationRotatedAt])
	if err != nil || rotated.Before(next.Time) {
		t.Errorf("rotated at %s, %v", rotated, err)
	}
	end := c.Status.Credentials[1].ExpiryTime.Time
	if !accepted(t, namespace, "publisher", "schedules", value, end.Add(-time.Second)) || accepted(t, namespace, "publisher", "schedules", value, end) {
		t.Error("the previous secret is not accepted until its end and then never")
	}
	if overlap := end.Sub(rotated); overlap != 24*time.Hour {
		t.Errorf("the overlap is %s", overlap)
	}
}

func TestRevisionWaitsForThePreviousCredential(t *testing.T) {
	defer clockAhead.Store(0)
	newIssuer(t, "revisions", nil)
	namespace := newNamespace(t)
	c := newClient(t, namespace, "publisher", "revisions", nil)
	awaitReady(t, c)
	if c.Status.NextRotationTime != nil {
		t.Errorf("a rotation that nobody asked for is planned for %s", c.Status.NextRotationTime)
	}
	first := awaitCredential(t, c, "")
	c.Spec.Credential.Revision = "1"
	suite.Save(t, admin, c)
	second := awaitCredential(t, c, first)
	awaitReady(t, c)
	c.Spec.Credential.Revision = "2"
	suite.Save(t, admin, c)
	condition := awaitCondition(t, c, v1alpha1.ConditionProgrammed, metav1.ConditionTrue, v1alpha1.ReasonProgrammed)
	next := c.Status.NextRotationTime
	if c.Status.CredentialRevision != "1" || next == nil || !next.Equal(c.Status.Credentials[1].ExpiryTime) {
		t.Errorf("revision %q has been acted on, the next rotation is at %s", c.Status.CredentialRevision, next)
	}
	if !strings.Contains(condition.Message, next.UTC().Format(time.RFC3339)) {
		t.Errorf("the message does not say when: %s", condition.Message)
	}
	clockAhead.Store(int64(credential.Overlap + time.Minute))
	c.Labels = map[string]string{"look": "again"}
	suite.Save(t, admin, c)
	awaitCredential(t, c, second)
	if c.Status.CredentialRevision != "2" || len(c.Status.Credentials) != 2 {
		t.Errorf("revision %q has been acted on, %d credentials", c.Status.CredentialRevision, len(c.Status.Credentials))
	}
}

func TestRevokedCredentialIsReplacedAtOnce(t *testing.T) {
	newIssuer(t, "revoking", nil)
	namespace := newNamespace(t)
	c := newClient(t, namespace, "publisher", "revoking", nil)
	awaitReady(t, c)
	first := awaitCredential(t, c, "")
	c.Spec.Credential.RevokedIDs = []v1alpha1.CredentialID{v1alpha1.CredentialID(first)}
	suite.Save(t, admin, c)
	awaitCredential(t, c, first)
	awaitReady(t, c)
	awaitEvent(t, "M2MClient", "publisher", v1alpha1.ReasonCredentialReplaced)
	if len(c.Status.Credentials) != 1 {
		t.Errorf("status still knows it: %v", c.Status.Credentials)
	}
}

// TestClientWithoutSecretHasNoRotation: what was known of the secret goes with it.
func TestClientWithoutSecretHasNoRotation(t *testing.T) {
	newIssuer(t, "rotationless", nil)
	namespace := newNamespace(t)
	c := newClient(t, namespace, "publisher", "rotationless", func(c *v1alpha1.M2MClient) {
		c.Spec.Credential.Revision = "1"
		c.Spec.Credential.Rotation = &v1alpha1.CredentialRotation{Interval: metav1.Duration{Duration: time.Hour}}
	})
	awaitReady(t, c)
	c.Spec.Authentication = []v1alpha1.AuthenticationMethod{v1alpha1.AuthenticateByServiceAccount}
	c.Spec.ServiceAccountName = "publisher"
	suite.Save(t, admin, c)
	awaitReady(t, c)
	if c.Status.CredentialRevision != "" || c.Status.NextRotationTime != nil || len(c.Status.Credentials) > 0 {
		t.Errorf("status says %+v", c.Status)
	}
}
