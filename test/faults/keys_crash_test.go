package faults

import (
	"fmt"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
)

var es256 = []v1alpha1.SigningAlgorithm{v1alpha1.ES256}

// keyJob is one of TestCrashAtEveryWriteOfSigningKeys.
type keyJob struct {
	from, to  int
	configure func(*v1alpha1.TokenIssuerSpec)
	// begin sets it off, and returns which algorithms there shall be keys of in the end, and which keys shall be gone.
	begin func(s *signer, round int) (algorithms []v1alpha1.SigningAlgorithm, gone []string)
}

var keyJobs = map[string]keyJob{
	"keys-revision": {begin: func(s *signer, round int) ([]v1alpha1.SigningAlgorithm, []string) {
		active := s.kid(v1alpha1.ES256, v1alpha1.KeyActive)
		s.spec(func(signing *v1alpha1.TokenIssuerSigning) { signing.Revision = fmt.Sprint(round) })
		return es256, []string{active}
	}},
	"keys-schedule": {
		configure: func(spec *v1alpha1.TokenIssuerSpec) {
			spec.Signing.RotationInterval = &metav1.Duration{Duration: time.Hour}
		},
		begin: func(s *signer, _ int) ([]v1alpha1.SigningAlgorithm, []string) {
			s.poke()
			return es256, []string{s.kid(v1alpha1.ES256, v1alpha1.KeyActive)}
		},
	},
	"keys-revocation": {begin: func(s *signer, _ int) ([]v1alpha1.SigningAlgorithm, []string) {
		active := s.kid(v1alpha1.ES256, v1alpha1.KeyActive)
		s.spec(func(signing *v1alpha1.TokenIssuerSigning) {
			signing.RevokedKeys = append(signing.RevokedKeys, v1alpha1.KeyID(active))
		})
		return es256, []string{active}
	}},
	// The longest of all is shared by two.
	"keys-exchange-1": {to: 4, begin: exchange},
	"keys-exchange-2": {from: 5, begin: exchange},
	"keys-lost-active": {begin: func(s *signer, _ int) ([]v1alpha1.SigningAlgorithm, []string) {
		active := s.kid(v1alpha1.ES256, v1alpha1.KeyActive)
		s.deleteKey(active)
		return es256, []string{active}
	}},
	"keys-lost-next": {begin: func(s *signer, _ int) ([]v1alpha1.SigningAlgorithm, []string) {
		next := s.kid(v1alpha1.ES256, v1alpha1.KeyAnnounced)
		s.deleteKey(next)
		return es256, []string{next}
	}},
}

// exchange takes the only algorithm for another.
func exchange(s *signer, _ int) ([]v1alpha1.SigningAlgorithm, []string) {
	from, to := v1alpha1.ES256, v1alpha1.EdDSA
	if s.issuer().Algorithms()[0] == to {
		from, to = to, from
	}
	active := s.kid(from, v1alpha1.KeyActive)
	s.spec(func(signing *v1alpha1.TokenIssuerSigning) { signing.Algorithms = []v1alpha1.SigningAlgorithm{to} })
	return []v1alpha1.SigningAlgorithm{to}, []string{active}
}

// TestCrashAtEveryWriteOfSigningKeys: whatever changes the signing keys, and wherever the manager dies meanwhile, the next
// one completes it. All the time the issuer signs, what it has signed verifies, and the ring is one that it may be; in the
// end no private key is left that the ring does not name. The status is made from the ring, and nothing from it: to die
// when it is written is to die after the write before. The first creation is in TestCrashAtEveryWriteOfABirth.
func TestCrashAtEveryWriteOfSigningKeys(t *testing.T) {
	t.Cleanup(resetClock)
	m := startManager(t)
	signers := map[string]*signer{}
	var jobs []*job
	for name, k := range keyJobs {
		s := newSigner(t, name, k.configure)
		var algorithms []v1alpha1.SigningAlgorithm
		var gone []string
		signers[name] = s
		jobs = append(jobs, &job{
			name: name, from: k.from, to: k.to, spare: "/status",
			begin:      func(round int) { algorithms, gone = k.begin(s, round) },
			unfinished: func() string { return s.unsettled(algorithms, gone) },
			refused:    s.refused,
		})
	}
	if err := m.stop(); err != nil {
		t.Fatal(err)
	}
	hour := func() { clockAhead.Add(int64(time.Hour)) } // in which a scheduled rotation comes to be due
	crashes(t, jobs, hour, func(m *manager, open []*job) {
		unfinished := map[*signer]func() string{}
		var waiting []*signer
		for _, j := range open {
			waiting = append(waiting, signers[j.name])
			unfinished[signers[j.name]] = j.unfinished
		}
		pass(t, []*manager{m}, waiting, func(s *signer) string { return unfinished[s]() })
	})
}
