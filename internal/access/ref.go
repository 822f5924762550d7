package access

import (
	"cmp"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
)

// Kind is one of the four kinds that the index holds.
type Kind string

// The four kinds.
const (
	KindTokenIssuer Kind = "TokenIssuer"
	KindApiResource Kind = "ApiResource"
	KindM2MClient   Kind = "M2MClient"
	KindScopeGrant  Kind = "ScopeGrant"
)

// Ref names an object of one of the four kinds. TokenIssuers have no namespace.
type Ref struct {
	Kind            Kind
	Namespace, Name string
}

// RefOf names the object, which must be of one of the four kinds; anything else is a programming error and panics.
func RefOf(object metav1.Object) Ref {
	ref := Ref{Namespace: object.GetNamespace(), Name: object.GetName()}
	switch object.(type) {
	case *v1alpha1.TokenIssuer:
		ref.Kind, ref.Namespace = KindTokenIssuer, ""
	case *v1alpha1.ApiResource:
		ref.Kind = KindApiResource
	case *v1alpha1.M2MClient:
		ref.Kind = KindM2MClient
	case *v1alpha1.ScopeGrant:
		ref.Kind = KindScopeGrant
	default:
		panic(fmt.Sprintf("access: %T is not one of the four kinds", object))
	}
	return ref
}

// String is "ScopeGrant courses/nightly-publisher", or "TokenIssuer default".
func (r Ref) String() string {
	if r.Namespace == "" {
		return string(r.Kind) + " " + r.Name
	}
	return string(r.Kind) + " " + r.Namespace + "/" + r.Name
}

// key is the object's namespace and name.
func (r Ref) key() types.NamespacedName {
	return types.NamespacedName{Namespace: r.Namespace, Name: r.Name}
}

func compareRefs(a, b Ref) int {
	return cmp.Or(cmp.Compare(a.Kind, b.Kind), compareKeys(a.key(), b.key()))
}

func compareKeys(a, b types.NamespacedName) int {
	return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
}
