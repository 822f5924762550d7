// Package review turns objects into answers for people: what a client may do and through which grant, who may do
// something, which wishes wait, and what a change would give and take away. What is allowed it asks of internal/access,
// and of nothing else. It does no I/O, and knows no time but the one that it is given.
package review

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/internal/access"
	"github.com/m2m-operator/m2m-operator/internal/inventory"
)

// World is what an answer is about: objects, at an instant. It is not safe for concurrent use.
type World struct {
	*inventory.Inventory
	Index *access.Index
	Now   time.Time

	everything *timelines // of all APIs
}

// NewWorld makes a world of the objects as they are now.
func NewWorld(objects *inventory.Inventory, installNamespace string, now time.Time) World {
	w := World{Inventory: objects, Index: objects.Index(installNamespace), Now: now}
	w.everything = w.asking(types.NamespacedName{})
	return w
}

// Way is one way in which a client has a scope.
type Way struct {
	// Grant is namespace/name of the ScopeGrant; "" if the ApiResource gives its scopes to any client.
	Grant string `json:"grant,omitempty"`
	// Role of the ApiResource through which the grant gives the scope; "" if it names the scope itself.
	Role string `json:"role,omitempty"`
	// Subject is the entry of the grant that matches the client: its place, and what it says.
	Subject string `json:"subject,omitempty"`
	// Since is when the grant began to be in force, or was made; zero if that is not known, or lies ahead.
	Since time.Time `json:"since,omitzero"`
	// From and Until bound the time; zero: from now on, and without end.
	From  time.Time `json:"from,omitzero"`
	Until time.Time `json:"until,omitzero"`
	// Conditions of the grant that each request has to meet.
	Conditions []string `json:"conditions,omitempty"`
}

// Scope is a scope that a client has, now or later, and every way in which it does.
type Scope struct {
	Name string `json:"name"`
	Ways []Way  `json:"ways,omitempty"`
}

// Access is what a client has of one API.
type Access struct {
	// API is namespace/name of the ApiResource, and Audience its identifier.
	API      string `json:"api"`
	Audience string `json:"audience"`
	// TokenLifetime of the client's tokens for it, as Go writes it: 10m0s.
	TokenLifetime string `json:"tokenLifetime,omitempty"`
	// Rules of the ApiResource that each request has to meet, whoever granted what.
	Rules  []string `json:"rules,omitempty"`
	Scopes []Scope  `json:"scopes"`
}

// Lack is a scope that a client does not have, and why.
type Lack struct {
	Scope   string `json:"scope"`
	Reason  string `json:"reason"`
	Message string `json:"message"`

	obstacles []access.Obstacle
}

func keyOf(object interface{ GetNamespace() string }, name string) types.NamespacedName {
	return types.NamespacedName{Namespace: object.GetNamespace(), Name: name}
}

func issuerOf(ref v1alpha1.TokenIssuerReference) string {
	return cmp.Or(ref.Name, inventory.DefaultIssuer)
}

// subject describes the place of a grant that matches a client.
func (w World) subject(giver access.Giver) string {
	grant := w.Grant(giver.Grant)
	if grant == nil || giver.Subject >= len(grant.Spec.Subjects) {
		return ""
	}
	return fmt.Sprintf("spec.subjects[%d]: %s", giver.Subject, Describe(grant.Spec.Subjects[giver.Subject]))
}

// Describe is a subject for people: "jobs/publisher", or "fleet, kind=sensor, site in (north,south)".
func Describe(s v1alpha1.GrantSubject) string {
	if s.Selector == nil {
		return string(s.Namespace) + "/" + string(s.Name)
	}
	var parts []string
	for _, key := range sortedKeys(s.Selector.MatchLabels) {
		parts = append(parts, key+"="+s.Selector.MatchLabels[key])
	}
	for _, e := range s.Selector.MatchExpressions {
		text := e.Key + " " + string(e.Operator)
		if len(e.Values) > 0 {
			text += " (" + strings.Join(e.Values, ",") + ")"
		}
		parts = append(parts, text)
	}
	return string(s.Namespace) + ", " + strings.Join(parts, ", ")
}
