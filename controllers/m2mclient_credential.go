package controllers

import (
	"context"
	"fmt"
	"maps"
	"slices"

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
func (r *clientRun) ensureCredential(ctx context.Context, endpoint manifests.Endpoint) (verdict, error) {
	pepper, found, err := r.readPepper(ctx)
	if err != nil {
		return verdict{}, err
	}
	if !found {
		return r.withoutPepper(ctx)
	}
	secret, plan, err := r.plan(ctx, pepper)
	if err != nil {
		return verdict{}, err
	}
	switch plan.Verdict {
	case credential.NotOwned:
		r.client.Status.Credentials, r.client.Status.NextRotationTime = plan.Entries, nil
		return r.secretNotOwned(secret), nil
	case credential.OtherPepper:
		return r.otherPepper(secret), nil
	}
	wanted, err := r.wantedSecret(secret, pepper, endpoint, plan)
	if err != nil {
		return verdict{}, err
	}
	if plan.Writes() {
		// A pending credential in status says that the Secret could not be written the last time. Try before telling
		// the issuers of yet another one.
		if r.hasPending() {
			if err := r.writeSecret(ctx, secret, wanted, true); refused(err) {
				return r.secretRefused(err), nil
			} else if err != nil {
				return verdict{}, err
			}
		}
		if err := r.announce(ctx, plan); err != nil {
			return verdict{}, err
		}
	}
	if err := r.writeSecret(ctx, secret, wanted, false); refused(err) {
		return r.secretRefused(err), nil
	} else if err != nil {
		return verdict{}, err
	}
	r.announced(plan)
	r.client.Status.Credentials = plan.Final(r.now)
	r.look(credential.NextExpiry(r.client.Status.Credentials))
	return r.reportRotation(plan), nil
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

// withoutPepper is the verdict while there is no pepper: a Secret that a backup has brought back alone proves nothing.
func (r *clientRun) withoutPepper(ctx context.Context) (verdict, error) {
	key := types.NamespacedName{Namespace: r.client.Namespace, Name: r.client.SecretName()}
	secret, err := r.readSecret(ctx, key, credential.Pepper{})
	if err != nil {
		return verdict{}, err
	}
	if secret != nil && r.unproven(secret) {
		return r.otherPepper(secret), nil
	}
	return issuerNotReady(r.client.Spec.IssuerRef.Name), nil
}

// unproven reports whether a Secret names a pepper that it alone names: there is no status, as after a restore.
func (r *clientRun) unproven(secret *corev1.Secret) bool {
	id := credential.PepperOf(secret.Annotations)
	return id != "" && !slices.ContainsFunc(r.client.Status.Credentials, func(e v1alpha1.CredentialStatus) bool { return e.PepperID == id })
}

// plan decides on what the cache holds if that says that all is well, else on what the API server itself says: neither
// a Secret nor a status that the cache has not seen yet must be taken for lost.
func (r *clientRun) plan(ctx context.Context, pepper credential.Pepper) (*corev1.Secret, credential.Plan, error) {
	secret := &corev1.Secret{}
	key := types.NamespacedName{Namespace: r.client.Namespace, Name: r.client.SecretName()}
	if err := r.Get(ctx, key, secret); err == nil {
		plan, err := r.decide(pepper, secret)
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
	plan, err := r.decide(pepper, secret)
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
	if !proves(pepper, r.owner(), secret) {
		return secret, nil
	}
	if err := r.Live.Get(ctx, key, secret); err != nil {
		return nil, fmt.Errorf("read credential Secret: %w", err)
	}
	return secret, nil
}

func (r *clientRun) situation(pepper credential.Pepper, secret *corev1.Secret) credential.Situation {
	s := credential.Situation{
		Owner: r.owner(), Pepper: pepper, Policy: credential.PolicyOf(r.client.Spec.Credential), Entries: r.client.Status.Credentials,
	}
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

func (r *clientRun) hasPending() bool {
	return slices.ContainsFunc(r.client.Status.Credentials, func(e v1alpha1.CredentialStatus) bool { return e.State == v1alpha1.CredentialPending })
}

// wantedSecret is the Secret as it shall be. Foreign keys, labels and annotations of the one that was found stay.
func (r *clientRun) wantedSecret(found *corev1.Secret, pepper credential.Pepper, endpoint manifests.Endpoint, plan credential.Plan) (*corev1.Secret, error) {
	annotations, err := pepper.Annotate(r.owner(), plan.Held)
	if err != nil {
		return nil, err
	}
	value := plan.Credential.Secret
	if !plan.Writes() {
		value = string(found.Data[manifests.KeyClientSecret])
	}
	wanted := manifests.Credential(r.client, endpoint, value)
	wanted.Annotations = annotations
	if found != nil {
		merged := found.DeepCopy()
		addLabels(merged, wanted.Labels)
		merged.Annotations = labels.Merge(merged.Annotations, annotations)
		merged.Data = mergeData(found.Data, wanted.Data)
		wanted = merged
	}
	own(wanted, r.client, clientKind)
	return wanted, nil
}

// writeSecret creates the Secret, or updates the one that was found if nobody has written it since.
func (r *clientRun) writeSecret(ctx context.Context, found, wanted *corev1.Secret, dryRun bool) error {
	var create []client.CreateOption
	var update []client.UpdateOption
	if dryRun {
		create, update = append(create, client.DryRunAll), append(update, client.DryRunAll)
		wanted = wanted.DeepCopy() // the answer leaves traces in it
	}
	var err error
	if found == nil {
		err = r.Create(ctx, wanted, create...)
	} else if !apiequality.Semantic.DeepEqual(found, wanted) {
		err = r.Update(ctx, wanted, update...)
	}
	if err != nil {
		return fmt.Errorf("write credential Secret: %w", discreet(err, wanted.Data[manifests.KeyClientSecret]))
	}
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
