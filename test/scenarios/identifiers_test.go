package scenarios

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/test/suite"
)

// bound is how long a change may take from the API server's acceptance to the issuer's decisions.
const bound = time.Second

// TestReservationTakesAnIdentifierAway: who claimed an identifier first keeps it only until it is reserved for others.
func TestReservationTakesAnIdentifierAway(t *testing.T) {
	ready(t)
	const identifier = "https://reserved.example.com/api"
	newNamespaces(t, "early-birds", "owners", "payers")
	squatter, payer := newAPI("early-birds", "pay", identifier, "pay"), newClient("payers", "payer", nil)
	squatting := newGrant(squatter, payer, "pay")
	create(t, squatter, payer, squatting)
	caller := mount(t, "payers", "payer")
	caller.awaitVerdict("granted", identifier)
	awaitReady(t, squatting)

	reserve := func(identifiers v1alpha1.TokenIssuerIdentifiers) {
		t.Helper()
		issuer := get(t, &v1alpha1.TokenIssuer{}, "", "default")
		issuer.Spec.Identifiers = identifiers
		suite.Save(t, world.Admin, issuer)
	}
	reserve(v1alpha1.TokenIssuerIdentifiers{Reserved: []v1alpha1.ReservedIdentifiers{
		{Prefix: "https://reserved.example.com/", Namespaces: []v1alpha1.NamespaceName{"owners"}},
	}})
	accepted := time.Now()
	caller.awaitVerdict("invalid_target", identifier)
	if took := time.Since(accepted); took > bound {
		t.Errorf("the reservation took %s to reach the issuer, which may be %s", took, bound)
	}
	wantError(t, "what the squatter granted", caller.ask(identifier, "pay"), "invalid_target")
	awaitCondition(t, squatter, v1alpha1.ConditionAccepted, metav1.ConditionFalse, v1alpha1.ReasonIdentifierReserved)
	awaitCondition(t, squatting, v1alpha1.ConditionResolvedRefs, metav1.ConditionFalse, v1alpha1.ReasonApiResourceNotAccepted)
	awaitCondition(t, squatting, v1alpha1.ConditionActive, metav1.ConditionFalse, v1alpha1.ReasonApiResourceNotAccepted)

	owner := newAPI("owners", "pay", identifier, "charge")
	create(t, owner, newGrant(owner, payer, "charge"))
	caller.awaitVerdict("granted", identifier)
	wantToken(t, "the owner's API", caller.ask(identifier, ""), "charge", "")
	wantError(t, "the squatter's scope", caller.ask(identifier, "pay"), "invalid_scope")
	awaitReady(t, owner)

	reserve(v1alpha1.TokenIssuerIdentifiers{})
	suite.Eventually(t, func() string {
		if got := caller.ask(identifier, ""); got.Scope != "pay" {
			return "without the reservation the older one has it: " + got.String()
		}
		return ""
	})
	awaitCondition(t, owner, v1alpha1.ConditionAccepted, metav1.ConditionFalse, v1alpha1.ReasonConflicted)
}
