//go:build e2e

package e2e

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"testing"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
)

// testRotation: keys and secrets change, on command and in an emergency, and no request of a pod notices. Verifiers that
// may keep a JWKS for five minutes make it last six, in which everything else finds its time too.
func testRotation(t *testing.T) {
	install(t, image)
	ensureCaller(t)
	first := newCaller(t)
	l := startLoad(t, "--patient", "--pause=100ms")
	await(t, 10*time.Second, "a verifier with a JWKS", func(context.Context) string {
		now, _ := l.now(t)
		if now.Checked == 0 {
			return now.String()
		}
		return ""
	})

	// The emergency is first: the key that it announces is one that the verifier of before does not know for as long as it
	// keeps its JWKS. It is this key whose turn comes next.
	revoked := signingKey(t, v1alpha1.KeyActive)
	l.phase(t, "emergency revocation of a signing key", func(t *testing.T) { first.revokeAndAwait(t, "signing key revoked", revoked) })
	announced := signingKey(t, v1alpha1.KeyAnnounced)
	asked, revision := time.Now(), fmt.Sprint("e2e-", time.Now().Unix())
	changeIssuer(t, func(issuer *v1alpha1.TokenIssuer) { issuer.Spec.Signing.Revision = revision })

	l.phase(t, "rotation of a mounted secret", func(t *testing.T) { l.rotateSecret(t) })
	if got := first.ask(t.Context(), first.at(doors(t)["Service"])); got != "granted" {
		t.Errorf("the secret before, within the overlap: %s", got)
	}
	l.phase(t, "another rotation of a mounted secret", func(t *testing.T) { l.rotateSecret(t) })
	for door, address := range doors(t) {
		if got := first.ask(t.Context(), first.at(address)); got != "invalid_client" {
			t.Errorf("%s, asked with the secret before the one before: %s", door, got)
		}
	}

	l.phase(t, "rotation of the signing keys", func(t *testing.T) { l.awaitKey(t, announced, revision, asked) })
	total, _ := l.now(t)
	say("%s", total)
	judge(t, total, revoked, announced)

	// The retired key too, so that not every run leaves one.
	l.phase(t, "emergency revocation of two signing keys", func(t *testing.T) {
		newCaller(t).revokeAndAwait(t, "two signing keys revoked", signingKey(t, v1alpha1.KeyActive), signingKey(t, v1alpha1.KeyRetired))
	})
}

// judge what verifiers said that keep each JWKS for its max-age, and meet every token again with every one of these.
func judge(t *testing.T, total summary, revoked, rotated string) {
	t.Helper()
	tokens := 0
	say("tokens by key: %v; verifiers' refusals of them: %v", total.Signed, total.Refused)
	for kid, signed := range total.Signed {
		tokens += signed
		if refused := total.Refused[kid]; refused > 0 && kid != revoked {
			t.Errorf("verifiers refused tokens of the key %s, which is not revoked, %d times", kid, refused)
		}
	}
	if len(total.Signed) != 3 || total.Signed[rotated] == 0 {
		t.Errorf("tokens are not of the revoked key %s, the one after it and %s: %v", revoked, rotated, total.Signed)
	}
	if total.Refused[revoked] == 0 {
		t.Error("no verifier refused a token of the revoked key, although each has fetched another JWKS since: do they look?")
	}
	say("%d tokens, each verified with every JWKS that a verifier may have kept when it came or fetched later, %d in all", tokens, total.Checked)
}

// rotateSecret asks for another client secret and waits until it is in the file that the pod has mounted.
func (l *load) rotateSecret(t *testing.T) {
	key := client.ObjectKey{Namespace: "e2e", Name: "loader"}
	caller := &v1alpha1.M2MClient{}
	if err := kube.Get(t.Context(), key, caller); err != nil {
		t.Fatal(err)
	}
	overlap := caller.Spec.Credential.Rotation.Overlap.Duration
	before := caller.DeepCopy()
	caller.Spec.Credential.Revision = fmt.Sprint("e2e-", time.Now().UnixMilli())
	if err := kube.Patch(t.Context(), caller, client.MergeFrom(before)); err != nil {
		t.Fatal(err)
	}
	asked, old := time.Now(), newCaller(t).secret
	took := await(t, overlap+10*time.Second, "the rotation", func(ctx context.Context) string {
		if err := kube.Get(ctx, key, caller); err != nil {
			return err.Error()
		}
		if caller.Status.CredentialRevision != caller.Spec.Credential.Revision {
			return fmt.Sprintf("%s is still to come; next: %v", caller.Spec.Credential.Revision, caller.Status.NextRotationTime)
		}
		return ""
	})
	secret := newCaller(t).secret
	if secret == old {
		t.Fatal("the Secret holds what it held")
	}
	sum := sha256.Sum256([]byte(secret))
	mounted := await(t, overlap, "the new secret in the pod's file", func(context.Context) string {
		if now, _ := l.now(t); now.Secret != hex.EncodeToString(sum[:]) {
			return "the file holds another"
		}
		return ""
	})
	say("a new client secret %.1f s after it was asked for, in the mounted file %.1f s later; %.1f s in all", took.Seconds(), mounted.Seconds(), time.Since(asked).Seconds())
}

// awaitKey waits until a key signs, and a verifier that has fetched the JWKS since has met every token.
func (l *load) awaitKey(t *testing.T, kid, revision string, asked time.Time) {
	const atMost = 8 * time.Minute
	await(t, atMost, "the rotation of the signing keys", func(context.Context) string {
		if issuer := defaultIssuer(t); issuer.Status.SigningRevision != revision {
			return fmt.Sprintf("%+v", issuer.Status.Keys)
		}
		return ""
	})
	if got := signingKey(t, v1alpha1.KeyActive); got != kid {
		t.Errorf("the key %s signs, and not %s, which was announced", got, kid)
	}
	say("the next key signs %.1f s after it was announced and asked for", time.Since(asked).Seconds())
	await(t, 10*time.Second, "tokens of the next key", func(context.Context) string {
		if now, _ := l.now(t); now.Signed[kid] == 0 {
			return fmt.Sprint(now.Signed)
		}
		return ""
	})
	since, _ := l.now(t)
	await(t, time.Minute, "a verifier with a newer JWKS", func(context.Context) string {
		if now, _ := l.now(t); now.Checked <= since.Fetched {
			return fmt.Sprintf("%d fetched, %d checked", now.Fetched, now.Checked)
		}
		return ""
	})
}

func defaultIssuer(t *testing.T) *v1alpha1.TokenIssuer {
	t.Helper()
	issuer := &v1alpha1.TokenIssuer{}
	if err := kube.Get(t.Context(), client.ObjectKey{Name: "default"}, issuer); err != nil {
		t.Fatal(err)
	}
	return issuer
}

// changeIssuer changes the spec of the default TokenIssuer.
func changeIssuer(t *testing.T, change func(issuer *v1alpha1.TokenIssuer)) {
	t.Helper()
	issuer := defaultIssuer(t)
	before := issuer.DeepCopy()
	change(issuer)
	if err := kube.Patch(t.Context(), issuer, client.MergeFrom(before)); err != nil {
		t.Fatal(err)
	}
}
