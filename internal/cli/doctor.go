package cli

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/internal/doctor"
	"github.com/m2m-operator/m2m-operator/internal/inventory/live"
	"github.com/m2m-operator/m2m-operator/internal/manifests"
	"github.com/m2m-operator/m2m-operator/internal/review"
	"github.com/m2m-operator/m2m-operator/internal/version"
)

func (s *session) doctor() *cobra.Command {
	var format, endpoint string
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Is the installation well, and what to do if it is not",
		Long: "Looks at the definitions, the pods and their versions, the rights of manager and issuers, TLS and its expiry, clocks, " +
			"the JWKS at the issuer's URL and of every pod, watches that are silent, rotations that are overdue, conflicts, and " +
			"clients that nobody grants anything. Pods are asked through the API server, which takes the right to get pods/proxy in " +
			"the install namespace. What could not be looked at is said.\n\n" +
			"The exit status is 2 if there are problems; warnings, and what could not be looked at, do not count.",
		Args: arguments(0, 0, "no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			report, err := s.examine(cmd.Context(), endpoint)
			if err != nil {
				return err
			}
			if err := s.print(format, report, func(p *page) { examined(p, report, format == formatWide) }); err != nil {
				return err
			}
			if report.Problems > 0 {
				return &status{ExitFound, errors.New("the installation has problems")}
			}
			return nil
		},
	}
	addEndpoint(cmd, &endpoint)
	addOutput(cmd, &format, formatWide, formatJSON, formatYAML)
	return cmd
}

func (s *session) examine(ctx context.Context, endpoint string) (doctor.Report, error) {
	c, err := s.cluster()
	if err != nil {
		return doctor.Report{}, err
	}
	objects, err := live.Load(ctx, c, c.namespace)
	if err != nil {
		return doctor.Report{}, err
	}
	w := review.NewWorld(objects, s.installNamespace, s.Now())
	return doctor.Examine(ctx, doctor.Patient{
		Client: c, Config: c.config, World: w, InstallNamespace: s.installNamespace, Version: version.Version, Now: s.Now,
		Keys: func(ctx context.Context, issuer *v1alpha1.TokenIssuer) ([]string, http.Header, error) {
			return s.publishedKeys(ctx, c, issuer, endpoint)
		},
	})
}

// publishedKeys asks an issuer at its URL for its keys, by the authority that is in the install namespace: a tenant's
// ConfigMap may say anything.
func (s *session) publishedKeys(ctx context.Context, c *cluster, issuer *v1alpha1.TokenIssuer, endpoint string) ([]string, http.Header, error) {
	authority, _, err := s.authority(ctx, c, issuer)
	switch {
	case apierrors.IsNotFound(err):
		return nil, nil, &doctor.Unanswered{Level: doctor.Problem, Check: "tls",
			Message: fmt.Sprintf("there is no Secret %s/%s, which should hold its serving certificate", s.installNamespace, manifests.ServingName(issuer)),
			Do:      "where spec.tls names it, make it; else look at the manager's log; --install-namespace says where the operator is"}
	case err != nil:
		return nil, nil, err
	}
	keys, header, err := s.jwks(ctx, v1alpha1.EndpointURL(issuer.IssuerURL(s.installNamespace), v1alpha1.PathJWKS),
		issuerEndpoint{authority: authority, instead: endpoint})
	var problem *issuerError
	if errors.As(err, &problem) {
		return nil, nil, &doctor.Unanswered{Level: problem.level, Check: problem.check, Message: problem.err.Error(), Do: problem.do}
	}
	if err != nil {
		return nil, nil, err
	}
	var kids []string
	for _, key := range keys.Keys {
		kids = append(kids, key.KeyID)
	}
	return kids, header, nil
}

func examined(p *page, report doctor.Report, wide bool) {
	colours := map[doctor.Level]colour{doctor.Problem: red, doctor.Warning: yellow, doctor.Unknown: ordinary, doctor.OK: green}
	for _, level := range []doctor.Level{doctor.Problem, doctor.Warning, doctor.Unknown, doctor.OK} {
		for _, f := range report.Findings {
			if f.Level != level {
				continue
			}
			object := f.Object
			if object != "" {
				object += ": "
			}
			p.coloured(colours[level], "%-8s %-10s %s%s", f.Level, f.Check, object, f.Message)
			if f.Do != "" && (wide || level != doctor.OK) {
				p.line("%20s-> %s", "", f.Do)
			}
		}
	}
	p.line("")
	p.line("%s, %s, %d not looked at.", count(report.Problems, "problem"), count(report.Warnings, "warning"), report.Unknown)
}
