package faults

import (
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/internal/credential"
	"github.com/m2m-operator/m2m-operator/internal/keyring"
	"github.com/m2m-operator/m2m-operator/internal/manifests"
	"github.com/m2m-operator/m2m-operator/test/suite"
)

// crashes plays a job again and again, with a manager that dies before or after its first write, its second, and so on,
// until there is none left to die at. The job is set off by begin, and done when unfinished returns "", which it must
// come to in the hands of the next manager. Meanwhile, with no manager at all, refused must return "".
func crashes(t *testing.T, begin func(round int) (unfinished, refused func() string)) {
	t.Helper()
	m := startManager(t)
	for round := 0; ; round++ {
		n, after := round/2+1, round%2 == 1
		m.set(n, after)
		unfinished, refused := begin(round)
		survived := false
		suite.Eventually(t, func() string {
			select {
			case <-m.died:
				return ""
			default:
			}
			if problem := unfinished(); problem != "" {
				return problem
			}
			survived = m.disarm()
			return ""
		})
		if survived {
			t.Logf("killed at each of %d writes", n-1)
			if n < 3 {
				t.Errorf("there were only %d writes to die at: the test has missed some", n-1)
			}
			return
		}
		<-m.died
		_ = m.stop() // its errors are those of a dead manager
		last := fmt.Sprintf("killed at write %d, %s (after it: %t): ", n, m.last, after)
		explained := func(check func() string) func() string {
			return func() string {
				if problem := check(); problem != "" {
					return last + problem
				}
				return ""
			}
		}
		suite.Eventually(t, explained(refused))
		m = startManager(t)
		suite.Eventually(t, explained(unfinished))
	}
}

// ensureIssuer makes the TokenIssuer, with an API for all its clients.
func ensureIssuer(t *testing.T, name string) {
	t.Helper()
	issuer := tokenIssuer(name)
	if admin.Get(ctx, client.ObjectKeyFromObject(issuer), issuer) == nil {
		return
	}
	create(t, issuer, namespace(name), openAPI(name, name))
	m := startManager(t)
	awaitReady(t, issuer)
	if err := m.stop(); err != nil {
		t.Fatal(err)
	}
}

// TestCrashAtEveryWriteOfARotation: whatever changes a secret, and wherever the manager dies meanwhile, the next one
// completes it. It makes one credential of which the workload learns, leaves none behind, and the workload is not refused.
func TestCrashAtEveryWriteOfARotation(t *testing.T) {
	t.Cleanup(resetClock)
	ensureIssuer(t, "crashes")
	server := startIssuer(t, "crashes")
	for name, trigger := range map[string]func(t *testing.T, c *v1alpha1.M2MClient, id string){
		"scheduled": func(t *testing.T, c *v1alpha1.M2MClient, _ string) { change(t, c, touch) },
		"revision": func(t *testing.T, c *v1alpha1.M2MClient, id string) {
			change(t, c, func(c *v1alpha1.M2MClient) { c.Spec.Credential.Revision = "after-" + id })
		},
		"revocation": func(t *testing.T, c *v1alpha1.M2MClient, id string) {
			change(t, c, func(c *v1alpha1.M2MClient) {
				c.Spec.Credential.RevokedIDs = append(c.Spec.Credential.RevokedIDs, v1alpha1.CredentialID(id))
			})
		},
		"deleted-secret": func(t *testing.T, c *v1alpha1.M2MClient, _ string) {
			if err := admin.Delete(ctx, get(t, &corev1.Secret{}, c.Namespace, c.Name)); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			interval := 8760 * time.Hour
			if name == "scheduled" {
				interval = time.Hour
			}
			c := rotatingClient("crashes", name, "crashes", interval)
			create(t, c)
			m := startManager(t)
			suite.Eventually(t, func() string { return unsettled(c, "") })
			if err := m.stop(); err != nil {
				t.Fatal(err)
			}
			w := startWorkload(t, server, c)
			rounds := 0
			crashes(t, func(round int) (unfinished, refused func() string) {
				rounds = round + 1
				clockAhead.Add(int64(time.Hour)) // the previous one has ended, and a scheduled rotation is due
				before := c.Status.Credentials[0].ID
				trigger(t, c, before)
				return func() string { return unsettled(c, before) }, func() string { return w.refusedNow(c) }
			})
			awaitReady(t, c)
			suite.Eventually(t, func() string { return w.missed(rounds + 1) })
			for _, id := range c.Spec.Credential.RevokedIDs {
				if c.Status.Credentials[0].ID == string(id) {
					t.Errorf("the revoked credential %s is the current one", id)
				}
			}
		})
	}
}

// TestCrashAtEveryWriteOfABirth: the same for a first TokenIssuer and the first client of it.
func TestCrashAtEveryWriteOfABirth(t *testing.T) {
	create(t, namespace("births"))
	crashes(t, func(round int) (unfinished, refused func() string) {
		name := fmt.Sprintf("birth-%d", round)
		issuer, c := tokenIssuer(name), rotatingClient("births", name, name, 8760*time.Hour)
		create(t, issuer, c)
		refused = func() string {
			secret := &corev1.Secret{}
			if admin.Get(ctx, client.ObjectKeyFromObject(c), secret) == nil && !accepted(t, c, string(secret.Data[manifests.KeyClientSecret]), time.Now()) {
				return "what the Secret holds is not accepted"
			}
			return ""
		}
		return func() string {
			if problem := unsettled(c, ""); problem != "" {
				return problem
			}
			if problem := refused(); problem != "" {
				return problem
			}
			return unborn(t, name)
		}, refused
	})
}

// unborn says what the TokenIssuer lacks, or has too much of.
func unborn(t *testing.T, name string) string {
	issuer := get(t, &v1alpha1.TokenIssuer{}, "", name)
	for _, c := range issuer.Status.Conditions {
		if c.Type == v1alpha1.ConditionReady && c.Status != metav1.ConditionTrue {
			return c.Message
		}
	}
	named := map[string]bool{}
	for _, key := range issuer.Status.Keys {
		named[key.KID] = true
	}
	var secrets corev1.SecretList
	if err := admin.List(ctx, &secrets, client.InNamespace(suite.InstallNamespace), client.MatchingLabels{
		manifests.LabelIssuer: name, manifests.LabelContent: manifests.ContentSigningKey,
	}); err != nil {
		return err.Error()
	}
	if len(named) != 2 || len(secrets.Items) != 2 {
		return fmt.Sprintf("%d keys in status, %d in Secrets, want an active and an announced one", len(named), len(secrets.Items))
	}
	for _, secret := range secrets.Items {
		key, err := keyring.ParsePrivate(secret.Data[manifests.KeyPrivateJWK])
		if err != nil || !named[key.KeyID] {
			return fmt.Sprintf("the key in %s is an orphan: %v", secret.Name, err)
		}
	}
	return ""
}

// TestTwoLeaders: two managers that both think they lead, through a hundred rotations: by schedule, and by a revision
// that changes when a rotation is scheduled as well. Each brings one credential, which is accepted and never taken back.
func TestTwoLeaders(t *testing.T) {
	const rounds = 100
	t.Cleanup(resetClock)
	ensureIssuer(t, "leaders")
	server := startIssuer(t, "leaders")
	startManager(t)
	startManager(t)
	c := rotatingClient("leaders", "publisher", "leaders", time.Hour)
	create(t, c)
	suite.Eventually(t, func() string { return unsettled(c, "") })
	w := startWorkload(t, server, c)
	for round := range rounds {
		suite.Eventually(t, func() string { return w.missed(round + 1) })
		before := c.Status.Credentials[0].ID
		if round%2 == 1 { // which waits for the previous one, and so for the hour in which the schedule comes too
			change(t, c, func(c *v1alpha1.M2MClient) { c.Spec.Credential.Revision = fmt.Sprint(round) })
		}
		clockAhead.Add(int64(time.Hour))
		change(t, c, touch)
		suite.Eventually(t, func() string { return unsettled(c, before) })
	}
	suite.Eventually(t, func() string { return w.missed(rounds + 1) })
	awaitReady(t, c)
	if id := get(t, &corev1.Secret{}, c.Namespace, c.Name).Annotations[credential.AnnotationID]; id != w.ids[rounds] {
		t.Errorf("the Secret went back to %s", id)
	}
}
