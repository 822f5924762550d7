package doctor

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/internal/access"
)

// objects looks at what tenants wrote.
func (e *examination) objects(context.Context) error {
	now := e.World.Now
	problems := len(e.report.Findings)
	for _, api := range e.World.APIs() {
		v, alive := e.World.Index.ApiResourceVerdict(client.ObjectKeyFromObject(api), now)
		if alive && !e.findings(api, v.Accepted, v.ResolvedRefs) {
			e.reported(api)
		}
	}
	for _, grant := range e.World.Grants() {
		e.grant(grant)
	}
	for _, machine := range e.World.Clients() {
		e.client(machine)
	}
	if len(e.report.Findings) == problems {
		e.ok("access", "", "%d APIs, %d clients and %d grants, and nothing is wrong with them",
			len(e.World.APIs()), len(e.World.Clients()), len(e.World.Grants()))
	}
	return nil
}

// findings adds what the engine has against an object, and reports whether that is anything.
func (e *examination) findings(object metav1.Object, findings ...access.Finding) bool {
	found := false
	for _, f := range findings {
		if f.OK {
			continue
		}
		found = true
		check := "access"
		if f.Reason == v1alpha1.ReasonConflicted || f.Reason == v1alpha1.ReasonIdentifierReserved {
			check = "conflicts"
		}
		e.add(Problem, check, access.RefOf(object).String(), f.Reason+": "+f.Message, reasons)
	}
	return found
}

// reported adds what the manager reports of an object that the engine has nothing against.
func (e *examination) reported(object v1alpha1.Conditioned) {
	ready := meta.FindStatusCondition(*object.StatusConditions(), v1alpha1.ConditionReady)
	name := access.RefOf(object).String()
	switch {
	case ready == nil || ready.Status == metav1.ConditionUnknown:
		e.add(Warning, "install", name, "the manager has not looked at it yet", "wait a moment; else look at the manager's log")
	case ready.Status == metav1.ConditionFalse:
		e.add(Problem, "access", name, ready.Reason+": "+ready.Message, reasons)
	}
}

func (e *examination) grant(grant *v1alpha1.ScopeGrant) {
	v, alive := e.World.Index.GrantVerdict(client.ObjectKeyFromObject(grant), e.World.Now)
	name := access.RefOf(grant).String()
	switch {
	case !alive || e.findings(grant, v.Accepted, v.ResolvedRefs):
	case v.Active.Reason == v1alpha1.ReasonExpired:
		e.add(Warning, "access", name, v.Active.Message, "delete it, or give it another expiresAt")
	case v.MatchedClients == 0 && e.World.Everywhere(access.KindM2MClient):
		e.add(Warning, "access", name, "no M2MClient matches its subjects", "compare their namespaces, names and labels; kubectl m2m lint finds typing errors")
	}
}

func (e *examination) client(machine *v1alpha1.M2MClient) {
	key := types.NamespacedName{Namespace: machine.Namespace, Name: machine.Name}
	v, alive := e.World.Index.ClientVerdict(key, e.World.Now)
	if !alive {
		return
	}
	name := access.RefOf(machine).String()
	if !e.findings(machine, v.Accepted, v.ResolvedRefs) {
		e.reported(machine)
	}
	if next := machine.Status.NextRotationTime; next != nil && e.Now().Sub(next.Time) > overdue {
		e.add(Problem, "rotation", name, fmt.Sprintf("its secret should have been rotated at %s: %s", next.UTC().Format("2006-01-02T15:04:05Z"), late(e.Now().Sub(next.Time))),
			"is the manager running? Its log says what keeps it")
	}
	visible := e.World.Everywhere(access.KindApiResource) && e.World.Everywhere(access.KindScopeGrant)
	if len(v.Access) == 0 && !machine.Spec.Suspend && visible {
		e.add(Warning, "access", name, "nobody has granted it anything", "kubectl m2m requests says what it asks for; else delete it, if it is not needed")
	}
}
