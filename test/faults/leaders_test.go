package faults

import (
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/internal/credential"
	"github.com/m2m-operator/m2m-operator/test/suite"
)

// TestTwoLeaders: two managers that both think they lead, through a hundred rotations of a secret, and of a signing key at
// the same time.
func TestTwoLeaders(t *testing.T) {
	t.Cleanup(resetClock)
	ensureIssuer(t, "leaders")
	server := startIssuer(t, "leaders")
	managers := []*manager{startManager(t), startManager(t)}
	s := newSigner(t, "led-keys", nil)
	t.Run("both", func(t *testing.T) {
		t.Run("secrets", func(t *testing.T) {
			t.Parallel()
			twoLeadersRotateSecrets(t, server)
		})
		t.Run("keys", func(t *testing.T) {
			t.Parallel()
			twoLeadersRotateKeys(t, managers, s)
		})
	})
}

const leaderRounds = 100

// twoLeadersRotateSecrets: by schedule, and by a revision that changes when a rotation is scheduled as well. Each brings one
// credential, which is accepted and never taken back.
func twoLeadersRotateSecrets(t *testing.T, server *tokenServer) {
	c := rotatingClient("leaders", "publisher", "leaders", time.Hour)
	create(t, c)
	suite.Eventually(t, func() string { return unsettled(c, "") })
	w := startWorkload(t, server, c)
	for round := range leaderRounds {
		suite.Eventually(t, func() string { return w.missed(round + 1) })
		before := c.Status.Credentials[0].ID
		if round%2 == 1 { // which waits for the previous one, and so for the hour in which the schedule comes too
			change(t, c, func(c *v1alpha1.M2MClient) { c.Spec.Credential.Revision = fmt.Sprint(round) })
		}
		clockAhead.Add(int64(time.Hour))
		change(t, c, touch)
		suite.Eventually(t, func() string { return unsettled(c, before) })
	}
	suite.Eventually(t, func() string { return w.missed(leaderRounds + 1) })
	awaitReady(t, c)
	if id := get(t, &corev1.Secret{}, c.Namespace, c.Name).Annotations[credential.AnnotationID]; id != w.ids[leaderRounds] {
		t.Errorf("the Secret went back to %s", id)
	}
}

// twoLeadersRotateKeys: by a revision, which waits for what both have seen of the endpoint, and by revocations, which do
// not wait, and are taken out of the spec as soon as they have worked. What must not be in the course of it, the history
// of the ring tells; here it is that nothing is done twice, and nothing for ever.
func twoLeadersRotateKeys(t *testing.T, managers []*manager, s *signer) {
	written := func() (n int) {
		for _, m := range managers {
			n += len(m.writes(s.name))
		}
		return n
	}
	writes, rings := written(), s.history.count()
	for round := range leaderRounds {
		kid := s.kid(v1alpha1.ES256, v1alpha1.KeyActive)
		s.spec(func(signing *v1alpha1.TokenIssuerSigning) {
			signing.RevokedKeys = nil
			if round%4 == 0 { // they take the longest
				signing.Revision = fmt.Sprint(round)
			} else {
				signing.RevokedKeys = []v1alpha1.KeyID{v1alpha1.KeyID(kid)}
			}
		})
		unrotated := func(s *signer) string { return s.history.unrotated(kid) }
		if round%4 == 0 {
			settle(t, managers, []*signer{s}, unrotated)
		} else {
			suite.Eventually(t, func() string { return unrotated(s) })
		}
	}
	settle(t, managers, []*signer{s}, func(s *signer) string { return s.unsettled(es256, nil) })
	writes, rings = written()-writes, s.history.count()-rings
	t.Logf("%d writes, %d rings", writes, rings)
	// A rotation makes two rings: with the next key, and without the old one; or without the revoked key, and with the next.
	if most := leaderRounds * 2; rings > most {
		t.Errorf("there were %d rings, and reason for %d", rings, most)
	}
	if most := leaderRounds * 20; writes > most { // what both try counts twice, and once more where one is overtaken
		t.Errorf("the managers wrote %d times, more than %d: they undo what the other has done", writes, most)
	}
	if got := s.history.generations(v1alpha1.ES256); got != leaderRounds+2 {
		t.Errorf("%d keys were made, want one for each rotation: %d", got, leaderRounds+2)
	}
}
