//go:build soak

package soak

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
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
			"client secrets": rotateSecret, "signing keys": rotateKeys, "authorities and certificates": rotateAuthority,
			"issuers": restartIssuers, "leaders": killLeader,
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				begin, n := time.Now(), 0
				for ; time.Now().Before(end); n++ {
					rotate(t, w)
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

// announcement of a new authority, which takes a day and is made to end after so long.
const announcement = 10 * time.Second

// rotateAuthority announces another authority, as long ago as if the day had nearly passed. The manager does the rest.
func rotateAuthority(t *testing.T, w *world) {
	key := client.ObjectKey{Namespace: suite.InstallNamespace, Name: manifests.AuthorityName("default")}
	secret, serving := &corev1.Secret{}, &corev1.Secret{}
	servingKey := client.ObjectKey{Namespace: suite.InstallNamespace, Name: manifests.ServingName(w.tokenIssuer(t))}
	for object, key := range map[*corev1.Secret]client.ObjectKey{secret: key, serving: servingKey} {
		if err := w.Admin.Get(ctx, key, object); err != nil {
			t.Fatal(err)
		}
	}
	authorities := manifests.ReadAuthorities(secret)
	next, err := pki.NewAuthority("m2m-operator default", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	authorities.Next, authorities.NextSince = next, time.Now().Add(announcement-pki.AnnouncePeriod)
	secret.Data = manifests.AuthoritySecret("default", suite.InstallNamespace, authorities).Data
	if err := w.Admin.Update(ctx, secret); err != nil {
		t.Fatal(err)
	}
	before := serving.Data[corev1.TLSCertKey]
	suite.Eventually(t, func() string {
		if err := w.Admin.Get(ctx, servingKey, serving); err != nil {
			return err.Error()
		}
		if bytes.Equal(serving.Data[corev1.TLSCertKey], before) {
			return "the serving certificate is the one of before"
		}
		return ""
	})
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
	former, next := w.leader(t)
	former.end(syscall.SIGKILL)
	since := time.Now()
	w.startManager(t)
	next.awaitLog(t, `"msg":"leading"`)
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
