package controllers

import (
	"context"
	"fmt"
	"maps"

	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/internal/credential"
	"github.com/m2m-operator/m2m-operator/internal/manifests"
)

var clientKind = v1alpha1.GroupVersion.WithKind("M2MClient")

// ensureCredential keeps the credential Secret. Issuers know a new secret before the Secret holds it, so that what the
// Secret holds is always accepted; and every write is conditional on nobody having written in between.
func (r *clientRun) ensureCredential(ctx context.Context, issuerExists bool) (verdict, error) {
	if !issuerExists {
		return notYetProgrammed(v1alpha1.ReasonWaiting, "No credential without a TokenIssuer"), nil
	}
	endpoint, ready, err := readEndpoint(ctx, r, r.Namespace, r.client.Spec.IssuerRef.Name)
	if err != nil {
		return verdict{}, err
	}
	pepper, found, err := r.readPepper(ctx)
	if err != nil {
		return verdict{}, err
	}
	if !ready || !found {
		return issuerNotReady(r.client.Spec.IssuerRef.Name), nil
	}
	secret, plan, err := r.plan(ctx, pepper)
	if err != nil {
		return verdict{}, err
	}
	if plan.Verdict == credential.NotOwned {
		r.client.Status.Credentials = plan.Entries
		return r.secretNotOwned(), nil
	}
	if plan.Writes() {
		if err := r.announce(ctx, plan); err != nil {
			return verdict{}, err
		}
	}
	if err := r.writeSecret(ctx, secret, pepper, endpoint, plan); err != nil {
		return verdict{}, err
	}
	r.client.Status.Credentials = plan.Final(r.now)
	r.look(credential.NextExpiry(r.client.Status.Credentials))
	return programmed("The Secret " + r.client.SecretName() + " holds the credential"), nil
}

func (r *clientRun) readPepper(ctx context.Context) (credential.Pepper, bool, error) {
	secret := &corev1.Secret{}
	key := types.NamespacedName{Namespace: r.Namespace, Name: manifests.PepperName(r.client.Spec.IssuerRef.Name)}
	if err := r.Get(ctx, key, secret); err != nil {
		return credential.Pepper{}, false, client.IgnoreNotFound(err)
	}
	pepper, err := credential.ParsePepper(secret.Data[manifests.KeyPepper])
	return pepper, err == nil, nil // the TokenIssuer's conditions say what is wrong with it
}

// plan decides on what the cache holds if that says that all is well, else on what the API server itself says: neither
// a Secret nor a status that the cache has not seen yet must be taken for lost.
func (r *clientRun) plan(ctx context.Context, pepper credential.Pepper) (*corev1.Secret, credential.Plan, error) {
	secret := &corev1.Secret{}
	key := types.NamespacedName{Namespace: r.client.Namespace, Name: r.client.SecretName()}
	if err := r.Get(ctx, key, secret); err == nil {
		plan, err := credential.Decide(r.situation(pepper, secret), r.Random, r.now)
		if err == nil && plan.Verdict == credential.Steady && apiequality.Semantic.DeepEqual(plan.Entries, r.client.Status.Credentials) {
			return secret, plan, nil
		}
	}
	if err := r.refresh(ctx); err != nil {
		return nil, credential.Plan{}, err
	}
	secret, err := r.readSecret(ctx, key, pepper)
	if err != nil {
		return nil, credential.Plan{}, err
	}
	plan, err := credential.Decide(r.situation(pepper, secret), r.Random, r.now)
	return secret, plan, err
}

// refresh reads the client itself past the cache. If it is another one, or was written since, this run is void: the
// watch brings the news.
func (r *clientRun) refresh(ctx context.Context) error {
	current := &v1alpha1.M2MClient{}
	if err := r.Live.Get(ctx, client.ObjectKeyFromObject(r.client), current); err != nil {
		return fmt.Errorf("read M2MClient: %w", err)
	}
	if current.UID != r.client.UID || current.Generation != r.client.Generation || current.DeletionTimestamp != nil {
		return apierrors.NewConflict(v1alpha1.GroupVersion.WithResource("m2mclients").GroupResource(), current.Name,
			fmt.Errorf("it has changed since it was read"))
	}
	current.DeepCopyInto(r.client)
	current.DeepCopyInto(r.before)
	return nil
}

// readSecret reads the Secret past the cache, nil if there is none. The content of one without our proof is not read.
func (r *clientRun) readSecret(ctx context.Context, key types.NamespacedName, pepper credential.Pepper) (*corev1.Secret, error) {
	head := &metav1.PartialObjectMetadata{}
	head.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Secret"))
	err := r.Live.Get(ctx, key, head)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read credential Secret: %w", err)
	}
	secret := &corev1.Secret{ObjectMeta: head.ObjectMeta}
	if _, err := pepper.ReadAnnotations(r.owner(), head.Annotations); err != nil {
		return secret, nil
	}
	if err := r.Live.Get(ctx, key, secret); err != nil {
		return nil, fmt.Errorf("read credential Secret: %w", err)
	}
	return secret, nil
}

func (r *clientRun) situation(pepper credential.Pepper, secret *corev1.Secret) credential.Situation {
	s := credential.Situation{Owner: r.owner(), Pepper: pepper, Entries: r.client.Status.Credentials}
	if secret != nil {
		s.SecretExists = true
		s.Annotations = secret.Annotations
		s.Value = string(secret.Data[manifests.KeyClientSecret])
	}
	return s
}

// announce tells issuers of a new secret before anybody can use it.
func (r *clientRun) announce(ctx context.Context, plan credential.Plan) error {
	r.client.Status.Credentials = plan.Entries
	r.client.Status.ClientID = r.client.ClientID()
	if err := patchStatus(ctx, r.Client, r.before, r.client); err != nil {
		return err
	}
	r.before = r.client.DeepCopy()
	return nil
}

// writeSecret creates the Secret, or brings ours to what it shall hold. Foreign keys, labels and annotations stay.
func (r *clientRun) writeSecret(ctx context.Context, found *corev1.Secret, pepper credential.Pepper, endpoint manifests.Endpoint, plan credential.Plan) error {
	value := plan.Credential.Secret
	if !plan.Writes() {
		value = string(found.Data[manifests.KeyClientSecret])
	}
	wanted := manifests.Credential(r.client, endpoint, value)
	if plan.Writes() {
		annotations, err := pepper.Annotate(r.owner(), plan.Held)
		if err != nil {
			return err
		}
		wanted.Annotations = annotations
	}
	own(wanted, r.client, clientKind)
	if found == nil {
		if err := r.Create(ctx, wanted); err != nil {
			return fmt.Errorf("create credential Secret: %w", err)
		}
		r.announced(plan)
		return nil
	}
	merged := found.DeepCopy()
	addLabels(merged, wanted.Labels)
	merged.Annotations = labels.Merge(merged.Annotations, wanted.Annotations)
	own(merged, r.client, clientKind)
	merged.Data = mergeData(found.Data, wanted.Data)
	if apiequality.Semantic.DeepEqual(found, merged) {
		return nil
	}
	if err := r.Update(ctx, merged); err != nil { // carries the resourceVersion that was read
		return fmt.Errorf("update credential Secret: %w", err)
	}
	r.announced(plan)
	return nil
}

// mergeData lays our keys over what is there. An authority that there is no more goes, foreign keys stay.
func mergeData(found, wanted map[string][]byte) map[string][]byte {
	merged := maps.Clone(found)
	if merged == nil {
		merged = map[string][]byte{}
	}
	if _, ok := wanted[manifests.KeyAuthority]; !ok {
		delete(merged, manifests.KeyAuthority)
	}
	maps.Copy(merged, wanted)
	return merged
}

// announced records the event of a new credential, which names its id and never its value.
func (r *clientRun) announced(plan credential.Plan) {
	id := plan.Credential.ID
	switch plan.Verdict {
	case credential.Create:
		eventf(r.Events, r.client, corev1.EventTypeNormal, v1alpha1.ReasonCredentialCreated,
			fmt.Sprintf("Created the credential %s in the Secret %s", id, r.client.SecretName()))
	case credential.ReplaceMissing:
		eventf(r.Events, r.client, corev1.EventTypeWarning, v1alpha1.ReasonCredentialReplaced,
			fmt.Sprintf("The Secret %s was deleted: made it anew with the credential %s; the one before is accepted for %s", r.client.SecretName(), id, credential.Overlap))
	case credential.ReplaceEdited:
		eventf(r.Events, r.client, corev1.EventTypeWarning, v1alpha1.ReasonCredentialReplaced,
			fmt.Sprintf("The Secret %s held a value that this operator did not write, which is not accepted: replaced it with the credential %s; the one before is accepted for %s", r.client.SecretName(), id, credential.Overlap))
	}
}
