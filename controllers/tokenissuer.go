package controllers

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/handler"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/internal/access"
	"github.com/m2m-operator/m2m-operator/internal/credential"
	"github.com/m2m-operator/m2m-operator/internal/manifests"
)

// TokenIssuerReconciler makes an issuer's pepper, signing keys and certificate.
type TokenIssuerReconciler struct {
	client.Client
	// Live reads past the cache.
	Live      client.Reader
	Namespace string
	Now       func() time.Time
	// Random is where peppers come from.
	Random io.Reader
	Events events.EventRecorder
	// Image that issuers are deployed from; "" where somebody else runs them.
	Image string
	// Elapsed is how long the manager has run, by a clock that does not jump.
	Elapsed func() time.Duration
	// Dial reaches the endpoints of issuers; nil: as addresses say.
	Dial      func(ctx context.Context, network, address string) (net.Conn, error)
	Conflicts conflicts
	// Timeout of one reconcile.
	Timeout time.Duration

	memories keyMemories
}

// SetupWithManager registers the controller.
func (r *TokenIssuerReconciler) SetupWithManager(mgr ctrl.Manager) error {
	return ctrl.NewControllerManagedBy(mgr).
		For(&v1alpha1.TokenIssuer{}).
		Watches(&corev1.Secret{}, handler.EnqueueRequestsFromMapFunc(issuersOf(r)), inNamespace(r.Namespace)).
		Watches(&corev1.ConfigMap{}, handler.EnqueueRequestsFromMapFunc(issuersOf(r)), inNamespace(r.Namespace)).
		Watches(&appsv1.Deployment{}, handler.EnqueueRequestsFromMapFunc(issuersOf(r))).
		Watches(&discoveryv1.EndpointSlice{}, handler.EnqueueRequestsFromMapFunc(endpointsOf(r)), inNamespace(r.Namespace)).
		Watches(&corev1.Service{}, handler.EnqueueRequestsFromMapFunc(issuersOf(r))).
		Watches(&policyv1.PodDisruptionBudget{}, handler.EnqueueRequestsFromMapFunc(issuersOf(r))).
		Watches(&corev1.ServiceAccount{}, handler.EnqueueRequestsFromMapFunc(everyIssuer(r))).
		WithOptions(controllerOptions(r.Timeout)).
		Complete(r)
}

// issuerRun is one reconcile of one TokenIssuer.
type issuerRun struct {
	*TokenIssuerReconciler
	issuer *v1alpha1.TokenIssuer
	now    time.Time
	// next is when to look again, zero if nothing is due.
	next time.Time
	// availability is the verdict on the pods, where the manager deploys them.
	availability []verdict
	// pepper of the issuer; none if it is lost.
	pepper credential.Pepper
	// keys is the verdict on the signing keys.
	keys verdict
}

// Reconcile brings one TokenIssuer to what its spec asks for.
func (r *TokenIssuerReconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	issuer := &v1alpha1.TokenIssuer{}
	if err := r.Get(ctx, req.NamespacedName, issuer); err != nil {
		if apierrors.IsNotFound(err) {
			r.memories.forget(req.Name)
			forgetKeys(req.Name)
		}
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if issuer.DeletionTimestamp != nil {
		return ctrl.Result{}, nil
	}
	before := issuer.DeepCopy()
	run := &issuerRun{TokenIssuerReconciler: r, issuer: issuer, now: r.Now()}

	refs := counts(v1alpha1.ConditionResolvedRefs, access.Finding{OK: true, Reason: v1alpha1.ReasonResolvedRefs, Message: "Every reference is resolved"})
	made := programmed("Pepper, signing keys and serving certificate are in place")
	var failures []error
	for _, step := range []func(context.Context) error{run.ensurePepper, run.ensureKeys, run.ensureCertificate, run.applyWorkload} {
		err := step(ctx)
		var stop *stop
		switch {
		case err == nil:
		case errors.As(err, &stop) && stop.condition == v1alpha1.ConditionResolvedRefs:
			refs = stop.verdict
		case errors.As(err, &stop):
			made = stop.verdict
		case apierrors.IsConflict(err):
			return r.Conflicts.settle(req, 0, err)
		default:
			failures = append(failures, err)
			made = failed("Writing pepper, keys, certificate and workload", err)
		}
	}
	if !refs.OK && made.OK {
		made = notYetProgrammed(v1alpha1.ReasonWaiting, "Pepper and signing keys are in place; there is no serving certificate")
	}
	run.warnOfNewURL(before.Status.URL)
	issuer.Status.URL = issuer.IssuerURL(r.Namespace)
	issuer.Status.TokenEndpoint = v1alpha1.EndpointURL(issuer.Status.URL, v1alpha1.PathToken)
	issuer.Status.JWKSURI = v1alpha1.EndpointURL(issuer.Status.URL, v1alpha1.PathJWKS)
	wait := report(r.Events, issuer, run.now,
		access.Finding{OK: true, Reason: v1alpha1.ReasonReady, Message: "Tokens can be issued at " + issuer.Status.TokenEndpoint},
		append([]verdict{
			counts(v1alpha1.ConditionAccepted, access.Finding{OK: true, Reason: v1alpha1.ReasonAccepted, Message: "The spec is valid"}),
			refs, made}, append(run.availability, run.verdictOnKeys()...)...)...)
	failures = append(failures, patchStatus(ctx, r.Client, before, issuer))
	return r.Conflicts.settle(req, soonest(run.now, run.next, wait), errors.Join(failures...))
}

// stop is an error that no retry heals: it becomes a condition.
type stop struct{ verdict }

func (s *stop) Error() string { return s.Message }

func stopped(condition, reason, format string, args ...any) error {
	return &stop{counts(condition, access.Finding{Reason: reason, Message: fmt.Sprintf(format, args...)})}
}

// ensurePepper makes the pepper once. One that is named somewhere and gone is never made anew: nothing that was
// verified with the old one would verify, and nobody would know why.
func (r *issuerRun) ensurePepper(ctx context.Context) error {
	name := manifests.PepperName(r.issuer.Name)
	secret, err := r.read(ctx, name, manifests.ContentPepper)
	if err != nil {
		return err
	}
	if secret == nil {
		if named, err := r.peppersNamed(ctx, true); err != nil || len(named) > 0 || r.issuer.Status.PepperID != "" {
			if err != nil {
				return err
			}
			return stopped(v1alpha1.ConditionProgrammed, v1alpha1.ReasonPepperLost, "The Secret %s/%s with the pepper is gone, and client credentials were made with it. "+
				"Restore it from a backup; or, to start over with new credentials for every client, create it with 32 random bytes under the key %q and delete every credential Secret.",
				r.Namespace, name, manifests.KeyPepper)
		}
		data, err := credential.NewPepper(r.Random)
		if err != nil {
			return err
		}
		secret = manifests.IssuerSecret(r.issuer.Name, r.Namespace, name, manifests.ContentPepper, map[string][]byte{manifests.KeyPepper: data})
		if err := r.Create(ctx, secret); err != nil {
			return fmt.Errorf("create pepper: %w", discreet(err, data))
		}
	}
	pepper, err := credential.ParsePepper(secret.Data[manifests.KeyPepper])
	if err != nil {
		return stopped(v1alpha1.ConditionProgrammed, v1alpha1.ReasonPepperLost, "The Secret %s/%s holds no pepper under the key %q: %v", r.Namespace, name, manifests.KeyPepper, err)
	}
	named, err := r.peppersNamed(ctx, false)
	if err != nil {
		return err
	}
	if delete(named, pepper.ID()); len(named) > 0 {
		r.look(r.now.Add(pepperRecheck))
		return stopped(v1alpha1.ConditionProgrammed, v1alpha1.ReasonPepperLost, "The Secret %s/%s holds another pepper than the one that credentials of some M2MClients were made with; these are refused. "+
			"Restore the former one from a backup; or, to start over, delete the credential Secret of every M2MClient that says PepperLost.", r.Namespace, name)
	}
	r.issuer.Status.PepperID = pepper.ID()
	r.pepper = pepper
	return nil
}

// pepperRecheck is how often to look whether the last credential of another pepper is gone.
const pepperRecheck = 10 * time.Second

// peppersNamed are the ids of the peppers that this issuer's clients' verifiers name. Without a pepper at hand the
// credential Secrets are asked too: a backup may have brought them without status.
func (r *issuerRun) peppersNamed(ctx context.Context, inSecrets bool) (map[string]bool, error) {
	named := map[string]bool{}
	var clients v1alpha1.M2MClientList
	if err := r.List(ctx, &clients); err != nil {
		return nil, err
	}
	for i := range clients.Items {
		c := &clients.Items[i]
		if c.Spec.IssuerRef.Name != r.issuer.Name {
			continue
		}
		for _, entry := range c.Status.Credentials {
			named[entry.PepperID] = true
		}
		if !inSecrets {
			continue
		}
		secret := &corev1.Secret{}
		err := r.Get(ctx, types.NamespacedName{Namespace: c.Namespace, Name: c.SecretName()}, secret)
		if client.IgnoreNotFound(err) != nil {
			return nil, err
		}
		if id := credential.PepperOf(secret.Annotations); id != "" {
			named[id] = true
		}
	}
	return named, nil
}
