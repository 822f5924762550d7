package access

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/internal/policy"
	"github.com/m2m-operator/m2m-operator/internal/scope"
)

// audience is what must be unique among ApiResources.
type audience struct{ issuer, identifier string }

type apiResource struct {
	key          types.NamespacedName
	generation   int64
	audience     audience
	created      time.Time
	syntax       scope.Syntax
	declared     scopeSet
	roles        map[string]scopeSet
	anyClient    bool // may have every scope, without a grant
	wholeOnly    bool // no token with fewer scopes than were asked for
	rules        []condition
	claims       []*policy.Claim
	invalid      []string      // what is wrong with expressions, one by one
	unknownScope []string      // scopes of roles that are not declared, role by role
	lifetime     time.Duration // zero: the issuer's
	algorithm    v1alpha1.SigningAlgorithm
}

func newAPIResource(o *v1alpha1.ApiResource) *apiResource {
	a := &apiResource{
		key:        apiKey(o.Namespace, o.Name),
		generation: o.Generation,
		audience:   audience{issuer: issuerName(o.Spec.IssuerRef), identifier: o.Spec.Identifier},
		created:    o.CreationTimestamp.Time,
		roles:      make(map[string]scopeSet, len(o.Spec.Roles)),
		anyClient:  o.Spec.Authorization == v1alpha1.AuthorizationAnyClient,
		wholeOnly:  o.Spec.PartialGrants == v1alpha1.PartialGrantsRefuse,
		lifetime:   lifetime(o.Spec.Token.Lifetime),
		algorithm:  o.Spec.Token.SigningAlgorithm,
	}
	if o.Spec.ScopeSyntax == v1alpha1.ScopeSyntaxHierarchical {
		a.syntax = scope.Hierarchical
	}
	var names []v1alpha1.ScopeName
	for _, s := range o.Spec.Scopes {
		names = append(names, s.Name)
	}
	a.declared = newScopeSet(names)
	for _, role := range o.Spec.Roles {
		held := newScopeSet(role.Scopes)
		a.roles[string(role.Name)] = held
		for _, name := range a.undeclared(held) {
			problem := "%q in role %s"
			if a.read(name).malformed {
				problem += " (it must be resource, resource:action or resource:id:action)"
			}
			a.unknownScope = append(a.unknownScope, fmt.Sprintf(problem, name, role.Name))
		}
	}
	a.rules, a.invalid = compileConditions("spec.rules", o.Spec.Rules)
	for i, claim := range o.Spec.Claims {
		compiled, err := policy.CompileClaim(claim.Name, string(claim.Expression))
		if err != nil {
			a.invalid = append(a.invalid, fmt.Sprintf("spec.claims[%d]: %v", i, err))
			continue
		}
		a.claims = append(a.claims, compiled)
	}
	return a
}

func (a *apiResource) link(x *Index) {
	x.apis.put(a.key, a)
	x.holders.add(a.audience, a)
	if a.anyClient {
		x.open.add(a.audience.issuer, a)
	}
}

func (a *apiResource) unlink(x *Index) {
	x.apis.remove(a.key)
	x.holders.remove(a.audience, a)
	if a.anyClient {
		x.open.remove(a.audience.issuer, a)
	}
}

func (a *apiResource) birth() birth { return birth{a.created, a.key} }

func (a *apiResource) hierarchical() bool { return a.syntax == scope.Hierarchical }

// read takes in a scope that somebody asks for or gives.
func (a *apiResource) read(name string) readScope {
	item, err := scope.Parse(a.syntax, name)
	return readScope{name: name, item: item, malformed: err != nil}
}

// declares reports whether the scope is one of the API's.
func (a *apiResource) declares(s readScope) bool { return a.declared.declares(a.syntax, s) }

// undeclared are those of a set that are not among the API's scopes, sorted.
func (a *apiResource) undeclared(set scopeSet) []string {
	return slices.DeleteFunc(slices.Clone(set.names), func(name string) bool { return a.declares(a.read(name)) })
}

// condition is an expression that must be true, and what to say if it is not.
type condition struct {
	expression *policy.Condition
	source     string // as it was written
	message    string
}

// standing reports whether the condition counts for requests of any kind, and not for some alone.
func (c condition) standing() bool { return c.expression.Standing() }

// left are the sources of the conditions that Request.Standing leaves out.
func left(conditions []condition) (out []string) {
	for _, c := range conditions {
		if !c.standing() {
			out = append(out, c.source)
		}
	}
	return out
}

// compileConditions compiles a field's expressions. Those that are invalid are described and left out, so whoever uses
// the others must look at invalid first.
func compileConditions(field string, conditions []v1alpha1.PolicyCondition) (compiled []condition, invalid []string) {
	for i, c := range conditions {
		expression, err := policy.CompileCondition(string(c.Expression))
		if err != nil {
			invalid = append(invalid, fmt.Sprintf("%s[%d]: %v", field, i, err))
			continue
		}
		compiled = append(compiled, condition{expression, string(c.Expression), c.Message})
	}
	return compiled, invalid
}

// reservation keeps identifiers for the ApiResources of some namespaces.
type reservation struct {
	prefix     string
	namespaces []string
}

// identifiers says which namespaces may claim which.
type identifiers struct {
	reserved []reservation // the longest prefix first
	deny     bool          // those that are not reserved
}

func newIdentifiers(o v1alpha1.TokenIssuerIdentifiers) identifiers {
	out := identifiers{deny: o.Others == v1alpha1.OtherIdentifiersDeny}
	for _, r := range o.Reserved {
		reserved := reservation{prefix: r.Prefix}
		for _, namespace := range r.Namespaces {
			reserved.namespaces = append(reserved.namespaces, string(namespace))
		}
		out.reserved = append(out.reserved, reserved)
	}
	slices.SortStableFunc(out.reserved, func(a, b reservation) int { return len(b.prefix) - len(a.prefix) })
	return out
}

var errNotReserved = errors.New("the TokenIssuer lets ApiResources claim reserved identifiers only, and this one is not reserved: " +
	"have its prefix reserved for this namespace in the TokenIssuer's spec.identifiers")

// check says why the namespace may not claim the identifier, nil if it may.
func (i identifiers) check(namespace, identifier string) error {
	for _, r := range i.reserved {
		if !strings.HasPrefix(identifier, r.prefix) {
			continue
		}
		if slices.Contains(r.namespaces, namespace) {
			return nil
		}
		return fmt.Errorf("identifiers that begin with %q are reserved for other namespaces: use another identifier, or "+
			"have this namespace added in the TokenIssuer's spec.identifiers", r.prefix)
	}
	if i.deny {
		return errNotReserved
	}
	return nil
}

// MayClaim reports whether ApiResources of the namespace may have the identifier, if nobody else has it.
func (i Issuer) MayClaim(namespace, identifier string) bool {
	return i.identifiers.check(namespace, identifier) == nil
}

// Reservations are the prefixes of identifiers that are reserved, and the namespaces that any of them is reserved for.
func (i Issuer) Reservations() (prefixes, namespaces []string) {
	for _, r := range i.identifiers.reserved {
		prefixes = append(prefixes, r.prefix)
		namespaces = append(namespaces, r.namespaces...)
	}
	return prefixes, namespaces
}

// mayClaim says why the ApiResource may not have its identifier, nil if it may as far as the issuer is concerned.
func (x *Index) mayClaim(a *apiResource) error {
	if issuer := x.issuers[a.audience.issuer]; issuer != nil {
		return issuer.identifiers.check(a.key.Namespace, a.audience.identifier)
	}
	return nil
}

// holder finds the ApiResource that has the identifier: of those that may claim it the oldest that is not gone, whatever
// else is wrong with it.
func (x *Index) holder(of audience) *apiResource {
	for _, a := range x.holders[of] {
		if !x.gone(a.key.Namespace) && x.mayClaim(a) == nil {
			return a
		}
	}
	return nil
}
