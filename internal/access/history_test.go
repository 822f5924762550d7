package access_test

import (
	"math/rand"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/internal/access"
)

const (
	histories = 40 // each of them a seed
	changes   = 100
)

// history is one random history of a world, and the index that is told of each of its changes.
type history struct {
	rand  *rand.Rand
	world world
	index *access.Index
	step  int
}

// eachChange calls do with every change of many random histories. It has happened to the world; do tells the index, which in
// half of the histories has one hash for all clients.
func eachChange(t *testing.T, do func(*testing.T, *history, change)) {
	t.Helper()
	for seed := range int64(histories) {
		h := &history{
			rand:  rand.New(rand.NewSource(seed)),
			world: world{map[access.Ref]metav1.Object{}, map[string]bool{}},
			index: access.NewIndex("m2m-system"),
		}
		if seed%2 == 1 {
			h.index.Collide()
		}
		for h.step = range changes {
			c := h.world.change(h.rand)
			if do(t, h, c); t.Failed() {
				t.Fatalf("seed %d, step %d: %s", seed, h.step, c.what)
			}
		}
	}
}

// afterEachChange is eachChange with the index told already.
func afterEachChange(t *testing.T, check func(*testing.T, *history)) {
	t.Helper()
	eachChange(t, func(t *testing.T, h *history, c change) {
		c.apply(h.index)
		check(t, h)
	})
}

// However the index came to hold what it holds, it says what one built of the same objects says.
func TestHistoryDoesNotMatter(t *testing.T) {
	afterEachChange(t, func(t *testing.T, h *history) {
		if h.rand.Intn(8) > 0 {
			return // the comparison is the costly part; seeds differ in where it falls
		}
		now := hour(h.rand.Intn(instants))
		if got, want := everything(h.index, now), everything(h.world.fresh(), now); !slices.Equal(got, want) {
			t.Errorf("lines with - are what a fresh index says\n%s",
				lineDiff(strings.Join(want, "\n"), strings.Join(got, "\n")))
		}
	})
}

// The index decides as the rules do when they are applied without one.
func TestDecideAgreesWithTheRules(t *testing.T) {
	seen := map[access.Outcome]int{}
	afterEachChange(t, func(t *testing.T, h *history) {
		now := hour(h.rand.Intn(instants))
		asked := requests()
		for range 60 {
			request := pick(h.rand, asked)
			got, want := rulingOf(h.index.Decide(request, now)), h.world.rule(request, now)
			if !reflect.DeepEqual(got, want) {
				t.Errorf("%+v at %s:\n got %+v\nwant %+v", request, now, got, want)
			}
			seen[got.outcome]++
		}
	})
	for _, outcome := range []access.Outcome{
		access.OutcomeGranted, access.OutcomeInvalidTarget, access.OutcomeInvalidScope, access.OutcomeAccessDenied,
	} {
		if seen[outcome] < 100 {
			t.Errorf("only %d decisions were %s: the histories prove too little", seen[outcome], outcome)
		}
	}
}

// A ServiceAccount proves the client that the rules say when they are applied without an index, and all others that name
// it are told so.
func TestServiceAccountsAgreeWithTheRules(t *testing.T) {
	conflicts := 0
	afterEachChange(t, func(t *testing.T, h *history) {
		issuer, ns := pick(h.rand, issuers), pick(h.rand, namespaces)
		for _, account := range names {
			got, found := h.index.ClientByServiceAccount(issuer, ns, account)
			claimants := h.world.namers(issuer, ns, account)
			if found != (len(claimants) > 0) {
				t.Errorf("%d clients name it, and it proves %+v", len(claimants), got)
			}
			for i, claimant := range claimants {
				verdict, ok := h.index.ClientVerdict(keyed(ns, claimant.Name), epoch)
				if first := i == 0; !ok || verdict.Accepted.OK != first || (got.Name == claimant.Name) != first {
					t.Errorf("%s is number %d of those who name it: proven %q, %+v", claimant.Name, i, got.ID, verdict.Accepted)
				}
				conflicts += i
			}
		}
	})
	if conflicts < 50 {
		t.Errorf("only %d conflicts were seen", conflicts)
	}
}

func rulingOf(d access.Decision) ruling {
	out := ruling{outcome: d.Outcome, lifetime: d.Lifetime}
	switch d.Outcome {
	case access.OutcomeGranted:
		out.granted = map[string][]string{}
		for _, scope := range d.Granted {
			out.granted[scope.Name] = nil
			for _, giver := range scope.Givers {
				out.granted[scope.Name] = append(out.granted[scope.Name], giver.Grant.Name)
			}
		}
	case access.OutcomeAccessDenied, access.OutcomeInvalidTarget:
		return out // what is rejected is explained for operators
	}
	for _, scope := range d.Rejected {
		out.rejected = append(out.rejected, scope.Name)
	}
	return out
}

// The promises of every decision: what is granted was asked for and is held, what was asked for is granted or rejected
// and never both, the order of asking does not matter, and asking for what was granted grants it again.
func TestPromisesOfDecisions(t *testing.T) {
	all := requests()
	afterEachChange(t, func(t *testing.T, h *history) {
		now := hour(h.rand.Intn(instants))
		for range 20 {
			r := pick(h.rand, all)
			d := h.index.Decide(r, now)
			granted, rejected := grantedNames(d), []string{}
			for _, scope := range d.Rejected {
				rejected = append(rejected, scope.Name)
			}
			asked := slices.Compact(slices.Sorted(slices.Values(r.Scopes)))
			if len(asked) > 0 && d.Reason != "" && d.ApiResource.Name != "" && len(granted)+len(rejected) > 0 {
				if both := slices.Sorted(slices.Values(append(slices.Clone(granted), rejected...))); !slices.Equal(both, asked) {
					t.Errorf("%+v: asked %q, granted %q, rejected %q", r, asked, granted, rejected)
				}
			}
			shuffled := r
			shuffled.Scopes = slices.Clone(r.Scopes)
			slices.Reverse(shuffled.Scopes)
			if again := rulingOf(h.index.Decide(shuffled, now)); !reflect.DeepEqual(again, rulingOf(d)) {
				t.Errorf("%+v: the order of scopes matters", r)
			}
			if d.Outcome != access.OutcomeGranted || sizeMatters(h, d) {
				continue
			}
			once := r
			once.Scopes = granted
			if again := h.index.Decide(once, now); !slices.Equal(grantedNames(again), granted) || len(again.Rejected) > 0 {
				t.Errorf("%+v: granted %q, then %+v", r, granted, again)
			}
		}
	})
}

// sizeMatters reports whether expressions see how many scopes there are, so that asking for fewer may be answered
// otherwise.
func sizeMatters(h *history, d access.Decision) bool {
	for _, object := range h.world.objects {
		switch o := object.(type) {
		case *v1alpha1.ScopeGrant:
			if len(o.Spec.Conditions) > 0 {
				return true
			}
		case *v1alpha1.ApiResource:
			if len(o.Spec.Rules)+len(o.Spec.Claims) > 0 && o.Namespace == d.ApiResource.Namespace {
				return true
			}
		}
	}
	return false
}

func grantedNames(d access.Decision) []string {
	out := []string{}
	for _, scope := range d.Granted {
		out = append(out, scope.Name)
	}
	return out
}

// What a client's status says it may have is what it gets when it asks.
func TestAccessIsWhatDecideGives(t *testing.T) {
	some := 0
	afterEachChange(t, func(t *testing.T, h *history) {
		now := hour(h.rand.Intn(instants))
		ns, name := pick(h.rand, namespaces), pick(h.rand, clientNames)
		client, live := h.index.Client(ns + "." + name)
		verdict, ok := h.index.ClientVerdict(keyed(ns, name), now)
		if ok != live {
			t.Errorf("%s.%s: Client says %v, ClientVerdict %v", ns, name, live, ok)
		}
		got := map[string][]string{}
		for _, a := range verdict.Access {
			got[a.Audience] = a.Scopes
			some++
		}
		want := map[string][]string{}
		for _, identifier := range identifiers {
			d := h.index.Decide(access.Request{Issuer: client.Issuer, ClientID: ns + "." + name, Audience: identifier, Standing: true}, now)
			if d.Outcome == access.OutcomeGranted {
				want[identifier] = grantedNames(d)
			}
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s.%s: status says %v, decisions %v", ns, name, got, want)
		}
	})
	if some < 100 {
		t.Errorf("only %d entries were compared", some)
	}
}

// Whoever wakes what is affected before and after a change misses no verdict that the change alters.
func TestAffectedIsComplete(t *testing.T) {
	altered := 0
	eachChange(t, func(t *testing.T, h *history, c change) {
		now := hour(h.rand.Intn(instants))
		before, woken := verdicts(h.index, now), c.affected(h.index)
		c.apply(h.index)
		after := verdicts(h.index, now)
		woken = append(woken, c.affected(h.index)...)
		for _, ref := range differing(before, after) {
			altered++
			if !slices.Contains(woken, ref) {
				t.Errorf("%s changed unnoticed, from\n%s\nto\n%s", ref, before[ref], after[ref])
			}
		}
	})
	if altered < 500 {
		t.Errorf("only %d verdicts changed", altered)
	}
}

func differing(a, b map[access.Ref]string) []access.Ref {
	var out []access.Ref
	for ref := range a {
		if a[ref] != b[ref] {
			out = append(out, ref)
		}
	}
	for ref := range b {
		if _, known := a[ref]; !known {
			out = append(out, ref)
		}
	}
	return out
}

// Until NextChange a verdict stays as it is; at NextChange that of a grant is another.
func TestNextChange(t *testing.T) {
	changed := 0
	grantAt := func(index *access.Index, ref access.Ref, n int) (access.GrantVerdict, time.Time) {
		v, _ := index.GrantVerdict(keyed(ref.Namespace, ref.Name), hour(n))
		next := v.NextChange
		v.NextChange = time.Time{}
		return v, next
	}
	afterEachChange(t, func(t *testing.T, h *history) {
		for ref := range h.world.objects {
			for n := -1; n < instants; n++ {
				switch ref.Kind {
				case access.KindScopeGrant:
					verdict, next := grantAt(h.index, ref, n)
					later, _ := grantAt(h.index, ref, n+1)
					if different, due := later != verdict, next.Equal(hour(n+1)); different != due {
						t.Errorf("%s changes at %s: %v, but its NextChange is %s", ref, hour(n+1), different, next)
					}
				case access.KindApiResource:
					verdict, _ := h.index.ApiResourceVerdict(keyed(ref.Namespace, ref.Name), hour(n))
					later, _ := h.index.ApiResourceVerdict(keyed(ref.Namespace, ref.Name), hour(n+1))
					if !reflect.DeepEqual(verdict.Pending, later.Pending) && !verdict.NextChange.Equal(hour(n+1)) {
						t.Errorf("%s changes at %s, but its NextChange is %s", ref, hour(n+1), verdict.NextChange)
					}
				case access.KindM2MClient:
					verdict, _ := h.index.ClientVerdict(keyed(ref.Namespace, ref.Name), hour(n))
					later, _ := h.index.ClientVerdict(keyed(ref.Namespace, ref.Name), hour(n+1))
					different := !reflect.DeepEqual(verdict.Access, later.Access) || !reflect.DeepEqual(verdict.Wishes, later.Wishes)
					if different && !verdict.NextChange.Equal(hour(n+1)) {
						t.Errorf("%s changes at %s, but its NextChange is %s", ref, hour(n+1), verdict.NextChange)
					}
					if different {
						changed++
					}
				}
			}
		}
	})
	if changed < 100 {
		t.Errorf("only %d changes of clients' access were seen", changed)
	}
}

// The index neither changes the objects that it is given nor notices when their owner changes them.
func TestUpsertCopies(t *testing.T) {
	for seed := range int64(histories) {
		r := rand.New(rand.NewSource(seed))
		index := access.NewIndex("m2m-system")
		var given, copies []metav1.Object
		for range changes {
			object := randomObject(r)
			given = append(given, object)
			copies = append(copies, object.(runtime.Object).DeepCopyObject().(metav1.Object))
			index.Upsert(object)
		}
		said := everything(index, epoch)
		if !reflect.DeepEqual(given, copies) {
			t.Fatalf("seed %d: the index changed an object", seed)
		}
		for _, object := range given {
			scribble(reflect.ValueOf(object).Elem())
		}
		if now := everything(index, epoch); !slices.Equal(said, now) {
			t.Fatalf("seed %d: the index noticed\n%s", seed, lineDiff(strings.Join(said, "\n"), strings.Join(now, "\n")))
		}
	}
}

// scribble overwrites in place everything that can be reached from v.
func scribble(v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			scribble(v.Elem())
		}
	case reflect.Struct:
		if v.CanSet() && v.Type() == reflect.TypeFor[time.Time]() {
			v.SetZero()
			return
		}
		for i := range v.NumField() {
			scribble(v.Field(i))
		}
	case reflect.Slice:
		for i := range v.Len() {
			scribble(v.Index(i))
		}
	case reflect.Map:
		for _, key := range v.MapKeys() {
			v.SetMapIndex(key, reflect.ValueOf("scribbled").Convert(v.Type().Elem()))
		}
	default:
		if v.CanSet() {
			v.SetZero()
		}
	}
}
