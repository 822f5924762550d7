package manifests

import (
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/m2m-operator/m2m-operator/internal/credential"
	"github.com/m2m-operator/m2m-operator/internal/keyring"
)

// Keys of a key ring's ConfigMap.
const (
	KeyRing     = "ring.json"
	KeyRingSeal = "ring.seal"
)

// Ring is the ConfigMap of an issuer's key ring, sealed.
func Ring(issuer, namespace string, ring []byte, pepper credential.Pepper) *corev1.ConfigMap {
	return &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: RingName(issuer), Labels: labels(ContentKeyRing, LabelIssuer, issuer)},
		Data:       map[string]string{KeyRing: string(ring), KeyRingSeal: pepper.SealRing(issuer, ring)},
	}
}

// ErrNoPepper says that a key ring is sealed and cannot be checked yet.
var ErrNoPepper = errors.New("the key ring cannot be checked without the pepper")

// ReadRing reads what Ring wrote. A ring with no seal, or with one of a pepper that nobody has any more, is believed if
// the private half of every key is where it belongs, which held tells: who could put them there need not forge a ring.
func ReadRing(configMap *corev1.ConfigMap, issuer string, pepper credential.Pepper, held func(keyring.Slot) string) (keyring.Ring, error) {
	data, seal := []byte(configMap.Data[KeyRing]), configMap.Data[KeyRingSeal]
	ring, err := keyring.ParseRing(data)
	if err != nil {
		return keyring.Ring{}, err
	}
	if !pepper.Present() {
		return keyring.Ring{}, ErrNoPepper
	}
	ours, intact := pepper.CheckRing(issuer, data, seal)
	if intact {
		return ring, nil
	}
	if ours {
		return keyring.Ring{}, errors.New("key ring: its seal is broken: somebody else has edited it")
	}
	for _, key := range ring.Keys {
		if held(keyring.Slot{Algorithm: key.Algorithm, Generation: key.Generation}) != key.KID {
			return keyring.Ring{}, fmt.Errorf("key ring: it has no seal of the pepper at hand, and there is no private half of its key %s", key.KID)
		}
	}
	return ring, nil
}
