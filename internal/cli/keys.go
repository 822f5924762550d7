package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/internal/review"
)

func (s *session) keys() *cobra.Command {
	return group(&cobra.Command{Use: "keys", Short: "Signing keys of a TokenIssuer: list, rotate, revoke"},
		s.keysList(), s.keysRotate(), s.keysRevoke())
}

// listedKeys is the answer to keys list.
type listedKeys struct {
	Keys []listedKey `json:"keys"`
}

// listedKey is one published key.
type listedKey struct {
	// Issuer is the name of the TokenIssuer.
	Issuer string `json:"issuer"`
	v1alpha1.SigningKeyStatus
}

func (s *session) keysList() *cobra.Command {
	var format string
	cmd := &cobra.Command{
		Use:               "list [ISSUER]",
		Short:             "The published keys, with the times at which their states change",
		Args:              arguments(0, 1, "at most one ISSUER"),
		ValidArgsFunction: s.complete(issuerNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := s.cluster()
			if err != nil {
				return err
			}
			list := &v1alpha1.TokenIssuerList{}
			if len(args) > 0 {
				issuer, err := getIssuer(cmd.Context(), c, args[0])
				if err != nil {
					return err
				}
				list.Items = []v1alpha1.TokenIssuer{issuer}
			} else if err := c.List(cmd.Context(), list); err != nil {
				return err
			}
			keys := []listedKey{}
			for _, issuer := range list.Items {
				for _, key := range issuer.Status.Keys {
					keys = append(keys, listedKey{issuer.Name, key})
				}
			}
			return s.print(format, listedKeys{keys}, func(p *page) {
				var rows [][]string
				for _, k := range keys {
					rows = append(rows, []string{k.Issuer, k.KID, string(k.Algorithm), string(k.State), moment(k.SinceTime.Time), until(k.UntilTime)})
				}
				p.table([]string{"ISSUER", "KID", "ALGORITHM", "STATE", "SINCE", "UNTIL"}, rows)
				if len(rows) == 0 {
					p.line("No key is published.")
				}
			})
		},
	}
	addOutput(cmd, &format, formatJSON, formatYAML)
	return cmd
}

func until(t *metav1.Time) string {
	if t == nil {
		return ""
	}
	return moment(t.Time)
}

func getIssuer(ctx context.Context, c *cluster, name string) (v1alpha1.TokenIssuer, error) {
	list := &v1alpha1.TokenIssuerList{}
	if err := c.List(ctx, list); err != nil {
		return v1alpha1.TokenIssuer{}, err
	}
	var names []string
	for _, issuer := range list.Items {
		if issuer.Name == name {
			return issuer, nil
		}
		names = append(names, issuer.Name)
	}
	return v1alpha1.TokenIssuer{}, fmt.Errorf("there is no TokenIssuer %q: there are %v", name, names)
}

// addRevision gives a command --revision.
func addRevision(cmd *cobra.Command, revision *string) {
	cmd.Flags().StringVar(revision, "revision", "", "Text to set; the present time if it is left out")
}

func (s *session) newRevision(given string) string {
	if given != "" {
		return given
	}
	return s.Now().UTC().Format(time.RFC3339)
}

func (s *session) keysRotate() *cobra.Command {
	var o changeOptions
	var revision string
	cmd := &cobra.Command{
		Use:               "rotate [ISSUER]",
		Short:             "Have the next key of every algorithm sign, as soon as every verifier must know it",
		Long:              "Changes spec.signing.revision of a TokenIssuer, by default of the one named default." + managedElsewhere,
		Args:              arguments(0, 1, "at most one ISSUER"),
		ValidArgsFunction: s.complete(issuerNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := s.cluster()
			if err != nil {
				return err
			}
			issuer, err := getIssuer(cmd.Context(), c, strings.Join(append(args, "default")[:1], ""))
			if err != nil {
				return err
			}
			text := s.newRevision(revision)
			return s.change(cmd.Context(), c, &issuer, o, func() (map[string]any, error) {
				if issuer.Spec.Signing.Revision == text {
					return nil, nil
				}
				return map[string]any{"signing": map[string]any{"revision": text}}, nil
			}, "its keys rotate, within some 6 minutes; it is done once status.signingRevision is "+text)
		},
	}
	addRevision(cmd, &revision)
	addChange(cmd, &o)
	return cmd
}

func (s *session) keysRevoke() *cobra.Command {
	var o changeOptions
	name := "default"
	cmd := &cobra.Command{
		Use:   "revoke KID...",
		Short: "Take keys out of the JWKS at once and for ever: their tokens are worth nothing",
		Long: "Adds kids to spec.signing.revokedKeys of a TokenIssuer. Verifiers that keep the JWKS believe tokens of such a key " +
			"for at most 5 minutes more. If it signs now, the next one does in its place at once." + managedElsewhere,
		Args: arguments(1, 64, "KIDs"),
		RunE: func(cmd *cobra.Command, kids []string) error {
			c, err := s.cluster()
			if err != nil {
				return err
			}
			issuer, err := getIssuer(cmd.Context(), c, name)
			if err != nil {
				return err
			}
			return s.change(cmd.Context(), c, &issuer, o, func() (map[string]any, error) { return revokeKeys(&issuer, kids) },
				"revoked "+strings.Join(kids, ", ")+"; clients that hold tokens of it are refused until they ask for others")
		},
	}
	cmd.Flags().StringVar(&name, "issuer", name, "TokenIssuer that the keys are of")
	_ = cmd.RegisterFlagCompletionFunc("issuer", s.completeFlag(func(w review.World, _ *cobra.Command, _ []string) []string {
		return issuerNames(w, nil)
	})) // the flag exists
	cmd.ValidArgsFunction = s.completeFlag(func(w review.World, _ *cobra.Command, args []string) []string {
		return publishedKIDs(w, name, args)
	})
	addChange(cmd, &o)
	return cmd
}

// publishedKIDs are those of an issuer that are not among the ones named already.
func publishedKIDs(w review.World, name string, named []string) []string {
	var out []string
	if issuer := w.Issuer(name); issuer != nil {
		for _, key := range issuer.Status.Keys {
			if !slices.Contains(named, key.KID) {
				out = append(out, key.KID)
			}
		}
	}
	return out
}

// revokeKeys is the list with the kids, each of which must be one that is published.
func revokeKeys(issuer *v1alpha1.TokenIssuer, kids []string) (map[string]any, error) {
	revoked := issuer.RevokedKeys()
	for _, kid := range kids {
		known := slices.ContainsFunc(issuer.Status.Keys, func(k v1alpha1.SigningKeyStatus) bool { return k.KID == kid })
		switch {
		case slices.Contains(revoked, kid):
		case !known:
			return nil, fmt.Errorf("TokenIssuer %s publishes no key %q: see kubectl m2m keys list %s", issuer.Name, kid, issuer.Name)
		default:
			revoked = append(revoked, kid)
		}
	}
	if len(revoked) == len(issuer.Spec.Signing.RevokedKeys) {
		return nil, nil
	}
	return map[string]any{"signing": map[string]any{"revokedKeys": revoked}}, nil
}
