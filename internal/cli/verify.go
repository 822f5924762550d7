package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/internal/access"
	"github.com/m2m-operator/m2m-operator/internal/inventory/live"
	"github.com/m2m-operator/m2m-operator/internal/manifests"
	"github.com/m2m-operator/m2m-operator/internal/review"
)

type verifyOptions struct{ audience, endpoint, format string }

func (s *session) verify() *cobra.Command {
	var o verifyOptions
	cmd := &cobra.Command{
		Use:   "verify TOKEN|-",
		Short: "What a verifier would say of a token, and why",
		Long: "Looks at a token as an API does that verifies it: is its issuer known, was it signed by a key that the issuer " +
			"publishes, is it still valid, and for which API. It also says what introspection would add: whether the client is " +
			"suspended, or its tokens are revoked. - reads the token from the standard input, which keeps it out of the shell's " +
			"history. The exit status is 2 if the token is not valid.",
		Example: "  kubectl m2m token jobs.publisher --raw | kubectl m2m verify - --audience https://courses.example.com/api",
		Args:    arguments(1, 1, "a TOKEN, or -"),
		RunE: func(cmd *cobra.Command, args []string) error {
			compact, err := s.readToken(args[0])
			if err != nil {
				return err
			}
			v, err := s.runVerify(cmd.Context(), compact, o)
			if err != nil {
				return err
			}
			if err := s.print(o.format, v, v.print); err != nil || v.Valid {
				return err
			}
			return &status{ExitFound, errors.New("the token is not valid")}
		},
	}
	cmd.Flags().StringVar(&o.audience, "audience", "", "Identifier of the API that looks at the token")
	addEndpoint(cmd, &o.endpoint)
	addOutput(cmd, &o.format, formatJSON, formatYAML)
	return cmd
}

func (s *session) readToken(argument string) (string, error) {
	if argument == "-" {
		text, err := io.ReadAll(io.LimitReader(s.In, 2*maxToken))
		if err != nil {
			return "", err
		}
		argument = string(text)
	}
	argument = strings.TrimSpace(argument)
	if scheme, rest, ok := strings.Cut(argument, " "); ok && strings.EqualFold(scheme, "Bearer") {
		argument = strings.TrimSpace(rest)
	}
	return argument, nil
}

func (s *session) runVerify(ctx context.Context, compact string, o verifyOptions) (verification, error) {
	p, err := decodeToken(compact)
	if err != nil {
		return verification{presented: p, Checks: []check{{"form", resultFailed, err.Error()}}}, nil
	}
	c, err := s.cluster()
	if err != nil {
		return verification{}, err
	}
	objects, err := live.Load(ctx, c, append(namespacesOf(p.text("client_id")), c.namespace)...)
	if err != nil {
		return verification{}, err
	}
	w := review.NewWorld(objects, s.installNamespace, s.Now())
	known, err := s.known(ctx, c, w, p.text("iss"))
	if err != nil {
		return verification{}, err
	}
	if known == nil {
		v := verification{presented: p}
		v.add("issuer", false, "no TokenIssuer, and no ConfigMap of an API's or a client's that you may see, is of the issuer %q", p.text("iss"))
		v.Notes = w.Unseen()
		return v, nil
	}
	keys, _, err := s.jwks(ctx, known.jwksURI, issuerEndpoint{authority: known.authority, instead: o.endpoint})
	if err != nil {
		return verification{}, err
	}
	v := verifyToken(compact, p, trust{url: p.text("iss"), keys: keys, revoked: known.revokedKeys, audience: o.audience}, s.Now())
	if v.Valid {
		v.introspect(w, known)
	}
	return v, nil
}

// knownIssuer is what can be seen of a token's issuer.
type knownIssuer struct {
	jwksURI       string
	authority     []byte
	issuer        *v1alpha1.TokenIssuer // nil if it may not be read
	revokedKeys   []string
	revokedBefore time.Time
}

// known finds the issuer of a token: its TokenIssuer, and what the operator tells APIs and clients of it. It is nil if
// there is none.
func (s *session) known(ctx context.Context, c *cluster, w review.World, url string) (*knownIssuer, error) {
	var out *knownIssuer
	for _, issuer := range w.Issuers() {
		if issuer.IssuerURL(s.installNamespace) == url && !slices.Contains(w.Assumed, issuer.Name) {
			out = &knownIssuer{jwksURI: v1alpha1.EndpointURL(url, v1alpha1.PathJWKS), issuer: issuer, revokedKeys: issuer.RevokedKeys()}
			if before := issuer.Spec.RevokeTokensIssuedBefore; before != nil {
				out.revokedBefore = before.Time
			}
		}
	}
	told, err := tellings(ctx, c)
	if err != nil {
		return nil, err
	}
	for _, configMap := range told {
		if configMap.Data[manifests.KeyIssuer] != url {
			continue
		}
		if out == nil {
			out = &knownIssuer{jwksURI: v1alpha1.EndpointURL(url, v1alpha1.PathJWKS)}
		}
		out.authority = []byte(configMap.Data[manifests.KeyAuthority])
		return out, nil
	}
	if out != nil && out.issuer != nil { // nobody was told yet
		secret := &corev1.Secret{}
		err := c.Get(ctx, client.ObjectKey{Namespace: s.installNamespace, Name: manifests.ServingName(out.issuer)}, secret)
		if err == nil {
			out.authority = secret.Data[manifests.KeyAuthority]
		} else if !apierrors.IsForbidden(err) && !apierrors.IsNotFound(err) {
			return nil, err
		}
	}
	return out, nil
}

// tellings are the ConfigMaps by which the operator tells APIs and clients of their issuers.
func tellings(ctx context.Context, c *cluster) ([]corev1.ConfigMap, error) {
	list := &corev1.ConfigMapList{}
	written := client.MatchingLabels{manifests.LabelManagedBy: manifests.ManagedBy}
	err := c.List(ctx, list, written)
	if apierrors.IsForbidden(err) {
		err = c.List(ctx, list, written, client.InNamespace(c.namespace))
	}
	if apierrors.IsForbidden(err) {
		return nil, nil
	}
	return list.Items, err
}

// introspect adds what an API learns only if it asks the issuer.
func (v *verification) introspect(w review.World, known *knownIssuer) {
	issued, _ := v.Claims["iat"].(float64)
	at := time.Unix(int64(issued), 0)
	tell := func(message string) {
		v.Checks = append(v.Checks, check{"introspect", resultFailed, message + ". A verifier that does not introspect accepts it nevertheless"})
	}
	if known.issuer == nil {
		v.Notes = append(v.Notes, "Whether the TokenIssuer revokes its tokens was not looked at: you may not read it")
	}
	if at.Before(known.revokedBefore) {
		tell("the TokenIssuer revokes all tokens from before " + moment(known.revokedBefore))
	}
	id := v.text("client_id")
	machine, found := w.Index.Client(id)
	namespace, _, _ := strings.Cut(id, ".")
	switch {
	case !found && !w.Sees(access.KindM2MClient, namespace):
		v.Notes = append(v.Notes, "Whether the client is suspended, or revokes its tokens, was not looked at: you may not read it")
	case !found:
		tell(fmt.Sprintf("there is no M2MClient %s any more", id))
	case machine.Suspended:
		tell(fmt.Sprintf("M2MClient %s is suspended", id))
	case at.Before(machine.TokensRevokedBefore):
		tell(fmt.Sprintf("M2MClient %s revokes its tokens from before %s", id, moment(machine.TokensRevokedBefore)))
	case at.Before(machine.Created.Truncate(time.Second)):
		tell(fmt.Sprintf("M2MClient %s is younger than the token: it was deleted and made anew", id))
	}
}
