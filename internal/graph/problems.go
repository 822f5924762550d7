package graph

import (
	"cmp"
	"slices"
	"strconv"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/internal/access"
	"github.com/m2m-operator/m2m-operator/internal/review"
)

// Severities of problems.
const (
	SeverityError   = "error"
	SeverityWarning = "warning"
)

// Reasons of problems, besides those of conditions.
const (
	ReasonRotationOverdue     = "RotationOverdue"
	ReasonCertificateExpiring = "CertificateExpiring"
	ReasonNoClient            = "NoClient"
	ReasonNoGrant             = "NoGrant"
)

const (
	// overdue is how late a rotation may be: many at once take turns.
	overdue = time.Hour
	// certificateSoon is when the end of a certificate is worth a warning. The operator's own are renewed long before.
	certificateSoon = 14 * 24 * time.Hour
)

// Problem is what is wrong with an object.
type Problem struct {
	// Severity is SeverityError or SeverityWarning.
	Severity string `json:"severity"`
	// Reason is a condition's, or one of this package's.
	Reason    string `json:"reason"`
	Kind      string `json:"kind"`
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name"`
	Message   string `json:"message"`
}

// problems are all that are found, the errors first.
func problems(w review.World) []Problem {
	f := &finder{world: w, found: []Problem{}}
	for _, issuer := range w.Issuers() {
		f.issuer(issuer)
	}
	for _, api := range w.APIs() {
		if v, alive := w.Index.ApiResourceVerdict(keyOf(api), w.Now); alive {
			f.judged(api, v.Accepted, v.ResolvedRefs)
		}
	}
	for _, grant := range w.Grants() {
		f.grant(grant)
	}
	for _, client := range w.Clients() {
		f.client(client)
	}
	slices.SortStableFunc(f.found, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Severity, b.Severity), cmp.Compare(a.Reason, b.Reason), cmp.Compare(a.Kind, b.Kind),
			cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	return f.found
}

type finder struct {
	world review.World
	found []Problem
}

func (f *finder) add(object metav1.Object, severity, reason, message string) {
	ref := access.RefOf(object)
	f.found = append(f.found, Problem{severity, reason, string(ref.Kind), ref.Namespace, ref.Name, message})
}

// judged adds what the engine has against an object, else what the manager reports of it.
func (f *finder) judged(object v1alpha1.Conditioned, findings ...access.Finding) (well bool) {
	well = true
	for _, finding := range findings {
		if !finding.OK {
			well = false
			f.add(object, SeverityError, finding.Reason, finding.Message)
		}
	}
	return well && f.reported(object, v1alpha1.ConditionReady)
}

// reported adds a condition of the object that is False.
func (f *finder) reported(object v1alpha1.Conditioned, condition string) (well bool) {
	c := meta.FindStatusCondition(*object.StatusConditions(), condition)
	if c == nil || c.Status != metav1.ConditionFalse || c.Reason == v1alpha1.ReasonRotating {
		return true
	}
	f.add(object, SeverityError, c.Reason, c.Message)
	return false
}

func (f *finder) issuer(issuer *v1alpha1.TokenIssuer) {
	f.reported(issuer, v1alpha1.ConditionReady)
	f.reported(issuer, v1alpha1.ConditionKeysCurrent)
	for _, key := range issuer.Status.Keys {
		if end := key.UntilTime; key.State == v1alpha1.KeyActive && end != nil && f.late(end) {
			f.add(issuer, SeverityError, ReasonRotationOverdue, "The key "+key.KID+" should have been followed by another at "+moment(end.Time))
		}
	}
	if end := issuer.Status.CertificateExpiryTime; end != nil {
		switch left := end.Sub(f.world.Now); {
		case left <= 0:
			f.add(issuer, SeverityError, v1alpha1.ReasonExpired, "Its serving certificate ended at "+moment(end.Time))
		case left < certificateSoon:
			f.add(issuer, SeverityWarning, ReasonCertificateExpiring, "Its serving certificate ends at "+moment(end.Time))
		}
	}
}

func (f *finder) grant(grant *v1alpha1.ScopeGrant) {
	v, alive := f.world.Index.GrantVerdict(keyOf(grant), f.world.Now)
	switch {
	case !alive || !f.judged(grant, v.Accepted, v.ResolvedRefs):
	case v.Active.Reason == v1alpha1.ReasonExpired:
		f.add(grant, SeverityWarning, v1alpha1.ReasonExpired, v.Active.Message)
	case v.MatchedClients == 0 && f.world.Everywhere(access.KindM2MClient):
		f.add(grant, SeverityWarning, ReasonNoClient, "No M2MClient matches its subjects: compare their namespaces, names and labels")
	}
}

func (f *finder) client(client *v1alpha1.M2MClient) {
	v, alive := f.world.Index.ClientVerdict(keyOf(client), f.world.Now)
	if !alive {
		return
	}
	f.judged(client, v.Accepted, v.ResolvedRefs)
	if next := client.Status.NextRotationTime; next != nil && f.late(next) {
		f.add(client, SeverityError, ReasonRotationOverdue, "Its secret should have been rotated at "+moment(next.Time))
	}
	for _, request := range client.Spec.Requests {
		f.request(client, request)
	}
	visible := f.world.Everywhere(access.KindApiResource) && f.world.Everywhere(access.KindScopeGrant)
	if len(v.Access) == 0 && !client.Spec.Suspend && visible {
		f.add(client, SeverityWarning, ReasonNoGrant, "Nobody has granted it anything that it may use now")
	}
}

// request looks at a wish that nobody can grant.
func (f *finder) request(client *v1alpha1.M2MClient, request v1alpha1.AccessRequest) {
	api := types.NamespacedName{Namespace: string(request.ApiResource.Namespace), Name: string(request.ApiResource.Name)}
	if !f.world.Sees(access.KindApiResource, api.Namespace) {
		return
	}
	if !f.world.Index.HasApiResource(api) {
		f.add(client, SeverityWarning, v1alpha1.ReasonApiResourceNotFound, "It asks for scopes of ApiResource "+api.String()+", which does not exist")
		return
	}
	for _, scope := range request.Scopes {
		if !f.world.Index.Declares(api, string(scope)) {
			f.add(client, SeverityWarning, v1alpha1.ReasonUnknownScope, "It asks for "+strconv.Quote(string(scope))+", which ApiResource "+api.String()+" does not declare")
		}
	}
}

func (f *finder) late(due *metav1.Time) bool { return f.world.Now.Sub(due.Time) > overdue }

func keyOf(object metav1.Object) types.NamespacedName {
	return types.NamespacedName{Namespace: object.GetNamespace(), Name: object.GetName()}
}

func moment(t time.Time) string { return t.UTC().Format(time.RFC3339) }
