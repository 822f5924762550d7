package controllers

import (
	"fmt"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/internal/access"
	"github.com/m2m-operator/m2m-operator/internal/credential"
)

// rotations counts new client secrets by their cause.
var rotations = prometheus.NewCounterVec(prometheus.CounterOpts{
	Name: "m2m_manager_credential_rotations_total",
	Help: "New client secrets by cause: Created, Scheduled, RevisionChanged, SecretDeleted, SecretEdited, Revoked.",
}, []string{"cause"})

func init() {
	for _, cause := range []credential.Verdict{
		credential.Create, credential.RotateScheduled, credential.RotateRevision,
		credential.ReplaceMissing, credential.ReplaceEdited, credential.ReplaceRevoked,
	} {
		rotations.WithLabelValues(string(cause))
	}
	metrics.Registry.MustRegister(rotations)
}

// pace gives clients whose scheduled rotation is due their turns, at most so many a minute. A turn that was given stays
// until the client leaves, so that whoever waits asks only once.
type pace struct {
	mu    sync.Mutex
	limit *rate.Limiter
	turns map[types.NamespacedName]time.Time
}

func newPace(perMinute int) *pace {
	return &pace{limit: rate.NewLimiter(rate.Limit(float64(perMinute)/60), 1), turns: map[types.NamespacedName]time.Time{}}
}

// turn is when the client's rotation may begin.
func (p *pace) turn(key types.NamespacedName, now time.Time) time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	at, ok := p.turns[key]
	if !ok {
		at = now.Add(p.limit.ReserveN(now, 1).DelayFrom(now))
		p.turns[key] = at
	}
	return at
}

// leave forgets the client's turn.
func (p *pace) leave(key types.NamespacedName) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.turns, key)
}

// decide plans the next step, which is no scheduled rotation before the client's turn.
func (r *clientRun) decide(pepper credential.Pepper, secret *corev1.Secret) (credential.Plan, error) {
	s := r.situation(pepper, secret)
	plan, err := credential.Decide(s, r.Random, r.now)
	key := types.NamespacedName{Namespace: r.client.Namespace, Name: r.client.Name}
	if err != nil || plan.Verdict != credential.RotateScheduled {
		r.Pace.leave(key)
		return plan, err
	}
	if s.NotBefore = r.Pace.turn(key, r.now); s.NotBefore.After(r.now) {
		return credential.Decide(s, r.Random, r.now)
	}
	return plan, nil
}

// reportRotation says in status what has been acted on, and when the next rotation is.
func (r *clientRun) reportRotation(plan credential.Plan) verdict {
	r.client.Status.CredentialRevision = plan.Held.Revision
	r.client.Status.NextRotationTime = nil
	if !plan.Next.IsZero() {
		next := metav1.NewTime(plan.Next)
		r.client.Status.NextRotationTime = &next
		r.look(plan.Next)
	}
	note := ""
	if plan.Cause == credential.RotateRevision {
		note = fmt.Sprintf("; spec.credential.revision asks for another one, which comes at %s, when the one before it is no longer accepted",
			plan.Next.UTC().Format(time.RFC3339))
	}
	return verdict{Finding: access.Finding{OK: true, Message: note}}
}

// announced counts a new credential, and records the event of it, which names its id and never its value.
func (r *clientRun) announced(plan credential.Plan) {
	if plan.Strange > 0 {
		eventf(r.Events, r.client, corev1.EventTypeWarning, v1alpha1.ReasonCredentialStatusEdited, fmt.Sprintf(
			"status.credentials held %d verifiers that this operator did not write, or not for now: they were taken out", plan.Strange))
	}
	if !plan.Writes() {
		return
	}
	rotations.WithLabelValues(string(plan.Verdict)).Inc()
	kind, reason := corev1.EventTypeWarning, v1alpha1.ReasonCredentialReplaced
	var why string
	switch plan.Verdict {
	case credential.Create:
		eventf(r.Events, r.client, corev1.EventTypeNormal, v1alpha1.ReasonCredentialCreated,
			fmt.Sprintf("Created the credential %s in the Secret %s", plan.Credential.ID, r.client.SecretName()))
		return
	case credential.RotateScheduled:
		kind, reason, why = corev1.EventTypeNormal, v1alpha1.ReasonCredentialRotated, "is rotated as scheduled"
	case credential.RotateRevision:
		kind, reason, why = corev1.EventTypeNormal, v1alpha1.ReasonCredentialRotated, "is rotated for a new spec.credential.revision"
	case credential.ReplaceMissing:
		why = "was deleted"
	case credential.ReplaceEdited:
		why = "held a value that this operator did not write, or not last, which is not accepted"
	case credential.ReplaceRevoked:
		why = "held a credential that spec.credential.revokedIDs names, which is not accepted"
	}
	note := fmt.Sprintf("The Secret %s %s: it has the new credential %s", r.client.SecretName(), why, plan.Credential.ID)
	if previous := plan.Held.Previous; previous != nil {
		note += fmt.Sprintf("; the one before, %s, is accepted until %s", previous.ID, previous.ExpiryTime.UTC().Format(time.RFC3339))
	}
	if plan.Dropped != "" {
		note += fmt.Sprintf("; the one before that, %s, is refused from now on, for there is room for one", plan.Dropped)
	}
	eventf(r.Events, r.client, kind, reason, note)
}
