package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

var (
	// GroupVersion of all kinds in this package.
	GroupVersion = schema.GroupVersion{Group: "m2m-operator.io", Version: "v1alpha1"}

	// SchemeBuilder collects the functions that add this package's kinds to a scheme.
	SchemeBuilder = runtime.NewSchemeBuilder(addKnownTypes)

	// AddToScheme adds this package's kinds to a scheme.
	AddToScheme = SchemeBuilder.AddToScheme
)

func addKnownTypes(scheme *runtime.Scheme) error {
	scheme.AddKnownTypes(GroupVersion,
		&TokenIssuer{}, &TokenIssuerList{},
		&ApiResource{}, &ApiResourceList{},
		&M2MClient{}, &M2MClientList{},
		&ScopeGrant{}, &ScopeGrantList{},
	)
	metav1.AddToGroupVersion(scheme, GroupVersion)
	return nil
}
