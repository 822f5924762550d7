package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/m2m-operator/m2m-operator/internal/access"
	"github.com/m2m-operator/m2m-operator/internal/inventory/live"
	"github.com/m2m-operator/m2m-operator/internal/review"
	"github.com/spf13/cobra"
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
			"history.\n\n" +
			"Which issuers there are, TokenIssuers say, and the operator's own Secrets how their certificates are checked. Who may not " +
			"read them is answered by what the operator wrote for the APIs and clients of the namespace: name it with -n. No address " +
			"is asked that only the token names.\n\n" +
			"The exit status is 2 if the token is not valid, and 1 if that cannot be told. A token that verifiers accept unless they " +
			"introspect is valid.",
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
			v.judge()
			if err := s.print(o.format, v, v.print); err != nil {
				return err
			}
			switch v.Verdict {
			case verdictInvalid:
				return &status{ExitFound, errors.New("the token is not valid")}
			case verdictUnknown:
				return &status{ExitFailed, errors.New("whether the token is valid cannot be told")}
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&o.audience, "audience", "", "Identifier of the API that looks at the token")
	_ = cmd.RegisterFlagCompletionFunc("audience", s.completeFlag(identifiers)) // the flag exists
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
	known, missing, err := s.known(ctx, c, w, p.text("iss"), p.text("client_id"))
	if err != nil {
		return verification{}, err
	}
	if known == nil { // nobody is asked: only the token names this issuer
		return verification{presented: p, Checks: []check{missing}, Notes: w.Unseen()}, nil
	}
	keys, _, err := s.jwks(ctx, known.jwksURI(), issuerEndpoint{authority: known.authority, instead: o.endpoint})
	if err != nil {
		return verification{}, err
	}
	t := trust{url: known.url, source: known.source, keys: keys, audience: o.audience}
	if known.issuer != nil {
		t.revoked = known.issuer.RevokedKeys()
	}
	v := verifyToken(compact, p, t, s.Now())
	if v.Valid {
		v.introspect(w, known)
	}
	return v, nil
}

// introspect adds what an API learns only if it asks the issuer.
func (v *verification) introspect(w review.World, known *knownIssuer) {
	issued, _ := v.Claims["iat"].(float64)
	at := time.Unix(int64(issued), 0)
	tell := func(message string) {
		v.Checks = append(v.Checks, check{checkIntrospect, resultFailed, message + ". A verifier that does not introspect accepts it nevertheless"})
	}
	if known.issuer == nil {
		v.Notes = append(v.Notes, "Whether the TokenIssuer revokes its tokens was not looked at: you may not read it")
	} else if before := known.issuer.Spec.RevokeTokensIssuedBefore; before != nil && at.Before(before.Time) {
		tell("the TokenIssuer revokes all tokens from before " + moment(before.Time))
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
