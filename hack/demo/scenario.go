package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
)

const (
	samples  = "config/samples/course-management"
	audience = "https://courses.example.com/api"
	scope    = "courses:read-approved courses:publish"
)

// scenario is the story of config/samples/course-management, told to whoever watches.
type scenario struct {
	at         paths
	out        *terminal
	stage      state
	kube       client.Client
	issuer     v1alpha1.TokenIssuer
	api        v1alpha1.ApiResource
	client     v1alpha1.M2MClient
	grant      v1alpha1.ScopeGrant
	credential credential
	token      string
	expires    time.Time
	endpoints  []string // the token endpoint of each issuer itself
}

func newScenario(at paths, out *terminal, stage state) (*scenario, error) {
	kube, err := newClient(at.kubeconfig)
	if err != nil {
		return nil, err
	}
	named := func(namespace, name string) metav1.ObjectMeta {
		return metav1.ObjectMeta{Namespace: namespace, Name: name}
	}
	return &scenario{
		at: at, out: out, stage: stage, kube: kube,
		issuer: v1alpha1.TokenIssuer{ObjectMeta: named("", issuerName)},
		api:    v1alpha1.ApiResource{ObjectMeta: named("courses", "course-api")},
		client: v1alpha1.M2MClient{ObjectMeta: named("jobs", "publisher")},
		grant:  v1alpha1.ScopeGrant{ObjectMeta: named("courses", "nightly-publisher")},
	}, nil
}

// chapter of the story. It plays, tells, and fails when what it tells does not happen.
type chapter struct {
	title string
	play  func(context.Context) error
}

func (s *scenario) play(ctx context.Context) error {
	return s.tell(ctx, []chapter{
		{"Two teams apply YAML: an API, a client, and what the client may do", s.applySamples},
		{"The job's team gets a Secret to mount", s.showCredential},
		{"The credential gets a token", s.showToken},
		{"The nightly job runs: publish what starts within a week", s.runPublisher},
		{"What the token does not open", s.showRefusals},
		{"The API's team takes the grant away, while the manager is frozen", s.removeGrant},
		{"The API's team gives it back", s.restoreGrant},
		{"The client is suspended, and let go again", s.suspendClient},
	})
}

func (s *scenario) tell(ctx context.Context, chapters []chapter) error {
	for _, each := range chapters {
		s.out.section(each.title)
		if err := each.play(ctx); err != nil {
			return fmt.Errorf("%s: %w", strings.ToLower(each.title[:1])+each.title[1:], err)
		}
	}
	return nil
}

func (s *scenario) applySamples(ctx context.Context) error {
	if err := s.kubectl(ctx, "apply", "--server-side", "-k", samples); err != nil {
		return err
	}
	began := time.Now()
	for _, object := range []conditioned{&s.issuer, &s.api, &s.client, &s.grant} {
		if err := awaitReady(ctx, s.kube, object); err != nil {
			return err
		}
	}
	s.out.ok("all four are Ready, %.1f s later", time.Since(began).Seconds())
	if err := awaitMatchedClients(ctx, s.kube, &s.grant, 1); err != nil {
		return err
	}
	if err := awaitAccess(ctx, s.kube, &s.client); err != nil {
		return err
	}
	if err := s.kubectl(ctx, "get", "m2m", "--all-namespaces"); err != nil {
		return err
	}
	s.out.say("What the client's status says of itself:")
	for _, condition := range s.client.Status.Conditions {
		s.out.block(fmt.Sprintf("%-13s %-6s %-13s %s", condition.Type, condition.Status, condition.Reason, condition.Message))
	}
	for _, access := range s.client.Status.Access {
		s.out.block(fmt.Sprintf("access to %s: %s", access.Audience, access.Scopes))
	}
	return nil
}

func (s *scenario) showCredential(ctx context.Context) error {
	data, err := mountSecret(ctx, s.kube, s.client.Namespace, s.client.SecretName(), s.at.credentials())
	if err != nil {
		return err
	}
	if s.credential, err = readCredential(data); err != nil {
		return err
	}
	if s.credential.issuer != s.stage.IssuerURL {
		return fmt.Errorf("the Secret names the issuer %s, not %s", s.credential.issuer, s.stage.IssuerURL)
	}
	endpoint := strings.TrimPrefix(s.credential.tokenEndpoint, s.credential.issuer)
	for _, issuer := range s.stage.Issuers {
		s.endpoints = append(s.endpoints, "https://"+issuer.Address+endpoint)
	}
	s.out.say("Secret %s in namespace %s:", s.client.SecretName(), s.client.Namespace)
	for _, key := range slices.Sorted(maps.Keys(data)) {
		value := string(data[key])
		switch key {
		case "client_secret":
			value = value[:4] + strings.Repeat("*", max(0, len(value)-4))
		case "ca.crt":
			value, _, _ = strings.Cut(value, "\n")
			value += " ..."
		}
		s.out.block(fmt.Sprintf("%-15s %s", key, value))
	}
	return s.checkRBAC(ctx)
}

// checkRBAC shows that the processes that answer the network are the least trusted ones.
func (s *scenario) checkRBAC(ctx context.Context) error {
	s.out.say("The issuers check that secret without ever seeing it at rest. By RBAC, an issuer may")
	for _, each := range []struct {
		says string
		what authorizationv1.ResourceAttributes
		want bool
	}{
		{"watch M2MClients everywhere", authorizationv1.ResourceAttributes{Verb: "watch", Group: v1alpha1.GroupVersion.Group, Resource: "m2mclients"}, true},
		{"read Secrets of " + installNamespace, authorizationv1.ResourceAttributes{Verb: "get", Resource: "secrets", Namespace: installNamespace}, true},
		{"read the job's Secret", authorizationv1.ResourceAttributes{Verb: "get", Resource: "secrets", Namespace: s.client.Namespace, Name: s.client.SecretName()}, false},
		{"write a ScopeGrant", authorizationv1.ResourceAttributes{Verb: "create", Group: v1alpha1.GroupVersion.Group, Resource: "scopegrants", Namespace: s.grant.Namespace}, false},
		{"write any status", authorizationv1.ResourceAttributes{Verb: "patch", Group: v1alpha1.GroupVersion.Group, Resource: "m2mclients", Subresource: "status", Namespace: s.client.Namespace}, false},
	} {
		allowed, err := mayDo(ctx, s.kube, "m2m-issuer", each.what)
		if err != nil {
			return err
		}
		if allowed != each.want {
			return fmt.Errorf("may an issuer %s? RBAC says %t", each.says, allowed)
		}
		s.out.ok("%-28s %s", each.says+":", map[bool]string{true: "yes", false: "no"}[allowed])
	}
	return nil
}

// removeGrant also freezes the manager: that access can be taken away must not depend on it.
func (s *scenario) removeGrant(ctx context.Context) (err error) {
	if err := syscall.Kill(s.stage.ManagerPID, syscall.SIGSTOP); err != nil {
		return fmt.Errorf("freeze the manager: %w", err)
	}
	defer func() {
		s.out.command("kill -CONT %d", s.stage.ManagerPID)
		err = errors.Join(err, syscall.Kill(s.stage.ManagerPID, syscall.SIGCONT))
	}()
	s.out.command("kill -STOP %d", s.stage.ManagerPID)
	if err := s.deleteGrant(ctx); err != nil {
		return err
	}
	s.out.say("The nightly job, run again:")
	output, err := s.publisher(ctx)
	s.out.block(output)
	var exit *exec.ExitError
	switch {
	case err == nil:
		return errors.New("the job succeeded, though its grant is gone")
	case !errors.As(err, &exit) || !strings.Contains(output, refusedTarget.code):
		return fmt.Errorf("the job failed for another reason than %s: %w", refusedTarget.code, err)
	}
	s.out.ok("the job fails with exit status %d, and names the reason", exit.ExitCode())
	s.out.say("A token that is out already lives on until it expires: this one until %s. Short lives are", s.expires.Format(time.TimeOnly))
	s.out.say("the remedy: token.lifetime of the ApiResource.")
	return nil
}

func (s *scenario) deleteGrant(ctx context.Context) error {
	s.out.command("kubectl delete -n %s scopegrant %s", s.grant.Namespace, s.grant.Name)
	return s.change(ctx, "refuses", granted, refusedTarget, func(ctx context.Context) error {
		return s.kube.Delete(ctx, &s.grant)
	})
}

// restoreGrant applies the very file again, as whoever applied it first.
func (s *scenario) restoreGrant(ctx context.Context) error {
	file := filepath.Join(samples, "nightly-publisher.yaml")
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	object := &unstructured.Unstructured{}
	if err := yaml.Unmarshal(text, &object.Object); err != nil {
		return err
	}
	s.out.command("kubectl apply --server-side -f %s", file)
	return s.change(ctx, "grants", refusedTarget, granted, func(ctx context.Context) error {
		return s.kube.Apply(ctx, client.ApplyConfigurationFromUnstructured(object), client.FieldOwner("kubectl"))
	})
}

func (s *scenario) suspendClient(ctx context.Context) error {
	if err := s.change(ctx, "refuses", granted, refusedClient, s.suspend("true")); err != nil {
		return err
	}
	return s.resumeClient(ctx)
}

func (s *scenario) suspend(value string) func(context.Context) error {
	s.out.command(`kubectl patch -n %s m2mclient %s --type merge -p '{"spec":{"suspend":%s}}'`, s.client.Namespace, s.client.Name, value)
	patch := client.RawPatch("application/merge-patch+json", []byte(`{"spec":{"suspend":`+value+`}}`))
	return func(ctx context.Context) error { return s.kube.Patch(ctx, &s.client, patch) }
}

func (s *scenario) resumeClient(ctx context.Context) error {
	if err := s.change(ctx, "grants", refusedClient, granted, s.suspend("false")); err != nil {
		return err
	}
	for _, object := range []conditioned{&s.client, &s.grant} {
		if err := awaitReady(ctx, s.kube, object); err != nil {
			return err
		}
	}
	s.out.ok("client and grant are Ready again")
	return nil
}

// change makes a change and says how fast each issuer went by it.
func (s *scenario) change(ctx context.Context, verb string, from, to expectation, make func(context.Context) error) error {
	delays, err := s.credential.takeEffect(ctx, s.endpoints, from, to, make)
	if err != nil {
		return err
	}
	answer := "200"
	if to.code != "" {
		answer = fmt.Sprintf("%d %s", to.status, to.code)
	}
	for i, delay := range delays {
		s.out.ok("issuer %d %s (%s) %d ms after the API server accepted it", i+1, verb, answer, delay.Milliseconds())
	}
	return nil
}

// kubectl shows a command and its output as a person at a shell would see them.
func (s *scenario) kubectl(ctx context.Context, args ...string) error {
	s.out.command("kubectl %s", strings.Join(args, " "))
	cmd := exec.CommandContext(ctx, filepath.Join(s.at.bin, "kubectl"), args...)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+s.at.kubeconfig, "KUBECACHEDIR="+filepath.Join(s.at.run, "kubectl-cache"))
	output, err := cmd.CombinedOutput()
	s.out.block(string(output))
	if err != nil {
		return fmt.Errorf("kubectl %s: %w", args[0], err)
	}
	return nil
}
