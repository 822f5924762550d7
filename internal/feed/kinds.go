package feed

import (
	"maps"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/internal/manifests"
)

// kind is one of those that an issuer watches.
type kind struct {
	name     string // as heard names it
	group    schema.GroupVersion
	resource string
	// installed is for kinds that are watched in the install namespace only.
	installed bool
	object    func() client.Object
}

// kinds that an issuer watches. Namespaces come first: whether an object counts depends on its namespace.
var kinds = []kind{
	{name: "Namespace", group: corev1.SchemeGroupVersion, resource: "namespaces", object: func() client.Object { return &corev1.Namespace{} }},
	{name: "Secret", group: corev1.SchemeGroupVersion, resource: "secrets", installed: true, object: func() client.Object { return &corev1.Secret{} }},
	{name: "ConfigMap", group: corev1.SchemeGroupVersion, resource: "configmaps", installed: true, object: func() client.Object { return &corev1.ConfigMap{} }},
	{name: "TokenIssuer", group: v1alpha1.GroupVersion, resource: "tokenissuers", object: func() client.Object { return &v1alpha1.TokenIssuer{} }},
	{name: "ApiResource", group: v1alpha1.GroupVersion, resource: "apiresources", object: func() client.Object { return &v1alpha1.ApiResource{} }},
	{name: "M2MClient", group: v1alpha1.GroupVersion, resource: "m2mclients", object: func() client.Object { return &v1alpha1.M2MClient{} }},
	{name: "ScopeGrant", group: v1alpha1.GroupVersion, resource: "scopegrants", object: func() client.Object { return &v1alpha1.ScopeGrant{} }},
}

// trim drops from an object what an issuer never looks at, before it is kept anywhere.
func (m *material) trim(object client.Object) {
	trimMeta(object)
	switch o := object.(type) {
	case *corev1.Namespace:
		o.Labels, o.Spec, o.Status = nil, corev1.NamespaceSpec{}, corev1.NamespaceStatus{Phase: o.Status.Phase}
	case *corev1.Secret:
		o.StringData = nil
		o.Data = only(o.Data, m.secretKeys(o)...)
	case *corev1.ConfigMap:
		o.BinaryData = nil
		if o.Name == manifests.RingName(m.issuer) {
			o.Data = only(o.Data, manifests.KeyRing, manifests.KeyRingSeal)
		} else {
			o.Data = nil
		}
	case *v1alpha1.TokenIssuer:
		o.Spec.Deployment, o.Status = nil, v1alpha1.TokenIssuerStatus{}
	case *v1alpha1.ApiResource:
		o.Spec.DisplayName, o.Status = "", v1alpha1.ApiResourceStatus{}
		for i := range o.Spec.Scopes {
			o.Spec.Scopes[i].Description = ""
		}
		for i := range o.Spec.Roles {
			o.Spec.Roles[i].Description = ""
		}
	case *v1alpha1.M2MClient:
		o.Spec.DisplayName, o.Spec.Description = "", ""
		o.Status = v1alpha1.M2MClientStatus{Credentials: o.Status.Credentials}
	case *v1alpha1.ScopeGrant:
		o.Status = v1alpha1.ScopeGrantStatus{}
	}
}

// trimMeta keeps of the annotations those that are our own.
func trimMeta(object client.Object) {
	annotations := object.GetAnnotations()
	maps.DeleteFunc(annotations, func(name, _ string) bool { return !strings.HasPrefix(name, v1alpha1.GroupVersion.Group+"/") })
	if len(annotations) == 0 {
		object.SetAnnotations(nil)
	}
	object.SetManagedFields(nil)
	object.SetOwnerReferences(nil)
	object.SetFinalizers(nil)
	object.GetObjectKind().SetGroupVersionKind(schema.GroupVersionKind{})
}

// secretKeys are those of a Secret's data that an issuer may come to use.
func (m *material) secretKeys(secret *corev1.Secret) []string {
	_, holdsKey := manifests.SlotOf(m.issuer, secret.Name)
	switch {
	case secret.Name == manifests.PepperName(m.issuer):
		return []string{manifests.KeyPepper}
	case holdsKey:
		return []string{manifests.KeyPrivateJWK}
	case secret.Type == corev1.SecretTypeTLS && secret.Labels[manifests.LabelContent] != manifests.ContentAuthority:
		return []string{corev1.TLSCertKey, corev1.TLSPrivateKeyKey} // it may be named as the serving certificate, some day
	}
	return nil
}

func only[V any](data map[string]V, keys ...string) map[string]V {
	kept := make(map[string]V, len(keys))
	for _, key := range keys {
		if value, ok := data[key]; ok {
			kept[key] = value
		}
	}
	return kept
}

// keyOf is the namespace and name of an object, as one string.
func keyOf(object metav1.Object) string {
	if object.GetNamespace() == "" {
		return object.GetName()
	}
	return object.GetNamespace() + "/" + object.GetName()
}

// splitKey is the inverse of keyOf.
func splitKey(key string) (namespace, name string) {
	namespace, name, _ = strings.Cut(key, "/")
	if name == "" {
		return "", namespace
	}
	return namespace, name
}
