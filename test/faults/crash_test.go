package faults

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/internal/keyring"
	"github.com/m2m-operator/m2m-operator/internal/manifests"
	"github.com/m2m-operator/m2m-operator/test/suite"
)

// job is something that a manager does, which can be set off again and again.
type job struct {
	// name that everything has which it is about, and nothing else.
	name string
	// from which write on, and to which, the manager dies at each. Default: from the first, to the last that there is.
	from, to int
	// spare ends the paths of writes that do not count.
	spare string
	// begin sets it off.
	begin func(round int)
	// unfinished returns "" once it is done, which it must come to in the hands of the next manager.
	unfinished func() string
	// refused must return "" while there is no manager at all.
	refused func() string
}

// crashes plays jobs again and again, with a manager that dies for each of them before or after its first write, its
// second, and so on, until there is none left to die at. Each round begins with prepare. While the jobs that are given to
// it are not finished, wait lets time pass.
func crashes(t *testing.T, jobs []*job, prepare func(), wait func(m *manager, jobs []*job)) {
	t.Helper()
	m := startManager(t)
	for round := 0; len(jobs) > 0; round++ {
		prepare()
		deaths := map[*job]*death{}
		for _, j := range jobs {
			deaths[j] = m.set(j.name, j.spare, max(1, j.from)+round/2, round%2 == 1)
			j.begin(round)
		}
		finish(t, m, jobs, wait, func(j *job) string {
			select {
			case <-deaths[j].died:
				return ""
			default:
				return j.unfinished()
			}
		})
		var killed []*job
		for _, j := range jobs {
			if m.callOff(deaths[j]) {
				t.Logf("%s: killed before and after each write but from the %dth on", j.name, deaths[j].n)
				if deaths[j].n < max(1, j.from)+2 {
					t.Errorf("%s: there were fewer than %d writes to die at: the test has missed some", j.name, deaths[j].n)
				}
				continue
			}
			killed = append(killed, j)
		}
		if len(killed) == 0 {
			return
		}
		_ = m.stop() // its errors are those of a dead manager
		explained := func(j *job, problem string) string {
			if d := deaths[j]; problem != "" {
				return fmt.Sprintf("%s, killed at write %d, %s (after it: %t): %s", j.name, d.n, d.last, d.after, problem)
			}
			return ""
		}
		for _, j := range killed {
			<-deaths[j].died
			suite.Eventually(t, func() string { return explained(j, j.refused()) })
		}
		m = startManager(t)
		finish(t, m, killed, wait, func(j *job) string { return explained(j, j.unfinished()) })
		jobs = slices.DeleteFunc(killed, func(j *job) bool { return deaths[j].n == j.to && deaths[j].after })
	}
}

// finish waits until the jobs are done.
func finish(t *testing.T, m *manager, jobs []*job, wait func(*manager, []*job), unfinished func(*job) string) {
	t.Helper()
	const patience = 200 // waits
	for waits := 0; wait != nil; waits++ {
		var open []*job
		for _, j := range jobs {
			if unfinished(j) != "" {
				open = append(open, &job{name: j.name, unfinished: func() string { return unfinished(j) }})
			}
		}
		if len(open) == 0 {
			return
		}
		if waits == patience {
			t.Fatal(unfinished(jobs[0]))
		}
		wait(m, open)
	}
	for _, j := range jobs {
		suite.Eventually(t, func() string { return unfinished(j) })
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
	m := startManager(t)
	var jobs []*job
	rounds := map[*job]int{}
	clients, workloads := map[*job]*v1alpha1.M2MClient{}, map[*job]*workload{}
	for name, trigger := range map[string]func(c *v1alpha1.M2MClient, id string){
		"crash-scheduled": func(c *v1alpha1.M2MClient, _ string) { change(t, c, touch) },
		"crash-revision": func(c *v1alpha1.M2MClient, id string) {
			change(t, c, func(c *v1alpha1.M2MClient) { c.Spec.Credential.Revision = "after-" + id })
		},
		"crash-revocation": func(c *v1alpha1.M2MClient, id string) {
			change(t, c, func(c *v1alpha1.M2MClient) {
				c.Spec.Credential.RevokedIDs = append(c.Spec.Credential.RevokedIDs, v1alpha1.CredentialID(id))
			})
		},
		"crash-deletion": func(c *v1alpha1.M2MClient, _ string) {
			if err := admin.Delete(ctx, get(t, &corev1.Secret{}, c.Namespace, c.Name)); err != nil {
				t.Fatal(err)
			}
		},
	} {
		interval := 8760 * time.Hour
		if name == "crash-scheduled" {
			interval = time.Hour
		}
		c := rotatingClient("crashes", name, "crashes", interval)
		create(t, c)
		suite.Eventually(t, func() string { return unsettled(c, "") })
		w := startWorkload(t, server, c)
		before, j := "", &job{name: name}
		j.begin = func(round int) {
			rounds[j] = round + 1
			before = c.Status.Credentials[0].ID
			trigger(c, before)
		}
		j.unfinished = func() string { return unsettled(c, before) }
		j.refused = func() string { return w.refusedNow(c) }
		jobs, clients[j], workloads[j] = append(jobs, j), c, w
	}
	if err := m.stop(); err != nil {
		t.Fatal(err)
	}
	// The previous one has ended, and a scheduled rotation is due.
	crashes(t, jobs, func() { clockAhead.Add(int64(time.Hour)) }, nil)
	for j, c := range clients {
		awaitReady(t, c)
		suite.Eventually(t, func() string { return workloads[j].missed(rounds[j] + 1) })
		for _, id := range c.Spec.Credential.RevokedIDs {
			if c.Status.Credentials[0].ID == string(id) {
				t.Errorf("the revoked credential %s is the current one", id)
			}
		}
	}
}

// TestCrashAtEveryWriteOfABirth: the same for a first TokenIssuer and the first client of it, as many of them as there are
// writes to die at.
func TestCrashAtEveryWriteOfABirth(t *testing.T) {
	const most = 16 // writes
	create(t, namespace("births"))
	t.Cleanup(func() { bury(t) })
	m := startManager(t)
	unfinished, refused := map[*death]func() string{}, map[*death]func() string{}
	var deaths []*death
	for i := range 2 * most {
		name := fmt.Sprintf("birth-%02d", i)
		d := m.set(name, "", i/2+1, i%2 == 1)
		issuer, c := tokenIssuer(name), rotatingClient("births", name, name, 8760*time.Hour)
		issuer.Labels = map[string]string{"test": "births"}
		create(t, issuer, c)
		deaths = append(deaths, d)
		refused[d] = func() string {
			secret := &corev1.Secret{}
			if admin.Get(ctx, client.ObjectKeyFromObject(c), secret) == nil && !accepted(t, c, string(secret.Data[manifests.KeyClientSecret]), time.Now()) {
				return "what the Secret holds is not accepted"
			}
			return ""
		}
		unfinished[d] = func() string {
			for _, check := range []func() string{func() string { return unsettled(c, "") }, refused[d], func() string { return unborn(t, name) }} {
				if problem := check(); problem != "" {
					return fmt.Sprintf("%s, killed at write %d, %s (after it: %t): %s", name, d.n, d.last, d.after, problem)
				}
			}
			return ""
		}
	}
	killed := 0
	for _, d := range deaths {
		suite.Eventually(t, func() string {
			select {
			case <-d.died:
				return ""
			default:
				return unfinished[d]()
			}
		})
		if !m.callOff(d) {
			killed++
		}
	}
	t.Logf("killed before or after %d writes", killed)
	if killed < 2*8 || deaths[2*most-1].dead {
		t.Errorf("%d of %d managers died: a birth has other than so many writes", killed, len(deaths))
	}
	_ = m.stop() // its errors are those of a dead manager
	for _, d := range deaths {
		suite.Eventually(t, refused[d])
	}
	startManager(t)
	for _, d := range deaths {
		suite.Eventually(t, unfinished[d])
	}
}

// bury removes what was born, which later managers would look after.
func bury(t *testing.T) {
	t.Helper()
	if err := admin.DeleteAllOf(ctx, &v1alpha1.M2MClient{}, client.InNamespace("births")); err != nil {
		t.Error(err)
	}
	if err := admin.DeleteAllOf(ctx, &v1alpha1.TokenIssuer{}, client.MatchingLabels{"test": "births"}); err != nil {
		t.Error(err)
	}
	var secrets corev1.SecretList
	if err := admin.List(ctx, &secrets, client.InNamespace(suite.InstallNamespace)); err != nil {
		t.Error(err)
	}
	for i := range secrets.Items {
		if strings.HasPrefix(secrets.Items[i].Labels[manifests.LabelIssuer], "birth-") {
			if err := admin.Delete(ctx, &secrets.Items[i]); err != nil {
				t.Error(err)
			}
		}
	}
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
