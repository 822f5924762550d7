package main

import (
	"fmt"
	"path"

	distribution "github.com/distribution/reference"
	"github.com/google/go-containerregistry/pkg/name"
)

// reference is an image's name and tag in full, as Kubernetes' runtimes and Docker store it: a Pod that says
// m2m-operator/m2m-operator:v1 is given docker.io/m2m-operator/m2m-operator:v1, and localhost/m2m-operator:v1 is its own full name.
type reference struct{ distribution.NamedTagged }

// parseReference takes what a Pod spec may say, completes it as containerd does, and refuses what a node that was given
// the image by hand would not find.
func parseReference(s string) (reference, error) {
	named, err := distribution.ParseNormalizedNamed(s)
	if err != nil {
		return reference{}, fmt.Errorf("image reference %q: %w: want NAME:TAG, such as localhost/m2m-operator:v1.2.3; "+
			"a tag is at most 128 letters, digits and ._- (no + and no /)", s, err)
	}
	tagged, ok := named.(distribution.NamedTagged)
	if _, digested := named.(distribution.Digested); !ok || digested {
		return reference{}, fmt.Errorf("image reference %q: want NAME:TAG", s)
	}
	if tagged.Tag() == "latest" {
		return reference{}, fmt.Errorf("image reference %q: use another tag than latest, for which Kubernetes always asks a registry", s)
	}
	return reference{tagged}, nil
}

// title is the last part of the name.
func (r reference) title() string { return path.Base(distribution.Path(r)) }

// tag is the reference as the library that writes archives wants it; it keeps the spelling.
func (r reference) tag() (name.Tag, error) { return name.NewTag(r.String(), name.StrictValidation) }
