package faults

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/internal/keyring"
	"github.com/m2m-operator/m2m-operator/internal/manifests"
	"github.com/m2m-operator/m2m-operator/test/suite"
)

// tampering is what others do with the Secrets of signing keys.
type tampering struct {
	// with returns the Secret that it wrote, for which it may use a key of theirs.
	with func(t *testing.T, s *signer, evil []byte) *corev1.Secret
	// reason that is reported of it.
	reason string
	// lost says that the active key's private half is gone with it.
	lost bool
}

var tamperings = map[string]tampering{
	"another-of-ours": {reason: v1alpha1.ReasonSigningKeyLost, lost: true, with: func(t *testing.T, s *signer, _ []byte) *corev1.Secret {
		keys := s.ring().Keys
		next := get(t, &corev1.Secret{}, suite.InstallNamespace, keyName(s.name, keys[1]))
		return replaceKey(t, keyName(s.name, keys[0]), next.Annotations, next.Data[manifests.KeyPrivateJWK])
	}},
	"a-key-of-theirs": {reason: v1alpha1.ReasonSigningKeyLost, lost: true, with: func(t *testing.T, s *signer, evil []byte) *corev1.Secret {
		name := keyName(s.name, s.ring().Keys[0])
		return replaceKey(t, name, get(t, &corev1.Secret{}, suite.InstallNamespace, name).Annotations, evil)
	}},
	"their-next": {reason: v1alpha1.ReasonKeyInvalid, with: func(t *testing.T, s *signer, evil []byte) *corev1.Secret {
		return plantKey(t, s, 3, nil, evil)
	}},
	"their-next-with-our-seal": {reason: v1alpha1.ReasonKeyInvalid, with: func(t *testing.T, s *signer, evil []byte) *corev1.Secret {
		sealed := get(t, &corev1.Secret{}, suite.InstallNamespace, keyName(s.name, s.ring().Keys[1]))
		return plantKey(t, s, 3, sealed.Annotations, evil)
	}},
	"ours-elsewhere": {reason: v1alpha1.ReasonKeyInvalid, with: func(t *testing.T, s *signer, _ []byte) *corev1.Secret {
		sealed := get(t, &corev1.Secret{}, suite.InstallNamespace, keyName(s.name, s.ring().Keys[1]))
		return plantKey(t, s, 3, sealed.Annotations, sealed.Data[manifests.KeyPrivateJWK])
	}},
	"the-last-of-all": {reason: v1alpha1.ReasonKeyInvalid, with: func(t *testing.T, s *signer, evil []byte) *corev1.Secret {
		return plantKey(t, s, math.MaxInt, nil, evil)
	}},
}

// TestTamperedSigningKeysAreReported: whatever others write where signing keys are kept, nothing of it is ever published or
// signs, the TokenIssuer says so, and goes on with other keys.
func TestTamperedSigningKeysAreReported(t *testing.T) {
	t.Cleanup(resetClock)
	m := startManager(t)
	var signers []*signer
	evil, private := map[*signer]string{}, []byte(nil)
	before, written := map[*signer]keyring.Ring{}, map[*signer]*corev1.Secret{}
	for name := range tamperings {
		s := newSigner(t, name, nil)
		signers = append(signers, s)
		before[s] = s.ring()
	}
	for _, s := range signers {
		evil[s], private = generate(t)
		written[s] = tamperings[s.name].with(t, s, private)
		s.reported(t, tamperings[s.name].reason, written[s].Name)
		s.spec(func(signing *v1alpha1.TokenIssuerSigning) { signing.Revision = "2" })
	}
	settle(t, []*manager{m}, signers, func(s *signer) string { return s.history.unsettled(es256, []string{before[s].Keys[0].KID}) })
	for _, s := range signers {
		t.Run(s.name, func(t *testing.T) {
			if s.history.had(evil[s]) {
				t.Error("a stranger's key was published")
			}
			if !tamperings[s.name].lost && s.ring().Keys[0].KID != before[s].Keys[1].KID {
				t.Error("the next key did not become the active one")
			}
			if again := get(t, &corev1.Secret{}, suite.InstallNamespace, written[s].Name); again.UID != written[s].UID {
				t.Error("a stranger's Secret was replaced")
			}
			s.reported(t, v1alpha1.ReasonKeyInvalid, written[s].Name)
			if err := admin.Delete(ctx, written[s]); err != nil {
				t.Fatal(err)
			}
			suite.Eventually(t, func() string {
				if conditions := s.issuer().Status.Conditions; !meta.IsStatusConditionTrue(conditions, v1alpha1.ConditionKeysCurrent) {
					return fmt.Sprintf("when it is gone: %+v", conditions)
				}
				return s.unsettled(es256, nil)
			})
		})
	}
}

// generate makes a key, as others can.
func generate(t *testing.T) (kid string, private []byte) {
	t.Helper()
	key, err := keyring.Generate(v1alpha1.ES256)
	if err != nil {
		t.Fatal(err)
	}
	private, err = keyring.MarshalPrivate(key)
	if err != nil {
		t.Fatal(err)
	}
	return key.KeyID, private
}

// plantKey creates a Secret of the name that a key of the generation would have.
func plantKey(t *testing.T, s *signer, generation int, annotations map[string]string, private []byte) *corev1.Secret {
	t.Helper()
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{
		Namespace: suite.InstallNamespace, Annotations: annotations,
		Name:   manifests.KeyName(s.name, keyring.Slot{Algorithm: v1alpha1.ES256, Generation: generation}),
		Labels: manifests.IssuerLabels(s.name, manifests.ContentSigningKey),
	}, Data: map[string][]byte{manifests.KeyPrivateJWK: private}}
	create(t, secret)
	return secret
}

// replaceKey deletes a Secret, which is immutable, and creates it with another content.
func replaceKey(t *testing.T, name string, annotations map[string]string, private []byte) *corev1.Secret {
	t.Helper()
	secret := get(t, &corev1.Secret{}, suite.InstallNamespace, name)
	if err := admin.Delete(ctx, secret.DeepCopy()); err != nil {
		t.Fatal(err)
	}
	other := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{
		Namespace: secret.Namespace, Name: name, Labels: secret.Labels, Annotations: annotations,
	}, Data: map[string][]byte{manifests.KeyPrivateJWK: private}}
	create(t, other)
	return other
}

// reported waits until the condition KeysCurrent has the reason, and names the Secret, and until there is an event of it.
func (s *signer) reported(t *testing.T, reason, name string) {
	t.Helper()
	suite.Eventually(t, func() string {
		condition := meta.FindStatusCondition(s.issuer().Status.Conditions, v1alpha1.ConditionKeysCurrent)
		if condition == nil || condition.Status != metav1.ConditionFalse || condition.Reason != reason || !strings.Contains(condition.Message, name) {
			return fmt.Sprintf("%+v does not have the reason %s and name %s", condition, reason, name)
		}
		return ""
	})
	suite.Eventually(t, func() string {
		var list eventsv1.EventList
		if err := admin.List(ctx, &list, client.InNamespace(metav1.NamespaceDefault)); err != nil {
			return err.Error()
		}
		if !slices.ContainsFunc(list.Items, func(e eventsv1.Event) bool { return e.Regarding.Name == s.name && e.Reason == reason }) {
			return fmt.Sprintf("no event %s on %s", reason, s.name)
		}
		return ""
	})
}

// TestAForgedRingIsReported: an entry that others wrote into the public ring is published nowhere, and what was good goes on.
func TestAForgedRingIsReported(t *testing.T) {
	t.Cleanup(resetClock)
	startManager(t)
	s := newSigner(t, "forged-ring", nil)
	evil, err := keyring.Generate(v1alpha1.ES256)
	if err != nil {
		t.Fatal(err)
	}
	for name, forge := range map[string]func(ring keyring.Ring) keyring.Ring{
		"added": func(ring keyring.Ring) keyring.Ring {
			return ring.Fill(keyring.Slot{Algorithm: v1alpha1.ES256, Generation: 3}, evil, time.Now())
		},
		"exchanged": func(ring keyring.Ring) keyring.Ring {
			forged := keyring.Ring{}.Fill(keyring.Slot{Algorithm: v1alpha1.ES256, Generation: 1}, evil, time.Now())
			forged.Keys = append(forged.Keys, ring.Keys[1])
			return forged
		},
		"turned": func(ring keyring.Ring) keyring.Ring {
			ring.Keys[0].State, ring.Keys[1].State = ring.Keys[1].State, ring.Keys[0].State
			return ring
		},
		"taken out": func(ring keyring.Ring) keyring.Ring {
			ring.Keys = ring.Keys[1:]
			return ring
		},
	} {
		t.Run(name, func(t *testing.T) {
			good := s.ring()
			configMap := get(t, &corev1.ConfigMap{}, suite.InstallNamespace, manifests.RingName(s.name))
			kept := configMap.DeepCopy().Data
			data, err := forge(s.ring()).Marshal()
			if err != nil {
				t.Fatal(err)
			}
			s.history.forge(string(data))
			configMap.Data[manifests.KeyRing] = string(data)
			suite.Save(t, admin, configMap)
			programmed := func(want string) {
				t.Helper()
				suite.Eventually(t, func() string {
					c := meta.FindStatusCondition(s.issuer().Status.Conditions, v1alpha1.ConditionProgrammed)
					if c == nil || c.Reason != want {
						return fmt.Sprintf("%+v, want %s", c, want)
					}
					return ""
				})
			}
			programmed(v1alpha1.ReasonKeyInvalid)
			keys, err := s.server.keys()
			if err != nil || len(keys.Keys) != 2 || keys.Keys[0].KeyID != good.Keys[0].KID || keys.Keys[1].KeyID != good.Keys[1].KID {
				t.Errorf("%v are published, %v", keys.Keys, err)
			}
			if problem := s.refused(); problem != "" {
				t.Error(problem)
			}
			configMap.Data = kept
			suite.Save(t, admin, configMap)
			programmed(v1alpha1.ReasonProgrammed)
		})
	}
}
