package controllers

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/internal/access"
	"github.com/m2m-operator/m2m-operator/internal/keyring"
	"github.com/m2m-operator/m2m-operator/internal/manifests"
)

// keyMemories are what this manager has seen of issuers' endpoints since it leads, by TokenIssuer. They end with it: the
// next leader looks for itself.
type keyMemories struct {
	mu sync.Mutex
	of map[string]*keyMemory
}

// keyMemory is used by one reconcile at a time.
type keyMemory struct {
	keyring.Memory
	asked bool            // endpoints, ever
	last  time.Duration   // when they were asked last
	said  map[string]bool // reasons of waits, kids that are lost, and what is wrong with Secrets
}

func (m *keyMemories) get(issuer string) *keyMemory {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.of == nil {
		m.of = map[string]*keyMemory{}
	}
	if m.of[issuer] == nil {
		m.of[issuer] = &keyMemory{said: map[string]bool{}}
	}
	return m.of[issuer]
}

func (m *keyMemories) forget(issuer string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.of, issuer)
}

// due reports whether endpoints may be asked again.
func (m *keyMemory) due(elapsed time.Duration) bool {
	return !m.asked || elapsed-m.last >= keyring.ObserveEvery
}

// maxSteps bounds what one reconcile does of a ring. The most that there can be is a few steps an algorithm.
const maxSteps = 40

// ensureKeys brings the key ring as far as it can come now. The private key of a slot is written before the ring names it,
// under a name that only one key can ever have, and goes after the ring has ceased to.
func (r *issuerRun) ensureKeys(ctx context.Context) error {
	if !r.pepper.Present() {
		r.keys = keysNotCurrent(v1alpha1.ReasonPepperLost, "Without the pepper the key ring can neither be checked nor sealed. Issuers go on with it as it is")
		return nil
	}
	memory := r.memories.get(r.issuer.Name)
	observe := false
	for range maxSteps {
		secrets, err := r.readKeys(ctx)
		if err != nil {
			return err
		}
		ring, configMap, err := r.readRing(ctx, secrets)
		if err != nil {
			return err
		}
		if err := r.sortKeys(ctx, &secrets, ring); err != nil {
			return err
		}
		r.sayLost(memory, ring, secrets)
		result, err := r.step(ctx, memory, ring, secrets, observe)
		if err != nil {
			return err
		}
		if err := r.carryOut(ctx, configMap, ring, result, secrets); err != nil {
			return err
		}
		r.sayChanges(result)
		if observe = !result.Again() && !observe && result.Observe && memory.due(r.Elapsed()); observe || result.Again() {
			continue
		}
		r.reportKeys(memory, result, secrets)
		return nil
	}
	return fmt.Errorf("the key ring does not come to rest within %d steps", maxSteps)
}

// policy is what the spec asks for.
func (r *issuerRun) policy() keyring.Policy {
	return keyring.Policy{
		Algorithms: r.issuer.Algorithms(), Interval: r.issuer.KeyRotationInterval(), Revision: r.issuer.Spec.Signing.Revision,
		Revoked: r.issuer.RevokedKeys(), MaxLifetime: r.issuer.MaxLifetime(),
	}
}

// step decides what becomes of the ring, after asking the endpoints if that shall be. That there are none needs no asking.
func (r *issuerRun) step(ctx context.Context, memory *keyMemory, ring keyring.Ring, secrets keySecrets, observe bool) (keyring.Result, error) {
	in := keyring.Input{Policy: r.policy(), Private: secrets.private, Taken: secrets.taken, Now: r.now}
	ready, err := r.readyEndpoints(ctx)
	if err != nil {
		return keyring.Result{}, err
	}
	if in.Observed = observe || len(ready) == 0; observe {
		if in.Endpoints, err = r.observe(ctx, ready); err != nil {
			return keyring.Result{}, err
		}
	}
	in.Elapsed = r.Elapsed() // after the answers: what they say held then
	if observe {
		memory.asked, memory.last = true, in.Elapsed
	}
	result := keyring.Step(ring, memory.Memory, in)
	memory.Memory = result.Memory
	return result, nil
}

// carryOut makes keys, then writes the ring, then deletes keys.
func (r *issuerRun) carryOut(ctx context.Context, configMap *corev1.ConfigMap, before keyring.Ring, result keyring.Result, secrets keySecrets) error {
	for _, slot := range result.Make {
		if err := r.makeKey(ctx, slot); err != nil {
			return err
		}
	}
	if len(result.Ring.Keys) > 0 || len(before.Keys) > 0 {
		if err := r.writeRing(ctx, configMap, result.Ring); err != nil {
			return err
		}
	}
	for _, slot := range result.Drop {
		secret := secrets.found[slot]
		err := r.Delete(ctx, secret, client.Preconditions{UID: &secret.UID, ResourceVersion: &secret.ResourceVersion})
		if client.IgnoreNotFound(err) != nil {
			return fmt.Errorf("delete signing key: %w", err)
		}
	}
	return nil
}

// readRing reads the key ring, or makes it anew from the private keys if it was lost.
func (r *issuerRun) readRing(ctx context.Context, secrets keySecrets) (keyring.Ring, *corev1.ConfigMap, error) {
	configMap := &corev1.ConfigMap{}
	key := types.NamespacedName{Namespace: r.Namespace, Name: manifests.RingName(r.issuer.Name)}
	err := r.Live.Get(ctx, key, configMap)
	if apierrors.IsNotFound(err) {
		return keyring.Rebuild(secrets.ours(), r.policy(), r.now), nil, nil
	}
	if err != nil {
		return keyring.Ring{}, nil, err
	}
	ring, err := manifests.ReadRing(configMap, r.issuer.Name, r.pepper, secrets.held)
	if err != nil {
		r.keys = keysNotCurrent(v1alpha1.ReasonKeyInvalid, "The key ring is not believed, so no key changes")
		return keyring.Ring{}, nil, stopped(v1alpha1.ConditionProgrammed, v1alpha1.ReasonKeyInvalid,
			"The ConfigMap %s/%s does not hold a key ring to rely on (%v). Issuers go on with the last good one. Restore it, or delete it to have it made anew from the key Secrets.",
			key.Namespace, key.Name, err)
	}
	return ring, configMap, nil
}

func (r *issuerRun) writeRing(ctx context.Context, found *corev1.ConfigMap, ring keyring.Ring) error {
	data, err := ring.Marshal()
	if err != nil {
		return err
	}
	wanted := manifests.Ring(r.issuer.Name, r.Namespace, data, r.pepper)
	switch {
	case found == nil:
		err = r.Create(ctx, wanted)
	case found.Data[manifests.KeyRing] == string(data) && found.Data[manifests.KeyRingSeal] == wanted.Data[manifests.KeyRingSeal] && hasLabels(found, wanted.Labels):
		return nil
	default:
		addLabels(found, wanted.Labels)
		found.Data = wanted.Data
		err = r.Update(ctx, found) // carries the resourceVersion that was read: two managers cannot fork the ring
	}
	if err != nil {
		return fmt.Errorf("write key ring: %w", err)
	}
	return nil
}

// sayLost makes an event of a private half that is gone.
func (r *issuerRun) sayLost(memory *keyMemory, ring keyring.Ring, secrets keySecrets) {
	for _, key := range ring.Keys {
		slot := keyring.Slot{Algorithm: key.Algorithm, Generation: key.Generation}
		if key.State == v1alpha1.KeyRetired || secrets.held(slot) == key.KID || memory.said[key.KID] {
			continue
		}
		memory.said[key.KID] = true
		eventf(r.Events, r.issuer, corev1.EventTypeWarning, v1alpha1.ReasonSigningKeyLost,
			fmt.Sprintf("The private half of signing key %s (%s) is gone or not the one that the ring names: another key takes its place. Tokens that it signed still verify.", key.KID, key.Algorithm))
	}
}

// sayChanges makes events of what has just happened.
func (r *issuerRun) sayChanges(result keyring.Result) {
	for _, change := range result.Changes {
		name := fmt.Sprintf("%s signing key %s", change.Algorithm, change.KID)
		switch {
		case change.Revoked:
			eventf(r.Events, r.issuer, corev1.EventTypeWarning, v1alpha1.ReasonSigningKeyRevoked, "Revoked: the "+name+" is published no more, and tokens that it signed are worth nothing")
		case change.State == "":
			eventf(r.Events, r.issuer, corev1.EventTypeNormal, v1alpha1.ReasonSigningKeyChanged, "Removed: the last token of the "+name+" has expired")
		default:
			eventf(r.Events, r.issuer, corev1.EventTypeNormal, v1alpha1.ReasonSigningKeyChanged, fmt.Sprintf("%s: the %s", change.State, name))
		}
	}
}

// reportKeys says in status, in events and in metrics how it stands.
func (r *issuerRun) reportKeys(memory *keyMemory, result keyring.Result, secrets keySecrets) {
	if result.Next > 0 {
		r.look(r.now.Add(result.Next))
	}
	r.issuer.Status.Keys = keysStatus(result, r.issuer.Status.Keys)
	if result.Ring.Current(r.policy()) {
		r.issuer.Status.SigningRevision = r.issuer.Spec.Signing.Revision
	}
	r.keys = keysVerdict(result.Waits, secrets.invalid)
	said := map[string]bool{}
	for _, wait := range result.Waits {
		said[wait.Reason] = true
		if wait.Reason != v1alpha1.ReasonRotating && wait.Reason != v1alpha1.ReasonSigningKeyLost && !memory.said[wait.Reason] {
			eventf(r.Events, r.issuer, corev1.EventTypeWarning, wait.Reason, wait.Message)
		}
	}
	for _, problem := range secrets.invalid {
		said[problem] = true
		if !memory.said[problem] {
			eventf(r.Events, r.issuer, corev1.EventTypeWarning, v1alpha1.ReasonKeyInvalid, problem)
		}
	}
	for _, key := range result.Ring.Keys {
		said[key.KID] = memory.said[key.KID]
	}
	memory.said = said
	observeKeys(r.issuer.Name, result)
}

// keysStatus describes the keys of a ring. Until when a retired one stays depends on what a manager has seen. Of two that
// have seen something else, which they may do beside each other or one after the other, the later word holds: neither takes
// back what the other says.
func keysStatus(result keyring.Result, said []v1alpha1.SigningKeyStatus) []v1alpha1.SigningKeyStatus {
	var keys []v1alpha1.SigningKeyStatus
	for _, key := range result.Ring.Keys {
		status := v1alpha1.SigningKeyStatus{KID: key.KID, Algorithm: key.Algorithm, State: key.State, SinceTime: metav1.NewTime(key.Since)}
		if until, known := result.Until[key.KID]; known {
			status.UntilTime = &metav1.Time{Time: until}
		}
		i := slices.IndexFunc(said, func(s v1alpha1.SigningKeyStatus) bool { return s.KID == key.KID && s.State == v1alpha1.KeyRetired })
		if i >= 0 && status.UntilTime.Before(said[i].UntilTime) {
			status.UntilTime = said[i].UntilTime
		}
		keys = append(keys, status)
	}
	return keys
}

// verdictOnKeys is none where a write failed before anything could be said.
func (r *issuerRun) verdictOnKeys() []verdict {
	if r.keys.condition == "" {
		return nil
	}
	return []verdict{r.keys}
}

// keysVerdict is the condition KeysCurrent.
func keysVerdict(waits []keyring.Wait, invalid []string) verdict {
	if len(waits) == 0 && len(invalid) == 0 {
		return informs(v1alpha1.ConditionKeysCurrent, access.Finding{OK: true, Reason: v1alpha1.ReasonKeysCurrent, Message: "The signing keys are those that the spec asks for"})
	}
	reason := v1alpha1.ReasonKeyInvalid
	var messages []string
	for i, wait := range waits {
		if i == 0 || reason == v1alpha1.ReasonRotating {
			reason = wait.Reason
		}
		messages = append(messages, wait.Message)
	}
	slices.Sort(invalid)
	messages = append(messages, invalid...)
	const most = 5
	if more := len(messages) - most; more > 0 {
		messages = append(messages[:most], fmt.Sprintf("and %d more", more))
	}
	return keysNotCurrent(reason, strings.Join(messages, ". "))
}

func keysNotCurrent(reason, message string) verdict {
	return informs(v1alpha1.ConditionKeysCurrent, access.Finding{Reason: reason, Message: message})
}
