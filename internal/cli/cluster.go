package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/internal/inventory"
	"github.com/m2m-operator/m2m-operator/internal/inventory/files"
	"github.com/m2m-operator/m2m-operator/internal/inventory/live"
	"github.com/m2m-operator/m2m-operator/internal/review"
)

// fieldOwner of what the commands change.
const fieldOwner = client.FieldOwner("kubectl-m2m")

// noCluster is where kubectl looks for an API server if nobody says where one is. None listens there any more.
const noCluster = "http://localhost:8080"

// cluster is the connection to the API server, with the namespace that is meant where none is named.
type cluster struct {
	client.Client
	config    *rest.Config
	namespace string
}

func (s *session) cluster() (*cluster, error) {
	namespace, err := s.namespace()
	if err != nil {
		return nil, err
	}
	config, err := s.kube.ToRESTConfig()
	if err != nil {
		return nil, fmt.Errorf("no way to a cluster: %w; give --kubeconfig or --context, or set KUBECONFIG", err)
	}
	if config.Host == noCluster {
		return nil, errors.New("no way to a cluster: there is no kubeconfig; give --kubeconfig, or set KUBECONFIG")
	}
	config.QPS, config.Burst = 100, 200 // a few lists of many pages
	config.WarningHandler = rest.NoWarnings{}
	scheme := runtime.NewScheme()
	utilruntime.Must(clientgoscheme.AddToScheme(scheme))
	utilruntime.Must(apiextensionsv1.AddToScheme(scheme))
	utilruntime.Must(v1alpha1.AddToScheme(scheme))
	c, err := client.New(config, client.Options{Scheme: scheme, Mapper: newMapper(scheme)})
	if err != nil {
		return nil, err
	}
	return &cluster{Client: c, config: config, namespace: namespace}, nil
}

// clusterScoped are the kinds that are asked for and have no namespace.
var clusterScoped = map[string]bool{
	"TokenIssuer": true, "Namespace": true, "ClusterRole": true, "ClusterRoleBinding": true, "SubjectAccessReview": true,
	"CustomResourceDefinition": true,
}

// newMapper knows all kinds without a discovery, which would take longer than the question.
func newMapper(scheme *runtime.Scheme) meta.RESTMapper {
	mapper := meta.NewDefaultRESTMapper(nil)
	for kind := range scheme.AllKnownTypes() {
		if kind.Version == runtime.APIVersionInternal {
			continue
		}
		scope := meta.RESTScopeNamespace
		if clusterScoped[kind.Kind] {
			scope = meta.RESTScopeRoot
		}
		mapper.Add(kind, scope)
	}
	return mapper
}

// namespace that is meant where none is named: -n, else the context's, else default.
func (s *session) namespace() (string, error) {
	namespace, _, err := s.kube.ToRawKubeConfigLoader().Namespace()
	if clientcmd.IsConfigurationInvalid(err) {
		return "", fmt.Errorf("kubeconfig: %w", err)
	}
	return namespace, err
}

// world is the manifests, if some are named, else the cluster, seen with the rights of the user.
func (s *session) world(ctx context.Context, filenames []string, namespaces ...string) (review.World, error) {
	var objects *inventory.Inventory
	if len(filenames) > 0 {
		var err error
		if objects, err = s.manifests(filenames); err != nil {
			return review.World{}, err
		}
		objects.AssumeIssuers()
	} else {
		c, err := s.cluster()
		if err != nil {
			return review.World{}, err
		}
		if objects, err = live.Load(ctx, c, append(namespaces, c.namespace)...); err != nil {
			return review.World{}, err
		}
	}
	return review.NewWorld(objects, s.installNamespace, s.Now()), nil
}

// manifests reads objects from files. They need not be valid, but must be readable as what they are, and be there: a path
// that is wrong is not to look like one where all is well.
func (s *session) manifests(filenames []string) (*inventory.Inventory, error) {
	objects, err := s.read(filenames)
	if err == nil && objects.Len() == 0 {
		err = noObjects(filenames)
	}
	return objects, err
}

func noObjects(filenames []string) error {
	return fmt.Errorf("no objects of %s in %s", v1alpha1.GroupVersion.Group, sourceOf(filenames))
}

// earlier reads the objects that others are compared with. There may be none, and files that are not there hold none: a
// change may be the one that adds them. It says which they are.
func (s *session) earlier(filenames []string) (objects *inventory.Inventory, notes []string, err error) {
	var there []string
	for _, name := range filenames {
		if _, err := os.Stat(name); name != files.Stdin && errors.Is(err, fs.ErrNotExist) {
			notes = append(notes, name+" is not there: it is taken to hold nothing")
			continue
		}
		there = append(there, name)
	}
	objects, err = s.read(there)
	return objects, notes, err
}

func (s *session) read(filenames []string) (*inventory.Inventory, error) {
	namespace, err := s.namespace()
	if err != nil {
		return nil, err
	}
	documents, err := files.Source{Paths: filenames, Stdin: s.In, Namespace: namespace}.Read()
	if err != nil {
		return nil, err
	}
	return files.Decode(documents)
}
