// Package docs tests that what the documents show is so: the API server takes every manifest, every expression compiles,
// kubectl m2m has the commands, and the manifests of a migration fit together, and give the tokens that are shown beside
// them.
package docs

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/hack/controlplane"
	"github.com/m2m-operator/m2m-operator/internal/access"
	"github.com/m2m-operator/m2m-operator/internal/policy"
)

const (
	root             = "../.."
	installNamespace = "m2m-system"
)

var (
	ctx   = context.Background()
	plane *controlplane.ControlPlane
	api   client.Client
)

func TestMain(m *testing.M) {
	code := m.Run()
	if plane != nil {
		if err := plane.Stop(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

// ensureAPI starts an API server with our kinds, once. It is not for TestMain to do so: go test would not notice then that
// the files have changed, and show the result of an earlier run.
func ensureAPI(t *testing.T) {
	t.Helper()
	if api != nil {
		return
	}
	var err error
	if plane, err = controlplane.Start(ctx, controlplane.Options{}); err != nil {
		t.Fatal(err)
	}
	if err := plane.InstallManifests(ctx, filepath.Join(root, "config/crd/bases")); err != nil {
		t.Fatal(err)
	}
	scheme := runtime.NewScheme()
	utilruntime.Must(corev1.AddToScheme(scheme))
	utilruntime.Must(v1alpha1.AddToScheme(scheme))
	if api, err = client.New(plane.Admin(), client.Options{Scheme: scheme}); err != nil {
		t.Fatal(err)
	}
}

// documents are all Markdown files of the repository.
func documents(t *testing.T) []string {
	t.Helper()
	var out []string
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		switch name := entry.Name(); {
		case err != nil:
			return err
		case entry.IsDir() && path != root && (strings.HasPrefix(name, ".") || name == "bin" || name == "node_modules"):
			return fs.SkipDir
		case !entry.IsDir() && filepath.Ext(name) == ".md":
			out = append(out, path)
		}
		return nil
	})
	if err != nil || len(out) < 20 {
		t.Fatalf("there are %d documents: %v", len(out), err)
	}
	return out
}

// blocks are the code blocks of a document in one language.
func blocks(t *testing.T, document, language string) []string {
	t.Helper()
	text, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, match := range regexp.MustCompile("(?ms)^```"+language+"\n(.*?)^```").FindAllSubmatch(text, -1) {
		out = append(out, string(match[1]))
	}
	return out
}

// manifests are the objects of ours in a block of YAML, as the API server would keep them.
func manifests(t *testing.T, block string) []client.Object {
	t.Helper()
	ensureAPI(t)
	var out []client.Object
	for document := range strings.SplitSeq(block, "\n---\n") {
		object := &unstructured.Unstructured{}
		if !strings.Contains(document, "apiVersion: "+v1alpha1.GroupVersion.Group+"/") {
			continue
		}
		if err := yaml.UnmarshalStrict([]byte(document), &object.Object); err != nil {
			t.Fatalf("%v in\n%s", err, document)
		}
		ensureNamespace(t, object.GetNamespace())
		if err := api.Create(ctx, object, client.DryRunAll, client.FieldValidation(metav1.FieldValidationStrict)); err != nil {
			t.Errorf("%v in\n%s", err, document)
			continue
		}
		typed, err := api.Scheme().New(object.GroupVersionKind())
		if err == nil {
			err = runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, typed)
		}
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, typed.(client.Object))
	}
	return out
}

func ensureNamespace(t *testing.T, name string) {
	t.Helper()
	if name == "" {
		return
	}
	err := api.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		t.Fatal(err)
	}
}

// TestManifests: each is accepted, by the API server and by the operator. Where a block has a TokenIssuer, nothing is
// missing: all of it works together.
func TestManifests(t *testing.T) {
	total, complete := 0, 0
	for _, document := range documents(t) {
		t.Run(strings.TrimPrefix(document, root+"/"), func(t *testing.T) {
			for _, block := range blocks(t, document, "yaml") {
				objects := manifests(t, block)
				index, issuer := indexOf(objects)
				if issuer != nil {
					complete++
				}
				for _, object := range objects {
					total++
					for _, problem := range problems(index, object, issuer != nil) {
						t.Errorf("%s: %s", access.RefOf(object), problem)
					}
				}
			}
		})
	}
	if total < 30 || complete < 6 {
		t.Errorf("there are %d manifests, and %d blocks that are complete", total, complete)
	}
}

// indexOf is what an issuer knows of the objects, and the TokenIssuer among them, or nil.
func indexOf(objects []client.Object) (*access.Index, *v1alpha1.TokenIssuer) {
	index := access.NewIndex(installNamespace)
	var issuer *v1alpha1.TokenIssuer
	for _, object := range objects {
		index.Upsert(object)
		if i, ok := object.(*v1alpha1.TokenIssuer); ok {
			issuer = i
		}
	}
	return index, issuer
}

// problems are what keeps the object from working; of one that does not stand in complete surroundings, only those that
// are its own.
func problems(index *access.Index, object client.Object, complete bool) (out []string) {
	key, now := client.ObjectKeyFromObject(object), time.Now()
	wants := func(findings ...access.Finding) {
		for _, f := range findings {
			if !f.OK {
				out = append(out, f.Reason+": "+f.Message)
			}
		}
	}
	switch object.(type) {
	case *v1alpha1.ApiResource:
		v, _ := index.ApiResourceVerdict(key, now)
		wants(v.Accepted)
		if complete {
			wants(v.ResolvedRefs)
		}
	case *v1alpha1.ScopeGrant:
		v, _ := index.GrantVerdict(key, now)
		wants(v.Accepted)
		if complete {
			wants(v.ResolvedRefs, v.Active)
			if v.MatchedClients == 0 {
				out = append(out, "it matches no client")
			}
		}
	case *v1alpha1.M2MClient:
		v, _ := index.ClientVerdict(key, now)
		wants(v.Accepted)
		if complete {
			wants(v.ResolvedRefs)
			if len(v.Access) == 0 {
				out = append(out, "it may do nothing")
			}
		}
	}
	return out
}

// TestExpressions: those that are shown outside of a manifest compile too.
func TestExpressions(t *testing.T) {
	total := 0
	for _, document := range documents(t) {
		for _, block := range blocks(t, document, "yaml") {
			var fragment struct {
				Conditions, Rules []v1alpha1.PolicyCondition
				Claims            []v1alpha1.ApiClaim
			}
			if yaml.UnmarshalStrict([]byte(block), &fragment) != nil {
				continue // a manifest, or something else
			}
			for _, c := range append(fragment.Conditions, fragment.Rules...) {
				total++
				if _, err := policy.CompileCondition(string(c.Expression)); err != nil {
					t.Errorf("%s: %s: %v", document, c.Expression, err)
				}
			}
			for _, c := range fragment.Claims {
				total++
				if _, err := policy.CompileClaim(c.Name, string(c.Expression)); err != nil {
					t.Errorf("%s: %s: %v", document, c.Expression, err)
				}
			}
		}
	}
	if total < 10 {
		t.Errorf("there are %d expressions", total)
	}
}

// TestTokens: the manifests of a migration give the tokens that its page shows as ours.
func TestTokens(t *testing.T) {
	pages, err := filepath.Glob(filepath.Join(root, "docs/migrating/*.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, page := range pages {
		if filepath.Base(page) == "README.md" {
			continue
		}
		t.Run(filepath.Base(page), func(t *testing.T) {
			compared := 0
			for _, block := range blocks(t, page, "yaml") {
				index, issuer := indexOf(manifests(t, block))
				if issuer == nil {
					continue
				}
				for _, text := range blocks(t, page, "json") {
					var shown map[string]any
					if err := json.Unmarshal([]byte(text), &shown); err != nil {
						t.Fatalf("%v in\n%s", err, text)
					}
					if shown["iss"] == issuer.IssuerURL(installNamespace) {
						compared++
						compare(t, index, issuer.Name, shown)
					}
				}
			}
			if compared != 1 {
				t.Errorf("the page shows %d tokens of ours", compared)
			}
		})
	}
}

// compare holds a token that is shown against the one that its client would get.
func compare(t *testing.T, index *access.Index, issuer string, shown map[string]any) {
	t.Helper()
	text := func(name string) string { return fmt.Sprint(shown[name]) }
	d := index.Decide(access.Request{
		Issuer: issuer, ClientID: text("client_id"), Audience: text("aud"), Scopes: strings.Fields(text("scope")),
		Authentication: v1alpha1.AuthenticateBySecret,
	}, time.Now())
	if d.Outcome != access.OutcomeGranted || len(d.Rejected) > 0 {
		t.Fatalf("%s: %s, and rejected is %v", d.Outcome, d.Message, d.Rejected)
	}
	var granted []string
	for _, s := range d.Granted {
		granted = append(granted, s.Name)
	}
	want := map[string]any{
		"iss": shown["iss"], "iat": shown["iat"], "jti": shown["jti"], // as the issuer likes
		"sub": text("client_id"), "client_id": text("client_id"), "aud": d.Audience, "scope": strings.Join(granted, " "),
	}
	if issued, ok := shown["iat"].(float64); ok {
		want["exp"] = issued + d.Lifetime.Seconds()
	}
	for name, value := range d.Claims {
		var decoded any
		if err := json.Unmarshal(value, &decoded); err != nil {
			t.Fatal(err)
		}
		want[name] = decoded
	}
	if !reflect.DeepEqual(shown, want) {
		t.Errorf("the page shows\n%v\nand the manifests give\n%v", shown, want)
	}
}
