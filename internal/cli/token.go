package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/internal/inventory"
	"github.com/m2m-operator/m2m-operator/internal/manifests"
)

type tokenOptions struct {
	audience, endpoint, format string
	scopes                     []string
	raw                        bool
}

func (s *session) token() *cobra.Command {
	var o tokenOptions
	cmd := &cobra.Command{
		Use:   "token CLIENT",
		Short: "A token for a client, with its Secret: decoded and verified",
		Long: "Reads the client's Secret with your rights, asks the issuer for a token as the workload does, and shows what is in " +
			"it and what a verifier says. The token itself is printed with --raw only, and the secret never.",
		Example: "  kubectl m2m token jobs.publisher --audience https://courses.example.com/api\n" +
			"  curl -H \"Authorization: Bearer $(kubectl m2m token jobs.publisher --audience https://courses.example.com/api --raw)\" https://courses.example.com/api/courses",
		Args:              arguments(1, 1, "a CLIENT"),
		ValidArgsFunction: s.complete(clientIDs),
		RunE: func(cmd *cobra.Command, args []string) error {
			if o.raw && o.format != formatText {
				return usage("--raw prints the token alone: leave -o out")
			}
			return s.runToken(cmd.Context(), args[0], o)
		},
	}
	cmd.Flags().StringVar(&o.audience, "audience", "", "Identifier of the API; the client's spec.defaultAudience if it is left out")
	cmd.Flags().StringArrayVar(&o.scopes, "scope", nil, "Scope to ask for, or several with spaces between them; all that are granted if it is left out")
	cmd.Flags().BoolVar(&o.raw, "raw", false, "Print the token, and nothing else")
	_ = cmd.RegisterFlagCompletionFunc("audience", s.completeFlag(audiences)) // both flags exist
	_ = cmd.RegisterFlagCompletionFunc("scope", s.completeFlag(heldScopes))
	addEndpoint(cmd, &o.endpoint)
	addOutput(cmd, &o.format, formatJSON, formatYAML)
	return cmd
}

func (s *session) runToken(ctx context.Context, name string, o tokenOptions) error {
	c, err := s.cluster()
	if err != nil {
		return err
	}
	machine, err := getClient(ctx, c, name)
	if err != nil {
		return err
	}
	secret, err := credentialOf(ctx, c, machine)
	if err != nil {
		return err
	}
	if err := s.vouched(ctx, c, machine, secret); err != nil {
		return err
	}
	e := issuerEndpoint{authority: secret.Data[manifests.KeyAuthority], instead: o.endpoint}
	answer, err := s.request(ctx, secret, o, e)
	if err != nil {
		return fmt.Errorf("%w; %s", err, o.advice(machine, err))
	}
	if o.raw {
		_, err := fmt.Fprintln(s.Out, answer.AccessToken)
		return err
	}
	return s.show(ctx, string(secret.Data[manifests.KeyIssuer]), answer, o, e)
}

// advice is what to do about a refusal.
func (o tokenOptions) advice(machine *v1alpha1.M2MClient, err error) string {
	var refused *refusal
	if errors.As(err, &refused) && refused.code == "invalid_target" && o.audience == "" && machine.Spec.DefaultAudience == "" {
		var has []string
		for _, entry := range machine.Status.Access {
			has = append(has, entry.Audience)
		}
		return fmt.Sprintf("the client has no spec.defaultAudience: give --audience; its status names %v", has)
	}
	return fmt.Sprintf("kubectl m2m explain %s says what the client may do", machine.ClientID())
}

// getClient reads CLIENT from the cluster, where it may not be allowed to list.
func getClient(ctx context.Context, c *cluster, name string) (*v1alpha1.M2MClient, error) {
	out := &v1alpha1.M2MClient{}
	keys := clientKeys(name, c.namespace)
	var first error
	for _, key := range keys {
		err := c.Get(ctx, key, out)
		if err == nil {
			return out, nil
		}
		if first == nil || (apierrors.IsNotFound(first) && !apierrors.IsNotFound(err)) {
			first = err
		}
	}
	if apierrors.IsNotFound(first) {
		return nil, fmt.Errorf("there is no M2MClient %q: name it as its client_id (namespace.name), or give -n", name)
	}
	return nil, fmt.Errorf("read M2MClient %s: %w", keys[0], first)
}

// credentialOf reads the Secret of a client that has one.
func credentialOf(ctx context.Context, c *cluster, machine *v1alpha1.M2MClient) (*corev1.Secret, error) {
	key := types.NamespacedName{Namespace: machine.Namespace, Name: machine.SecretName()}
	if !machine.Authenticates(v1alpha1.AuthenticateBySecret) {
		return nil, fmt.Errorf("M2MClient %s/%s has no Secret: it proves itself by %v alone, which only the workload can do",
			machine.Namespace, machine.Name, machine.Spec.Authentication)
	}
	secret := &corev1.Secret{}
	switch err := c.Get(ctx, key, secret); {
	case apierrors.IsNotFound(err):
		return nil, fmt.Errorf("there is no Secret %s yet: the conditions of the M2MClient say why", key)
	case err != nil:
		return nil, fmt.Errorf("read the client's Secret: %w", err)
	}
	for _, name := range []string{manifests.KeyClientID, manifests.KeyClientSecret, manifests.KeyTokenEndpoint, manifests.KeyIssuer} {
		if len(secret.Data[name]) == 0 {
			return nil, fmt.Errorf("the Secret %s has no %s: the operator did not write it; see the conditions of the M2MClient", key, name)
		}
	}
	return secret, nil
}

// vouched refuses a Secret that would send the request elsewhere than to the client's TokenIssuer, as far as that may be
// read: whoever may write Secrets in the client's namespace would choose what address is asked, from this machine.
func (s *session) vouched(ctx context.Context, c *cluster, machine *v1alpha1.M2MClient, secret *corev1.Secret) error {
	issuer := &v1alpha1.TokenIssuer{}
	name := cmp.Or(machine.Spec.IssuerRef.Name, inventory.DefaultIssuer)
	switch err := c.Get(ctx, types.NamespacedName{Name: name}, issuer); {
	case apierrors.IsForbidden(err):
		return nil // their own namespace is what tenants go by
	case apierrors.IsNotFound(err):
		return fmt.Errorf("there is no TokenIssuer %q, which M2MClient %s/%s is of", name, machine.Namespace, machine.Name)
	case err != nil:
		return fmt.Errorf("read TokenIssuer %s: %w", name, err)
	}
	url := issuer.IssuerURL(s.installNamespace)
	for _, told := range [][2]string{
		{manifests.KeyIssuer, url}, {manifests.KeyTokenEndpoint, v1alpha1.EndpointURL(url, v1alpha1.PathToken)},
	} {
		if got := string(secret.Data[told[0]]); got != told[1] {
			return fmt.Errorf("the Secret %s/%s has the %s %q, and that of TokenIssuer %s is %q: nothing is sent there; see the conditions of the M2MClient",
				secret.Namespace, secret.Name, told[0], got, name, told[1])
		}
	}
	return nil
}

// tokenAnswer is RFC 6749 sections 5.1 and 5.2.
type tokenAnswer struct {
	AccessToken      string `json:"access_token"`
	Scope            string `json:"scope"`
	RejectedScope    string `json:"rejected_scope"`
	Error            string `json:"error"`
	ErrorDescription string `json:"error_description"`
}

// refusal is the answer of RFC 6749 section 5.2.
type refusal struct{ code, description string }

func (r *refusal) Error() string { return "the issuer refuses: " + r.code + ": " + r.description }

// request asks for a token as RFC 6749 section 4.4.2 has it, with the client's secret in the header.
func (s *session) request(ctx context.Context, secret *corev1.Secret, o tokenOptions, e issuerEndpoint) (tokenAnswer, error) {
	form := url.Values{"grant_type": {"client_credentials"}}
	if o.audience != "" {
		form.Set("audience", o.audience)
	}
	if len(o.scopes) > 0 {
		form.Set("scope", strings.Join(o.scopes, " "))
	}
	at := string(secret.Data[manifests.KeyTokenEndpoint])
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, at, strings.NewReader(form.Encode()))
	if err != nil {
		return tokenAnswer{}, fmt.Errorf("the Secret's token_endpoint: %w", err)
	}
	if request.URL.Scheme != "https" {
		return tokenAnswer{}, fmt.Errorf("the Secret's token_endpoint %q is not https: the secret is not sent there", at)
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	request.SetBasicAuth(url.QueryEscape(string(secret.Data[manifests.KeyClientID])), url.QueryEscape(string(secret.Data[manifests.KeyClientSecret])))
	code, _, body, err := s.ask(request, e)
	if err != nil {
		return tokenAnswer{}, err
	}
	var answer tokenAnswer
	switch err := json.Unmarshal(body, &answer); {
	case err != nil:
		return tokenAnswer{}, fmt.Errorf("%s answers %d, and no JSON", at, code)
	case answer.Error != "":
		return tokenAnswer{}, &refusal{answer.Error, answer.ErrorDescription}
	case code != http.StatusOK || answer.AccessToken == "":
		return tokenAnswer{}, fmt.Errorf("%s answers %d, and no token", at, code)
	}
	return answer, nil
}

// show prints what is in a token, and what a verifier says of it.
func (s *session) show(ctx context.Context, issuer string, answer tokenAnswer, o tokenOptions, e issuerEndpoint) error {
	p, err := decodeToken(answer.AccessToken)
	if err != nil {
		return err
	}
	keys, _, err := s.jwks(ctx, v1alpha1.EndpointURL(issuer, v1alpha1.PathJWKS), e)
	if err != nil {
		return err
	}
	v := verifyToken(answer.AccessToken, p, trust{url: issuer, source: "the Secret", keys: keys, audience: o.audience}, s.Now())
	if answer.RejectedScope != "" {
		v.Notes = append(v.Notes, "Not granted, and left out: "+answer.RejectedScope)
	}
	v.judge()
	if err := s.print(o.format, v, v.print); err != nil || v.Valid {
		return err
	}
	return &status{ExitFound, fmt.Errorf("the issuer gave a token that a verifier would refuse")}
}
