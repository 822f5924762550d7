package cli

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/internal/access"
	"github.com/m2m-operator/m2m-operator/internal/inventory"
	"github.com/m2m-operator/m2m-operator/internal/manifests"
	"github.com/m2m-operator/m2m-operator/internal/review"
)

// knownIssuer is an issuer that is believed, and by which authority its certificate is checked.
//
// Only who may be believed says which issuers there are: a TokenIssuer, or, for those who may not read TokenIssuers, what
// the operator wrote into the namespace that they name. Anybody can make a ConfigMap or Secret in a namespace of theirs
// that looks like the operator's, and put any iss into a token.
type knownIssuer struct {
	url string
	// authority is the PEM bundle to trust; nil: the system's.
	authority []byte
	// source says where that is from.
	source string
	// issuer is nil if it may not be read.
	issuer *v1alpha1.TokenIssuer
}

func (k *knownIssuer) jwksURI() string { return v1alpha1.EndpointURL(k.url, v1alpha1.PathJWKS) }

// known finds the issuer of a token whose iss and client_id are these. If it is not known, the check says why: it failed if
// there is no such issuer, and is unknown if that cannot be seen.
func (s *session) known(ctx context.Context, c *cluster, w review.World, url, clientID string) (*knownIssuer, check, error) {
	const name = "issuer"
	if w.Everywhere(access.KindTokenIssuer) {
		issuer := s.issuerAt(w, url)
		if issuer == nil {
			return nil, check{name, resultFailed, fmt.Sprintf("no TokenIssuer has the URL %q", url)}, nil
		}
		authority, source, err := s.authority(ctx, c, issuer)
		if err == nil {
			return &knownIssuer{url: url, authority: authority, source: source, issuer: issuer}, check{}, nil
		}
		if !apierrors.IsForbidden(err) && !apierrors.IsNotFound(err) {
			return nil, check{}, err
		}
		out, tellingErr := s.told(ctx, c, w, url, clientID, issuer)
		if out != nil || tellingErr != nil {
			return out, check{}, tellingErr
		}
		return nil, check{name, resultUnknown, fmt.Sprintf("%s is TokenIssuer %s, and by which authority its certificate is to be "+
			"checked cannot be read (%v); name with -n a namespace with an API or a client of it, whose ConfigMap you may read", url, issuer.Name, err)}, nil
	}
	out, err := s.told(ctx, c, w, url, clientID, nil)
	if out != nil || err != nil {
		return out, check{}, err
	}
	return nil, check{name, resultUnknown, fmt.Sprintf("you may not read TokenIssuers, and nothing that you may read in the namespace %s "+
		"says that %q is one: name with -n the namespace of the API or of the client", c.namespace, url)}, nil
}

// issuerAt finds the TokenIssuer with a URL, nil if there is none.
func (s *session) issuerAt(w review.World, url string) *v1alpha1.TokenIssuer {
	for _, issuer := range w.Issuers() {
		if issuer.IssuerURL(s.installNamespace) == url && !slices.Contains(w.Assumed, issuer.Name) {
			return issuer
		}
	}
	return nil
}

// authority reads from the install namespace what the certificate of an issuer is checked by.
func (s *session) authority(ctx context.Context, c *cluster, issuer *v1alpha1.TokenIssuer) (pem []byte, source string, err error) {
	secret := &corev1.Secret{}
	key := client.ObjectKey{Namespace: s.installNamespace, Name: manifests.ServingName(issuer)}
	err = c.Get(ctx, key, secret)
	return secret.Data[manifests.KeyAuthority], "TokenIssuer " + issuer.Name, err
}

// told is what the operator wrote about the issuer into the namespace that is meant, or into the install namespace; nil if
// there is nothing. With an issuer it must be of an object of that issuer.
func (s *session) told(ctx context.Context, c *cluster, w review.World, url, clientID string, issuer *v1alpha1.TokenIssuer) (*knownIssuer, error) {
	for _, namespace := range slices.Compact([]string{s.installNamespace, c.namespace}) {
		list := &corev1.ConfigMapList{}
		err := c.List(ctx, list, client.MatchingLabels{manifests.LabelManagedBy: manifests.ManagedBy}, client.InNamespace(namespace))
		if err != nil && !apierrors.IsForbidden(err) {
			return nil, err
		}
		for i := range list.Items {
			told := &list.Items[i]
			if told.Data[manifests.KeyIssuer] == url && writtenFor(w, told, issuer) {
				return &knownIssuer{url, []byte(told.Data[manifests.KeyAuthority]), "ConfigMap " + namespace + "/" + told.Name, issuer}, nil
			}
		}
	}
	for _, key := range clientKeys(clientID, c.namespace) {
		machine := w.Client(key)
		if machine == nil || key.Namespace != c.namespace { // others' Secrets are believed in their namespaces
			continue
		}
		secret := &corev1.Secret{}
		err := c.Get(ctx, client.ObjectKey{Namespace: key.Namespace, Name: machine.SecretName()}, secret)
		if apierrors.IsForbidden(err) || apierrors.IsNotFound(err) {
			continue
		} else if err != nil {
			return nil, err
		}
		if string(secret.Data[manifests.KeyIssuer]) == url && writtenFor(w, secret, issuer) {
			return &knownIssuer{url, secret.Data[manifests.KeyAuthority], "Secret " + key.Namespace + "/" + secret.Name, issuer}, nil
		}
	}
	return nil, nil
}

// writtenFor reports whether an object's controller is an ApiResource or M2MClient that there is, of this issuer if one is
// given, and whether it has the name of what the operator writes for it.
func writtenFor(w review.World, object client.Object, issuer *v1alpha1.TokenIssuer) bool {
	controller := metav1.GetControllerOf(object)
	if controller == nil {
		return false
	}
	key := client.ObjectKey{Namespace: object.GetNamespace(), Name: controller.Name}
	var owner metav1.Object
	var ref v1alpha1.TokenIssuerReference
	var names []string
	switch access.Kind(controller.Kind) {
	case access.KindApiResource:
		if api := w.API(key); api != nil {
			owner, ref, names = api, api.Spec.IssuerRef, []string{api.VerifierConfigMapName()}
		}
	case access.KindM2MClient:
		if machine := w.Client(key); machine != nil {
			owner, ref, names = machine, machine.Spec.IssuerRef, []string{machine.EndpointConfigMapName(), machine.SecretName()}
		}
	}
	return owner != nil && owner.GetUID() == controller.UID && slices.Contains(names, object.GetName()) &&
		(issuer == nil || cmp.Or(ref.Name, inventory.DefaultIssuer) == issuer.Name)
}
