package integration

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/test/suite"
)

// bound is how long a change may take from the API server's acceptance to every issuer's decisions.
const bound = time.Second

// latencies of changes, by what changed.
type latencies struct {
	all    []time.Duration
	byKind map[string][]time.Duration
}

// measure makes a change and waits until both issuers decide accordingly.
func (l *latencies) measure(t *testing.T, kind string, change func(), want, id, secret, audience string) {
	t.Helper()
	change()
	accepted := time.Now()
	for _, issuer := range issuers {
		suite.Eventually(t, func() string {
			if got := ask(t, issuer, id, secret, "audience", audience).verdict(); got != want {
				return fmt.Sprintf("%s: %q, want %q", kind, got, want)
			}
			return ""
		})
	}
	took := time.Since(accepted)
	if took > bound {
		t.Errorf("%s took %s to reach every issuer, which may be %s", kind, took, bound)
	}
	l.all = append(l.all, took)
	l.byKind[kind] = append(l.byKind[kind], took)
}

// report logs p99 and maximum, and writes them to the file that $M2M_PROPAGATION_REPORT names, if it does.
func (l *latencies) report(t *testing.T) {
	text := "From the API server's acceptance of a change to the decisions of both issuers, without a manager:\n"
	for _, kind := range append(slices.Sorted(maps.Keys(l.byKind)), "all") {
		times := l.all
		if kind != "all" {
			times = l.byKind[kind]
		}
		if len(times) == 0 {
			continue
		}
		slices.Sort(times)
		text += fmt.Sprintf("  %-20s %3d changes, p99 %6.1f ms, max %6.1f ms\n", kind, len(times), milliseconds(times[(len(times)-1)*99/100]), milliseconds(times[len(times)-1]))
	}
	t.Log(text)
	if file := os.Getenv("M2M_PROPAGATION_REPORT"); file != "" {
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Error(err)
		}
	}
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// TestPropagation makes 120 changes of six kinds. Granting and taking away needs no manager, so there is none.
func TestPropagation(t *testing.T) {
	ensureIssuer(t)
	const api = "https://propagation.example.com"
	newAPI(t, "courses", "propagation", api, "read")
	type caller struct{ name, id, secret string }
	var callers []caller
	for i := range 20 {
		name := fmt.Sprintf("propagation-%d", i)
		id, secret := newCaller(t, "jobs", name, nil)
		awaitVerdict(t, "invalid_target", id, secret, "audience", api)
		callers = append(callers, caller{name, id, secret})
	}
	if err := stopManager(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := startManager(); err != nil {
			t.Fatal(err)
		}
	}()
	l := &latencies{byKind: map[string][]time.Duration{}}
	defer l.report(t)
	for _, c := range callers {
		grant := grantOf("courses", c.name, "propagation", "jobs", c.name, "read")
		suspend := func(suspended bool) func() {
			return func() {
				object := get(t, &v1alpha1.M2MClient{}, "jobs", c.name)
				object.Spec.Suspend = suspended
				update(t, object)
			}
		}
		l.measure(t, "grant created", func() { create(t, grant) }, "granted", c.id, c.secret, api)
		l.measure(t, "client suspended", suspend(true), "invalid_client", c.id, c.secret, api)
		l.measure(t, "client resumed", suspend(false), "granted", c.id, c.secret, api)
		l.measure(t, "grant removed", func() { remove(t, grant) }, "invalid_target", c.id, c.secret, api)
		again := grantOf("courses", c.name, "propagation", "jobs", c.name, "read")
		l.measure(t, "grant created again", func() { create(t, again) }, "granted", c.id, c.secret, api)
		l.measure(t, "client deleted", func() {
			remove(t, &v1alpha1.M2MClient{ObjectMeta: metav1.ObjectMeta{Namespace: "jobs", Name: c.name}})
		}, "invalid_client", c.id, c.secret, api)
	}
}

// TestGrantEndsByTheIssuersOwnClock: no event tells an issuer that a grant has expired.
func TestGrantEndsByTheIssuersOwnClock(t *testing.T) {
	ensureIssuer(t)
	const api = "https://clocks.example.com"
	newAPI(t, "courses", "clocks", api, "read")
	id, secret := newCaller(t, "jobs", "clocks", nil)
	ends := metav1.NewTime(time.Now().Add(3 * time.Second).Truncate(time.Second))
	grant := grantOf("courses", "clocks", "clocks", "jobs", "clocks", "read")
	grant.Spec.ExpiresAt = &ends
	create(t, grant)
	awaitVerdict(t, "granted", id, secret, "audience", api)
	awaitVerdict(t, "invalid_target", id, secret, "audience", api)
	if late := time.Since(ends.Time); late < 0 || late > bound {
		t.Errorf("refused %s after its end", late)
	}
}

// TestTheOlderApiResourceIsTheOne: the younger one, and its grants, get nothing, in whichever namespace it is.
func TestTheOlderApiResourceIsTheOne(t *testing.T) {
	ensureIssuer(t)
	const identifier = "https://rivals.example.com"
	older := newAPI(t, "courses", "rivals", identifier, "read")
	suite.Eventually(t, func() string {
		if time.Since(older.CreationTimestamp.Time) < time.Second {
			return "same second" // in which ages are told
		}
		return ""
	})
	id, secret := newCaller(t, "jobs", "rivals", nil)
	younger := newAPI(t, "aaa", "rivals", identifier, "read", "everything")
	create(t, grantOf("aaa", "rivals", "rivals", "jobs", "rivals", "everything"))
	create(t, grantOf("aaa", "cross", "course-api", "jobs", "rivals", "courses:write")) // an API of that name is elsewhere
	create(t, grantOf("courses", "rivals", "rivals", "jobs", "rivals", "read"))
	awaitVerdict(t, "granted", id, secret, "audience", identifier)
	for _, issuer := range issuers {
		if got := ask(t, issuer, id, secret, "audience", identifier, "scope", "everything").verdict(); got != "invalid_scope" {
			t.Errorf("the younger API's grant gave something: %q", got)
		}
		if got := ask(t, issuer, id, secret, "audience", audience).verdict(); got != "invalid_target" {
			t.Errorf("a grant reached an ApiResource of another namespace: %q", got)
		}
	}
	remove(t, older)
	awaitVerdict(t, "granted", id, secret, "audience", identifier, "scope", "everything")
	remove(t, younger)
	awaitVerdict(t, "invalid_target", id, secret, "audience", identifier)
}
