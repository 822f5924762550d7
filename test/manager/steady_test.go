package manager

import (
	"bufio"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/client-go/rest"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/test/suite"
)

// TestNothingToDoMakesNoWrite: 500 clients, each with a grant, all Ready. An hour in which everything is looked at again
// and again, and a restart of the manager, are no write at all, by the API server's own count.
func TestNothingToDoMakesNoWrite(t *testing.T) {
	const clients, namespaces = 500, 5
	sent := &sent{}
	options := suite.ManagerOptions{Wrap: sent.wrap, Resync: time.Second}
	stop := startManager(t, options)
	populate(t, clients, namespaces)
	awaitRest(t)
	issuer := get(t, &v1alpha1.TokenIssuer{}, "", "steady")
	endpoint(t, issuer, "10.0.0.3")
	awaitRest(t)

	sent.forget()
	before, begun := written(t), lookedAt(t)
	for range 6 {
		ahead.Add(int64(10 * time.Minute))
		// An object may be looked at just before, and last of all the next time.
		awaitLooks(t, lookedAt(t), map[string]int{"m2mclient": 2 * clients, "apiresource": 2 * namespaces, "tokenissuer": 2})
	}
	stop()
	restarted := lookedAt(t)
	startManager(t, options)
	awaitLooks(t, restarted, map[string]int{"m2mclient": clients, "apiresource": namespaces, "tokenissuer": 1, "scopegrant": clients})
	awaitRest(t)
	after := written(t)
	for _, kind := range slices.Sorted(maps.Keys(after)) {
		if n := after[kind] - before[kind]; n != 0 {
			t.Errorf("the API server has counted %d writes of %s", n, kind)
		}
	}
	for _, write := range sent.list() {
		t.Errorf("the manager has sent %s", write)
	}
	t.Logf("there were %d looks at objects", sum(lookedAt(t))-sum(begun))
	for i := range clients {
		c := get(t, &v1alpha1.M2MClient{}, fmt.Sprintf("steady-%d", i%namespaces), fmt.Sprintf("client-%d", i))
		if v := condition(t, c, v1alpha1.ConditionReady); v.Status != "True" || c.Status.AccessCount != 1 {
			t.Fatalf("%s is %+v with access to %d APIs", c.Name, v, c.Status.AccessCount)
		}
	}
}

// populate makes the clients, spread over namespaces, and an API in each of these, which grants a scope to each of them.
func populate(t *testing.T, clients, namespaces int) {
	t.Helper()
	issuer := tokenIssuer("steady")
	create(t, issuer)
	apis := make([]*v1alpha1.ApiResource, namespaces)
	for i := range apis {
		in := fmt.Sprintf("steady-%d", i)
		apis[i] = apiResource(in, in, "steady", "read")
		create(t, namespace(in), apis[i])
	}
	var all []conditioned
	var creating errgroup.Group
	creating.SetLimit(8)
	for i := range clients {
		api := apis[i%namespaces]
		c := m2mClient(api.Namespace, fmt.Sprintf("client-%d", i), "steady")
		grant := scopeGrant(api, c.Name, named(c), "read")
		all = append(all, c, grant)
		creating.Go(func() error {
			if err := admin.Create(ctx, c); err != nil {
				return err
			}
			return admin.Create(ctx, grant)
		})
	}
	if err := creating.Wait(); err != nil {
		t.Fatal(err)
	}
	awaitReady(t, all...)
}

// lookedAt is how often each controller has looked at an object.
func lookedAt(t *testing.T) map[string]int {
	t.Helper()
	out := map[string]int{}
	for _, controller := range []string{"tokenissuer", "apiresource", "m2mclient", "scopegrant"} {
		out[controller] = int(value(t, "controller_runtime_reconcile_total", map[string]string{"controller": controller}))
	}
	return out
}

func sum(counts map[string]int) (all int) {
	for _, n := range counts {
		all += n
	}
	return all
}

// awaitLooks waits until each controller has looked at objects so often.
func awaitLooks(t *testing.T, since, often map[string]int) {
	t.Helper()
	suite.Eventually(t, func() string {
		now := lookedAt(t)
		for controller, n := range often {
			if got := now[controller] - since[controller]; got < n {
				return fmt.Sprintf("%d of %d looks by %s", got, n, controller)
			}
		}
		return ""
	})
}

// awaitRest waits until nothing has been written for longer than the manager waits before it counts clients anew.
func awaitRest(t *testing.T) {
	t.Helper()
	last, since := written(t), time.Now()
	suite.Eventually(t, func() string {
		if now := written(t); !maps.Equal(now, last) {
			last, since = now, time.Now()
		}
		if time.Since(since) < 5*time.Second {
			return "the manager does not come to rest"
		}
		return ""
	})
}

// otherWriters are the API server itself, and this test, which asks for the manager's token.
var otherWriters = regexp.MustCompile(`^(leases|serviceaccounts/token|flowschemas|flowschemas/status|prioritylevelconfigurations|prioritylevelconfigurations/status|endpoints|endpointslices|services|ipaddresses|servicecidrs|servicecidrs/status)$`)

var requestTotal = regexp.MustCompile(`^apiserver_request_total\{(.*)\} (\S+)$`)

// written is the API server's own count of writes, by resource, but for those of others.
func written(t *testing.T) map[string]int {
	t.Helper()
	transport, err := rest.HTTPClientFor(world.Plane.Admin())
	if err != nil {
		t.Fatal(err)
	}
	response, err := transport.Get(strings.TrimSuffix(world.Plane.Admin().Host, "/") + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	out := map[string]int{}
	lines := bufio.NewScanner(response.Body)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		match := requestTotal.FindStringSubmatch(lines.Text())
		if match == nil {
			continue
		}
		labels := map[string]string{}
		for pair := range strings.SplitSeq(match[1], ",") {
			name, quoted, _ := strings.Cut(pair, "=")
			labels[name] = strings.Trim(quoted, `"`)
		}
		kind := strings.TrimSuffix(labels["resource"]+"/"+labels["subresource"], "/")
		count, err := strconv.ParseFloat(match[2], 64)
		if err != nil {
			t.Fatal(err)
		}
		switch labels["verb"] {
		case "POST", "PUT", "PATCH", "APPLY", "DELETE", "DELETECOLLECTION":
			if !otherWriters.MatchString(kind) {
				out[kind] += int(count)
			}
		}
	}
	if err := lines.Err(); err != nil || len(out) == 0 {
		t.Fatalf("the API server counts nothing: %s, %v", response.Status, err)
	}
	return out
}

// sent is what a manager asks to be written, events too.
type sent struct {
	mu   sync.Mutex
	seen []string
}

func (s *sent) wrap(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(r *http.Request) (*http.Response, error) {
		if r.Method != http.MethodGet {
			s.mu.Lock()
			s.seen = append(s.seen, r.Method+" "+r.URL.Path)
			s.mu.Unlock()
		}
		return next.RoundTrip(r)
	})
}

func (s *sent) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen = nil
}

func (s *sent) list() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.seen)
}
