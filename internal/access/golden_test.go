package access_test

import (
	"bytes"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/yaml"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/internal/access"
)

var update = flag.Bool("update", false, "rewrite testdata/*.out.yaml")

// tokenRequests is the document of a case that says what is asked, beside ordinary manifests.
type tokenRequests struct {
	metav1.TypeMeta `json:",inline"`
	// Now is the time of the statuses, and of requests that name none.
	Now      metav1.Time    `json:"now"`
	Requests []tokenRequest `json:"requests"`
}

type tokenRequest struct {
	Issuer   string       `json:"issuer,omitempty"` // "default" if absent
	Client   string       `json:"client"`
	Audience string       `json:"audience,omitempty"`
	Scopes   []string     `json:"scopes,omitempty"`
	Source   string       `json:"source,omitempty"`
	Method   string       `json:"authentication,omitempty"`
	Standing bool         `json:"standing,omitempty"`
	At       *metav1.Time `json:"at,omitempty"`
}

// answers is what a case comes to. Map keys sort, so that the files are stable.
type answers struct {
	Decisions []answer          `json:"decisions"`
	Statuses  map[string]status `json:"statuses"`
}

type answer struct {
	Asked    tokenRequest `json:"asked"`
	Decision decision     `json:"decision"`
}

type decision struct {
	Outcome     string              `json:"outcome"`
	Reason      string              `json:"reason"`
	Message     string              `json:"message"`
	Denial      string              `json:"denial,omitempty"`
	Audience    string              `json:"audience,omitempty"`
	ApiResource string              `json:"apiResource,omitempty"`
	Granted     map[string][]string `json:"granted,omitempty"` // scope: what gives it
	Rejected    map[string]string   `json:"rejected,omitempty"`
	Claims      map[string]any      `json:"claims,omitempty"`
	Lifetime    string              `json:"lifetime,omitempty"`
	Algorithm   string              `json:"algorithm,omitempty"`
}

type status struct {
	Gone           bool                `json:"gone,omitempty"`
	Accepted       string              `json:"accepted,omitempty"`
	ResolvedRefs   string              `json:"resolvedRefs,omitempty"`
	Active         string              `json:"active,omitempty"`
	MatchedClients *int                `json:"matchedClients,omitempty"`
	Access         map[string][]string `json:"access,omitempty"` // audience: scopes
	Requests       []string            `json:"requests,omitempty"`
	Pending        map[string]int      `json:"pending,omitempty"` // namespace: clients
	NextChange     string              `json:"nextChange,omitempty"`
}

func TestGolden(t *testing.T) {
	inputs, err := filepath.Glob("testdata/*.in.yaml")
	if err != nil || len(inputs) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	for _, input := range inputs {
		t.Run(strings.TrimSuffix(filepath.Base(input), ".in.yaml"), func(t *testing.T) {
			output := strings.TrimSuffix(input, ".in.yaml") + ".out.yaml"
			got := runCase(t, input)
			if *update {
				if err := os.WriteFile(output, got, 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			want, err := os.ReadFile(output)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, want) {
				t.Errorf("%s differs; if this is what should be, run with -update and read the diff\n%s",
					output, lineDiff(string(want), string(got)))
			}
		})
	}
}

func runCase(t *testing.T, input string) []byte {
	t.Helper()
	data, err := os.ReadFile(input)
	if err != nil {
		t.Fatal(err)
	}
	index := access.NewIndex("m2m-system")
	var objects []metav1.Object
	var asked tokenRequests
	for _, document := range strings.Split(string(data), "\n---\n") {
		switch object := decode(t, document).(type) {
		case *tokenRequests:
			asked = *object
		case *namespace:
			index.SetNamespaceTerminating(object.Name, object.Status.Phase == "Terminating")
		case metav1.Object:
			index.Upsert(object)
			objects = append(objects, object)
		}
	}
	if len(asked.Requests) == 0 {
		t.Fatalf("%s asks for nothing", input)
	}
	out := answers{Statuses: map[string]status{}}
	for _, r := range asked.Requests {
		out.Decisions = append(out.Decisions, answer{r, decide(index, r, asked.Now.Time)})
	}
	for _, object := range objects {
		ref := access.RefOf(object)
		if ref.Kind != access.KindTokenIssuer {
			out.Statuses[ref.String()] = statusOf(index, ref, asked.Now.Time)
		}
	}
	rendered, err := yaml.Marshal(out)
	if err != nil {
		t.Fatal(err)
	}
	return rendered
}

// namespace is as much of a Namespace as the cases need.
type namespace struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`
	Status            struct {
		Phase string `json:"phase"`
	} `json:"status"`
}

// decode is strict: a misspelt field must not pass for a rule that was never tested.
func decode(t *testing.T, document string) any {
	t.Helper()
	var meta metav1.TypeMeta
	if err := yaml.Unmarshal([]byte(document), &meta); err != nil {
		t.Fatalf("%v in\n%s", err, document)
	}
	into := map[string]any{
		"TokenIssuer": &v1alpha1.TokenIssuer{}, "ApiResource": &v1alpha1.ApiResource{},
		"M2MClient": &v1alpha1.M2MClient{}, "ScopeGrant": &v1alpha1.ScopeGrant{},
		"Namespace": &namespace{}, "TokenRequests": &tokenRequests{},
	}[meta.Kind]
	if into == nil {
		t.Fatalf("kind %q in\n%s", meta.Kind, document)
	}
	if err := yaml.UnmarshalStrict([]byte(document), into); err != nil {
		t.Fatalf("%v in\n%s", err, document)
	}
	return into
}

func decide(index *access.Index, r tokenRequest, now time.Time) decision {
	if r.Issuer == "" {
		r.Issuer = "default"
	}
	if r.At != nil {
		now = r.At.Time
	}
	request := access.Request{
		Issuer: r.Issuer, ClientID: r.Client, Audience: r.Audience, Scopes: r.Scopes, Standing: r.Standing,
		Authentication: v1alpha1.AuthenticationMethod(r.Method),
	}
	if r.Source != "" {
		request.Source = netip.MustParseAddr(r.Source)
	}
	d := index.Decide(request, now)
	out := decision{
		Outcome: string(d.Outcome), Reason: d.Reason, Message: d.Message, Denial: d.Denial, Audience: d.Audience,
		Algorithm: string(d.Algorithm), Granted: map[string][]string{}, Rejected: map[string]string{},
	}
	if d.ApiResource != (types.NamespacedName{}) {
		out.ApiResource = d.ApiResource.String()
	}
	if d.Lifetime != 0 {
		out.Lifetime = d.Lifetime.String()
	}
	for _, g := range d.Granted {
		out.Granted[g.Name] = nil // where any client may have it
		for _, giver := range g.Givers {
			by := fmt.Sprintf("%s subjects[%d]", giver.Grant, giver.Subject)
			if giver.Role != "" {
				by += " role " + giver.Role
			}
			out.Granted[g.Name] = append(out.Granted[g.Name], by)
		}
	}
	for name, value := range d.Claims {
		if out.Claims == nil {
			out.Claims = map[string]any{}
		}
		out.Claims[name] = value
	}
	for _, r := range d.Rejected {
		out.Rejected[r.Name] = r.Reason + ": " + r.Message
	}
	return out
}

func statusOf(index *access.Index, ref access.Ref, now time.Time) status {
	key := types.NamespacedName{Namespace: ref.Namespace, Name: ref.Name}
	switch ref.Kind {
	case access.KindApiResource:
		if v, ok := index.ApiResourceVerdict(key, now); ok {
			out := status{
				Accepted: condition(v.Accepted), ResolvedRefs: condition(v.ResolvedRefs), Pending: map[string]int{},
				NextChange: instant(v.NextChange),
			}
			for _, p := range v.Pending {
				out.Pending[p.Namespace] = p.Clients
			}
			return out
		}
	case access.KindScopeGrant:
		if v, ok := index.GrantVerdict(key, now); ok {
			return status{
				Accepted: condition(v.Accepted), ResolvedRefs: condition(v.ResolvedRefs), Active: condition(v.Active),
				MatchedClients: &v.MatchedClients, NextChange: instant(v.NextChange),
			}
		}
	case access.KindM2MClient:
		if v, ok := index.ClientVerdict(key, now); ok {
			out := status{Accepted: condition(v.Accepted), ResolvedRefs: condition(v.ResolvedRefs), Access: map[string][]string{}, NextChange: instant(v.NextChange)}
			for _, a := range v.Access {
				out.Access[a.Audience] = a.Scopes
			}
			for _, w := range v.Wishes {
				out.Requests = append(out.Requests, fmt.Sprintf("%s: %s, missing %q", w.ApiResource, w.State, w.Missing))
			}
			return out
		}
	}
	return status{Gone: true}
}

func condition(f access.Finding) string {
	if f.OK {
		return "True " + f.Reason
	}
	return fmt.Sprintf("False %s: %s", f.Reason, f.Message)
}

func instant(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

// lineDiff shows the lines that only one of the two has.
func lineDiff(want, got string) string {
	var out strings.Builder
	only := func(mark, a, b string) {
		have := map[string]int{}
		for _, line := range strings.Split(b, "\n") {
			have[line]++
		}
		for _, line := range strings.Split(a, "\n") {
			if have[line]--; have[line] < 0 {
				fmt.Fprintln(&out, mark, line)
			}
		}
	}
	only("-", want, got)
	only("+", got, want)
	if out.Len() == 0 {
		return "(the same lines in another order)"
	}
	return out.String()
}
