//go:build soak

package soak

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/internal/manifests"
	"github.com/m2m-operator/m2m-operator/internal/pki"
	"github.com/m2m-operator/m2m-operator/test/suite"
)

// rotating is how long everything goes on rotating. What has begun then is awaited.
const rotating = time.Minute

// testRotation rotates everything at once, again and again.
func testRotation(t *testing.T, w *world) {
	l := w.startLoad(t, w.newClient(t, "rotating"))
	l.goOn(t)
	end := time.Now().Add(rotating)
	t.Run("at once", func(t *testing.T) {
		for name, rotate := range map[string]func(*testing.T, *world){
			"client secrets": rotateSecret, "signing keys": rotateKeys, "authorities and certificates": func(t *testing.T, w *world) { rotateAuthority(t, w, l.client) },
			"issuers": restartIssuers, "leaders": killLeader,
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				begin, n := time.Now(), 0
				for ; time.Now().Before(end); n++ {
					rotate(t, w)
				}
				if n == 0 {
					t.Errorf("%s have not rotated", name)
				}
				measured("everything rotates: %s %d times in %.0f s", name, n, time.Since(begin).Seconds())
			})
		}
	})
	l.goOn(t)
	l.judge(t, "everything rotates")
	if l.failovers > 0 {
		t.Errorf("%d requests had to be tried again, and no issuer was killed", l.failovers)
	}
	if len(l.verifiers.signed) < 2 {
		t.Errorf("tokens are of the keys %v", l.verifiers.signed)
	}
}

// rotateSecret waits until the load has what the Secret holds then.
func rotateSecret(t *testing.T, w *world) {
	revision := rand.Text()
	w.change(t, "rotating", func(spec *v1alpha1.M2MClientSpec) { spec.Credential.Revision = revision })
	suite.Eventually(t, func() string { return w.revised("rotating", revision) })
}

func (w *world) tokenIssuer(t testing.TB) *v1alpha1.TokenIssuer {
	t.Helper()
	issuer := &v1alpha1.TokenIssuer{}
	if err := w.Admin.Get(ctx, client.ObjectKey{Name: "default"}, issuer); err != nil {
		t.Fatal(err)
	}
	return issuer
}

// rotateKeys may have to wait until verifiers know the next key, twice if the manager that waits is killed.
func rotateKeys(t *testing.T, w *world) {
	issuer, revision := w.tokenIssuer(t), rand.Text()
	before := issuer.DeepCopy()
	issuer.Spec.Signing.Revision = revision
	if err := w.Admin.Patch(ctx, issuer, client.MergeFrom(before)); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(2 * time.Minute); w.tokenIssuer(t).Status.SigningRevision != revision; <-time.After(100 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the keys are still %+v; %+v", w.tokenIssuer(t).Status.Keys, w.tokenIssuer(t).Status.Conditions)
		}
	}
}

// rotateAuthority announces another authority and, when the client has heard of it, lets the day pass that it takes until
// it signs. The manager does the rest.
func rotateAuthority(t *testing.T, w *world, m *mounted) {
	next, err := pki.NewAuthority("m2m-operator default", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	w.announce(t, next, time.Now())
	suite.Eventually(t, func() string {
		if !bytes.Contains(m.now.Load().authority, bytes.TrimSpace(next.Certificate)) {
			return "the client has not heard of the next authority"
		}
		return ""
	})
	before := w.certificate(t)
	w.announce(t, next, time.Now().Add(-pki.AnnouncePeriod))
	suite.Eventually(t, func() string {
		if bytes.Equal(w.certificate(t), before) {
			return "the serving certificate is the one of before"
		}
		return ""
	})
}

func (w *world) announce(t testing.TB, next pki.Pair, since time.Time) {
	t.Helper()
	secret := &corev1.Secret{}
	if err := w.Admin.Get(ctx, client.ObjectKey{Namespace: suite.InstallNamespace, Name: manifests.AuthorityName("default")}, secret); err != nil {
		t.Fatal(err)
	}
	authorities := manifests.ReadAuthorities(secret)
	authorities.Next, authorities.NextSince = next, since
	secret.Data = manifests.AuthoritySecret("default", suite.InstallNamespace, authorities).Data
	if err := w.Admin.Update(ctx, secret); err != nil {
		t.Fatal(err)
	}
}

// certificate that issuers are to serve.
func (w *world) certificate(t testing.TB) []byte {
	t.Helper()
	secret := &corev1.Secret{}
	if err := w.Admin.Get(ctx, client.ObjectKey{Namespace: suite.InstallNamespace, Name: manifests.ServingName(w.tokenIssuer(t))}, secret); err != nil {
		t.Fatal(err)
	}
	return secret.Data[corev1.TLSCertKey]
}

// restartIssuers one after the other, as a rolling update does.
func restartIssuers(t *testing.T, w *world) {
	for n, i := range w.issuers {
		i.end(syscall.SIGTERM)
		w.start(t, i)
		suite.Eventually(t, func() string {
			if !w.service.ready[n].Load() {
				return "the Service does not know the issuer yet"
			}
			return ""
		})
	}
}

// killLeader, and start another manager instead.
func killLeader(t *testing.T, w *world) {
	former, _ := w.leader(t)
	former.end(syscall.SIGKILL)
	since := time.Now()
	w.startManager(t)
	suite.Eventually(t, func() string {
		if !slices.ContainsFunc(w.managers, func(p *process) bool { return !p.ended() && p.leads() }) {
			return "no manager leads"
		}
		return ""
	})
	measured("leader killed: another leads %.1f s later", time.Since(since).Seconds())
	until(since.Add(rotating)) // the keys need a manager that stays
}

// keepLooking makes the manager look at the endpoints as often as its clock asks for, until the test ends.
func (w *world) keepLooking(t testing.TB) {
	ctx, cancel := context.WithCancel(ctx)
	var looking sync.WaitGroup
	looking.Go(func() {
		n := 0
		every(ctx, 500*time.Millisecond, func() {
			n++
			patch := fmt.Appendf(nil, `{"metadata":{"annotations":{"test":"%d"}}}`, n)
			_ = w.Admin.Patch(ctx, &v1alpha1.TokenIssuer{ObjectMeta: metaOf("default")}, client.RawPatch("application/merge-patch+json", patch)) // or half a second later
		})
	})
	t.Cleanup(func() {
		cancel()
		looking.Wait()
	})
}
