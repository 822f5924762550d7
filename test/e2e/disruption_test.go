//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/m2m-operator/m2m-operator/internal/manifests"
	"github.com/m2m-operator/m2m-operator/internal/pki"
)

// testDisruption: whatever an administrator does to the issuers, no request fails and every token verifies.
func testDisruption(t *testing.T) {
	install(t, image)
	ensureCaller(t)
	l := startLoad(t)
	l.phase(t, "rolling restart", func(t *testing.T) {
		kubectl(t, "rollout", "restart", "-n", system, "deployment/"+issuerName)
		awaitRollout(t, issuerName, 2)
	})
	l.phase(t, "eviction of each pod", evictAll)
	l.phase(t, "deletion of each pod", func(t *testing.T) {
		for _, pod := range issuerPods(t) {
			if err := kube.Delete(t.Context(), &pod); err != nil {
				t.Fatal(err)
			}
			awaitRollout(t, issuerName, 2)
		}
	})
	l.phase(t, "serving certificate replaced", func(t *testing.T) {
		pods, before := issuerPods(t), tlsSecret(t).Data[corev1.TLSCertKey]
		if err := kube.Delete(t.Context(), tlsSecret(t)); err != nil {
			t.Fatal(err)
		}
		awaitServing(t, before)
		for i, pod := range issuerPods(t) {
			if pod.UID != pods[i].UID || pod.Status.ContainerStatuses[0].RestartCount != 0 {
				t.Errorf("pod %s was restarted", pod.Name)
			}
		}
	})
	l.phase(t, "authority replaced", func(t *testing.T) { replaceAuthority(t, l) })
	total, _ := l.now(t)
	say("%s", total)
}

// evictAll asks for all evictions at once, as kubectl drain does, again and again as long as the budget refuses.
func evictAll(t *testing.T) {
	pods := issuerPods(t)
	refused := 0
	for len(pods) > 0 {
		pods = slices.DeleteFunc(pods, func(pod corev1.Pod) bool {
			err := clients.PolicyV1().Evictions(system).Evict(t.Context(), &policyv1.Eviction{ObjectMeta: metav1.ObjectMeta{Namespace: system, Name: pod.Name}})
			switch {
			case apierrors.IsTooManyRequests(err):
				refused++
				return false
			case err != nil:
				t.Fatal(err)
			}
			return true
		})
		time.Sleep(100 * time.Millisecond)
	}
	if refused == 0 {
		t.Error("both pods could be evicted at once")
	}
	awaitRollout(t, issuerName, 2)
}

func tlsSecret(t *testing.T) *corev1.Secret {
	t.Helper()
	secret := &corev1.Secret{}
	if err := kube.Get(t.Context(), client.ObjectKey{Namespace: system, Name: "m2m-default-tls"}, secret); err != nil {
		t.Fatal(err)
	}
	return secret
}

// awaitServing waits until the Secret holds another certificate than the one before, and every pod serves it.
func awaitServing(t *testing.T, before []byte) {
	t.Helper()
	await(t, 30*time.Second, "the new certificate at every pod", func(ctx context.Context) string {
		secret := &corev1.Secret{}
		if err := kube.Get(ctx, client.ObjectKey{Namespace: system, Name: "m2m-default-tls"}, secret); err != nil {
			return err.Error()
		}
		if bytes.Equal(secret.Data[corev1.TLSCertKey], before) {
			return "not reissued"
		}
		leaf, _ := pem.Decode(secret.Data[corev1.TLSCertKey])
		for door, address := range doors(t) {
			// Which certificate is served is the question, so any will do.
			connection, err := (&tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true, ServerName: host}}).DialContext(ctx, "tcp", address)
			if err != nil {
				return fmt.Sprintf("%s: %v", door, err)
			}
			served := connection.(*tls.Conn).ConnectionState().PeerCertificates[0]
			connection.Close()
			if !bytes.Equal(served.Raw, leaf.Bytes) {
				return door + " serves another"
			}
		}
		return ""
	})
}

// replaceAuthority has the operator replace its authority in the usual order, with the day of waiting left out.
func replaceAuthority(t *testing.T, l *load) {
	next, err := pki.NewAuthority("m2m-operator default", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(next.Certificate)
	sum := sha256.Sum256(block.Bytes)
	changeAuthorities(t, func(a *pki.Authorities) { a.Next, a.NextSince = next, time.Now() })
	took := await(t, 90*time.Second, "the next authority in the pod's ca.crt", func(context.Context) string {
		now, _ := l.now(t)
		if !slices.Contains(now.Authorities, hex.EncodeToString(sum[:])) {
			return fmt.Sprint(now.Authorities)
		}
		return ""
	})
	say("the next authority is mounted after %.1f s", took.Seconds())
	before := tlsSecret(t).Data[corev1.TLSCertKey]
	changeAuthorities(t, func(a *pki.Authorities) { a.NextSince = time.Now().Add(-pki.AnnouncePeriod - time.Hour) })
	awaitServing(t, before)
	awaitSignedBy(t, next)
}

func changeAuthorities(t *testing.T, change func(a *pki.Authorities)) {
	t.Helper()
	secret := &corev1.Secret{}
	if err := kube.Get(t.Context(), client.ObjectKey{Namespace: system, Name: manifests.AuthorityName("default")}, secret); err != nil {
		t.Fatal(err)
	}
	authorities := manifests.ReadAuthorities(secret)
	change(&authorities)
	secret.Data = manifests.AuthoritySecret("default", system, authorities).Data
	if err := kube.Update(t.Context(), secret); err != nil {
		t.Fatal(err)
	}
}

// awaitSignedBy asks a pod with that authority alone.
func awaitSignedBy(t *testing.T, authority pki.Pair) {
	t.Helper()
	c := newCaller(t)
	c.authority = poolOf(t, authority.Certificate)
	await(t, 10*time.Second, "a certificate of the next authority", func(ctx context.Context) string {
		if got := c.ask(ctx, c.at(doors(t)["Service"])); got != "granted" {
			return got
		}
		return ""
	})
}
