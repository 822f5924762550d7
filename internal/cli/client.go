package cli

import (
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/internal/review"
)

func (s *session) client() *cobra.Command {
	return group(&cobra.Command{Use: "client", Short: "A client's credentials: rotate, suspend, resume, revoke"},
		s.clientRotate(),
		s.clientSuspend("suspend", true, "Block a client at once: it gets no token until it is resumed", "it gets no token any more; tokens that are out live until they expire, see docs/operating/revoking.md"),
		s.clientSuspend("resume", false, "Let a suspended client have tokens again", "it gets tokens again"),
		s.clientRevoke())
}

// changeClient is a command that changes one client.
func (s *session) changeClient(cmd *cobra.Command, done func() string, spec func(client *v1alpha1.M2MClient, args []string) (map[string]any, error)) *cobra.Command {
	var o changeOptions
	cmd.Long += managedElsewhere
	if cmd.ValidArgsFunction == nil {
		cmd.ValidArgsFunction = s.complete(clientIDs)
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := s.cluster()
		if err != nil {
			return err
		}
		client, err := getClient(cmd.Context(), c, args[0])
		if err != nil {
			return err
		}
		return s.change(cmd.Context(), c, client, o, func() (map[string]any, error) { return spec(client, args[1:]) }, done())
	}
	addChange(cmd, &o)
	return cmd
}

func (s *session) clientRotate() *cobra.Command {
	var revision string
	cmd := s.changeClient(&cobra.Command{
		Use:   "rotate CLIENT",
		Short: "Give a client a new secret; the old one is accepted for the overlap",
		Long:  "Changes spec.credential.revision of an M2MClient.",
		Args:  arguments(1, 1, "a CLIENT"),
	}, func() string {
		return "it gets a new secret; it is done once status.credentialRevision is " + s.newRevision(revision)
	}, func(client *v1alpha1.M2MClient, _ []string) (map[string]any, error) {
		if !client.Authenticates(v1alpha1.AuthenticateBySecret) {
			return nil, fmt.Errorf("M2MClient %s/%s has no secret to rotate: it proves itself by %v", client.Namespace, client.Name, client.Spec.Authentication)
		}
		text := s.newRevision(revision)
		if client.Spec.Credential.Revision == text {
			return nil, nil
		}
		return map[string]any{"credential": map[string]any{"revision": text}}, nil
	})
	addRevision(cmd, &revision)
	return cmd
}

func (s *session) clientSuspend(use string, suspend bool, short, done string) *cobra.Command {
	return s.changeClient(&cobra.Command{
		Use:   use + " CLIENT",
		Short: short,
		Long:  fmt.Sprintf("Makes spec.suspend of an M2MClient %v.", suspend),
		Args:  arguments(1, 1, "a CLIENT"),
	}, func() string { return done }, func(client *v1alpha1.M2MClient, _ []string) (map[string]any, error) {
		if client.Spec.Suspend == suspend {
			return nil, nil
		}
		return map[string]any{"suspend": suspend}, nil
	})
}

func (s *session) clientRevoke() *cobra.Command {
	var all bool
	cmd := s.changeClient(&cobra.Command{
		Use:   "revoke CLIENT ID...",
		Short: "Refuse secrets of a client at once and for ever; if its Secret holds one of them, it gets a new one",
		Long: "Adds ids of credentials to spec.credential.revokedIDs of an M2MClient. status.credentials has the ids, and the audit " +
			"log names the one of each request.",
		Args:              arguments(1, 65, "a CLIENT and IDs of its credentials"),
		ValidArgsFunction: s.complete(clientIDs, credentialIDs, credentialIDs, credentialIDs),
	}, func() string { return "revoked; workloads are refused until they have read the new secret" },
		func(client *v1alpha1.M2MClient, ids []string) (map[string]any, error) {
			if all == (len(ids) > 0) {
				return nil, usage("name the IDs of the credentials to revoke, or give --all; there are %v", idsOf(client))
			}
			if all {
				ids = idsOf(client)
			}
			return revokeCredentials(client, ids)
		})
	cmd.Flags().BoolVar(&all, "all", false, "Revoke all that status.credentials lists")
	return cmd
}

func idsOf(client *v1alpha1.M2MClient) []string {
	var out []string
	for _, credential := range client.Status.Credentials {
		out = append(out, credential.ID)
	}
	return out
}

// credentialIDs are those of the client before.
func credentialIDs(w review.World, args []string) []string {
	client, err := findClient(w, args[0], "")
	if err != nil {
		return nil
	}
	return idsOf(client)
}

// revokeCredentials is the list with the ids, each of which must be one that the status lists.
func revokeCredentials(client *v1alpha1.M2MClient, ids []string) (map[string]any, error) {
	revoked := slices.Clone(client.Spec.Credential.RevokedIDs)
	for _, id := range ids {
		switch {
		case slices.Contains(revoked, v1alpha1.CredentialID(id)):
		case !slices.Contains(idsOf(client), id):
			return nil, fmt.Errorf("M2MClient %s/%s has no credential %q: there are %v", client.Namespace, client.Name, id, idsOf(client))
		default:
			revoked = append(revoked, v1alpha1.CredentialID(id))
		}
	}
	if len(revoked) == len(client.Spec.Credential.RevokedIDs) {
		return nil, nil
	}
	return map[string]any{"credential": map[string]any{"revokedIDs": revoked}}, nil
}
