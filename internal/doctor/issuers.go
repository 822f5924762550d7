package doctor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/internal/access"
)

const (
	// certificateSoon is when the end of a certificate is worth a warning. The operator's own are renewed long before.
	certificateSoon = 14 * 24 * time.Hour
	// overdue is how late a client's rotation may be: many at once take turns.
	overdue = time.Hour

	reasons = "docs/operating/troubleshooting.md says what each reason wants you to do"
)

// issuers looks at each TokenIssuer, and asks it and its pods.
func (e *examination) issuers(ctx context.Context) error {
	issuers := e.World.Issuers()
	if len(issuers) == 0 && e.World.Everywhere(access.KindTokenIssuer) { // else that they may not be read is said elsewhere
		e.add(Problem, "issuer", "", "there is no TokenIssuer: nobody can have a token", "create one named default; the manager does so with --create-default-issuer")
	}
	for _, issuer := range issuers {
		if slices.Contains(e.World.Assumed, issuer.Name) {
			continue // it may not be read, which is said elsewhere
		}
		e.issuer(issuer)
		e.atURL(ctx, issuer)
		if err := e.pods(ctx, issuer); err != nil {
			return err
		}
	}
	return nil
}

func (e *examination) issuer(issuer *v1alpha1.TokenIssuer) {
	object := "TokenIssuer " + issuer.Name
	ready := meta.FindStatusCondition(issuer.Status.Conditions, v1alpha1.ConditionReady)
	switch {
	case ready == nil || ready.Status == metav1.ConditionUnknown || issuer.Status.ObservedGeneration < issuer.Generation:
		e.add(Problem, "issuer", object, "the manager has not looked at it as it is now", "is the manager running, and does it hold its lease? See its log")
	case ready.Status == metav1.ConditionFalse:
		e.add(Problem, "issuer", object, ready.Reason+": "+ready.Message, reasons)
	default:
		e.ok("issuer", object, "ready at %s", issuer.IssuerURL(e.InstallNamespace))
	}
	keys := meta.FindStatusCondition(issuer.Status.Conditions, v1alpha1.ConditionKeysCurrent)
	switch {
	case keys == nil:
	case keys.Status == metav1.ConditionFalse && keys.Reason != v1alpha1.ReasonRotating:
		e.add(Problem, "rotation", object, keys.Reason+": "+keys.Message, "docs/operating/rotation.md, What says that a rotation hangs")
	case keys.Status == metav1.ConditionFalse:
		e.ok("rotation", object, "%s", keys.Message)
	default:
		e.ok("rotation", object, "its signing keys are those that its spec asks for")
	}
	if end := issuer.Status.CertificateExpiryTime; end != nil {
		e.certificate(object, end.Time)
	}
}

func (e *examination) certificate(object string, end time.Time) {
	left := end.Sub(e.Now())
	const renew = "where spec.tls names the Secret, renew what is in it; else look at the manager's log, which should have renewed it"
	switch {
	case left <= 0:
		e.add(Problem, "tls", object, "its serving certificate ended at "+end.UTC().Format(time.RFC3339), renew)
	case left < certificateSoon:
		e.add(Warning, "tls", object, "its serving certificate ends at "+end.UTC().Format(time.RFC3339), renew)
	default:
		e.ok("tls", object, "its serving certificate is good until %s", end.UTC().Format(time.RFC3339))
	}
}

// atURL asks the issuer where clients do, which shows TLS, JWKS and clock as they see them.
func (e *examination) atURL(ctx context.Context, issuer *v1alpha1.TokenIssuer) {
	object := "TokenIssuer " + issuer.Name
	before := e.Now()
	kids, header, err := e.Keys(ctx, issuer)
	var unanswered *Unanswered
	switch {
	case errors.As(err, &unanswered):
		e.add(unanswered.Level, unanswered.Check, object, unanswered.Message, unanswered.Do)
		return
	case err != nil:
		e.notLooked("jwks", object, err, askAdministrator)
		return
	}
	e.pace.take(object, header, before, e.Now())
	if missing := lacking(published(issuer), kids); len(missing) > 0 {
		e.add(Problem, "jwks", object, "its JWKS lacks keys that its status lists: "+strings.Join(missing, ", "), "an issuer does not hear the API server, or a cache in front of it is old")
		return
	}
	e.ok("jwks", object, "its URL can be reached from here, its certificate is trusted, and its JWKS has the %d keys of its status", len(published(issuer)))
}

func published(issuer *v1alpha1.TokenIssuer) []string {
	var kids []string
	for _, key := range issuer.Status.Keys {
		kids = append(kids, key.KID)
	}
	slices.Sort(kids)
	return kids
}

// lacking are the items of the one that the other does not have.
func lacking(wanted, has []string) (out []string) {
	for _, item := range wanted {
		if !slices.Contains(has, item) {
			out = append(out, item)
		}
	}
	return out
}

// late reports how late something is, as people read it.
func late(by time.Duration) string { return fmt.Sprintf("%s late", by.Round(time.Minute)) }
