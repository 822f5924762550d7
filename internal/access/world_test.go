package access_test

import (
	"fmt"
	"math/rand"
	"net/netip"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/internal/access"
)

// A small world, so that random objects meet: they share namespaces, names, identifiers, labels, scopes and instants.
var (
	epoch       = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	instants    = 4 // epoch and the hours after it
	namespaces  = []string{"a", "b"}
	names       = []string{"x", "y"}
	clientNames = []string{"x", "y", "x.y"}
	issuers     = []string{"default", "edge"}
	identifiers = []string{"https://one.example.com", "https://two.example.com", "https://edge.example.com"}
	scopes      = []string{"read", "write", "purge", "*", "read:1:write", "write:1:*"}
	roles       = []string{"clerk", "boss"}
	sources     = []netip.Addr{{}, netip.MustParseAddr("192.0.2.1")}
	algorithms  = []v1alpha1.SigningAlgorithm{v1alpha1.ES256, v1alpha1.RS256}
)

func hour(n int) time.Time { return epoch.Add(time.Duration(n) * time.Hour) }

func keyed(namespace, name string) types.NamespacedName {
	return types.NamespacedName{Namespace: namespace, Name: name}
}

func pick[T any](r *rand.Rand, from []T) T { return from[r.Intn(len(from))] }

func subset[T any](r *rand.Rand, from []T) []T {
	var out []T
	for _, item := range from {
		if r.Intn(3) > 0 {
			out = append(out, item)
		}
	}
	return out
}

func maybe[T any](r *rand.Rand, value T) *T {
	if r.Intn(3) > 0 {
		return nil
	}
	return &value
}

// world is what is true: the objects as last written, and the namespaces that are terminating.
type world struct {
	objects     map[access.Ref]metav1.Object
	terminating map[string]bool
}

// fresh builds the index of the world anew, in the random order of maps.
func (w world) fresh() *access.Index {
	index := access.NewIndex("m2m-system")
	for _, object := range w.objects {
		index.Upsert(object)
	}
	for ns, terminating := range w.terminating {
		index.SetNamespaceTerminating(ns, terminating)
	}
	return index
}

// change is one that has happened to a world.
type change struct {
	what     string
	apply    func(*access.Index)              // tells the index
	affected func(*access.Index) []access.Ref // asks it whom this concerns
}

// change does one random thing to the world.
func (w world) change(r *rand.Rand) change {
	if r.Intn(12) == 0 {
		ns, terminating := pick(r, namespaces), r.Intn(4) == 0
		w.terminating[ns] = terminating
		return change{
			what:     fmt.Sprintf("namespace %s terminating: %v", ns, terminating),
			apply:    func(x *access.Index) { x.SetNamespaceTerminating(ns, terminating) },
			affected: func(x *access.Index) []access.Ref { return x.AffectedByNamespace(ns) },
		}
	}
	object := randomObject(r)
	ref := access.RefOf(object)
	c := change{
		what:     "upsert " + ref.String(),
		apply:    func(x *access.Index) { x.Upsert(object) },
		affected: func(x *access.Index) []access.Ref { return x.Affected(ref) },
	}
	switch r.Intn(12) {
	case 0:
		delete(w.objects, ref)
		c.what, c.apply = "delete "+ref.String(), func(x *access.Index) { x.Delete(ref) }
	case 1:
		delete(w.objects, ref)
		c.what = "mark as deleted " + ref.String()
		object.SetDeletionTimestamp(&metav1.Time{Time: epoch})
	default:
		w.objects[ref] = object
	}
	return c
}

func randomObject(r *rand.Rand) metav1.Object {
	meta := metav1.ObjectMeta{
		Namespace: pick(r, namespaces), Name: pick(r, names), CreationTimestamp: metav1.Time{Time: hour(-r.Intn(3))},
	}
	if r.Intn(8) == 0 {
		meta.CreationTimestamp = metav1.Time{}
	}
	ref := v1alpha1.TokenIssuerReference{Name: pick(r, []string{"default", "default", "default", "default", "edge", "edge", "missing"})}
	switch r.Intn(9) {
	case 0:
		return randomIssuer(r)
	case 1, 2:
		return randomAPI(r, meta, ref)
	case 3, 4, 5:
		meta.Name, meta.Labels = pick(r, clientNames), map[string]string{"kind": pick(r, names), "site": pick(r, names)}
		client := &v1alpha1.M2MClient{ObjectMeta: meta, Spec: v1alpha1.M2MClientSpec{
			IssuerRef: ref, Suspend: r.Intn(6) == 0, DefaultAudience: pick(r, append(slices.Clone(identifiers), "")),
			TokenLifetime: maybe(r, metav1.Duration{Duration: time.Minute}),
		}}
		if r.Intn(4) > 0 {
			client.Spec.ServiceAccountName = pick(r, names)
			client.Spec.Authentication = pick(r, [][]v1alpha1.AuthenticationMethod{
				{v1alpha1.AuthenticateByServiceAccount}, {v1alpha1.AuthenticateByServiceAccount, v1alpha1.AuthenticateBySecret}, nil,
			})
		}
		for range max(0, r.Intn(5)-2) {
			client.Spec.Requests = append(client.Spec.Requests, v1alpha1.AccessRequest{
				ApiResource: v1alpha1.NamespacedReference{
					Namespace: v1alpha1.NamespaceName(pick(r, namespaces)), Name: v1alpha1.ObjectName(pick(r, names)),
				},
				Scopes: append(scopeNames(subset(r, scopes)), "read"),
			})
		}
		for _, id := range subset(r, names) {
			client.Status.Credentials = append(client.Status.Credentials, v1alpha1.CredentialStatus{
				ID: id, ExpiryTime: maybe(r, metav1.Time{Time: hour(r.Intn(instants))}),
			})
		}
		return client
	}
	return randomGrant(r, meta)
}

func randomIssuer(r *rand.Rand) *v1alpha1.TokenIssuer {
	issuer := &v1alpha1.TokenIssuer{ObjectMeta: metav1.ObjectMeta{Name: pick(r, issuers)}}
	issuer.Spec.Signing.Algorithms = subset(r, algorithms)
	issuer.Spec.Tokens.DefaultLifetime = maybe(r, metav1.Duration{Duration: 2 * time.Minute})
	if r.Intn(4) == 0 {
		issuer.Spec.URL = "https://edge.example.com" // also an identifier
	}
	for _, prefix := range subset(r, []string{"https://one.", "https://", "https://one.example"}) {
		if r.Intn(4) == 0 {
			issuer.Spec.Identifiers.Reserved = append(issuer.Spec.Identifiers.Reserved, v1alpha1.ReservedIdentifiers{
				Prefix: prefix, Namespaces: []v1alpha1.NamespaceName{v1alpha1.NamespaceName(pick(r, namespaces))},
			})
		}
	}
	if r.Intn(12) == 0 {
		issuer.Spec.Identifiers.Others = v1alpha1.OtherIdentifiersDeny
	}
	return issuer
}

func randomConditions(r *rand.Rand) []v1alpha1.PolicyCondition {
	var out []v1alpha1.PolicyCondition
	for range max(0, r.Intn(7)-4) {
		out = append(out, v1alpha1.PolicyCondition{Expression: v1alpha1.Expression(pick(r, expressions).text), Message: "no"})
	}
	return out
}

func scopeNames(names []string) []v1alpha1.ScopeName {
	var out []v1alpha1.ScopeName
	for _, name := range names {
		out = append(out, v1alpha1.ScopeName(name))
	}
	return out
}

func randomAPI(r *rand.Rand, meta metav1.ObjectMeta, ref v1alpha1.TokenIssuerReference) *v1alpha1.ApiResource {
	api := &v1alpha1.ApiResource{ObjectMeta: meta}
	api.Spec.IssuerRef, api.Spec.Identifier = ref, pick(r, identifiers)
	for _, scope := range subset(r, scopes) {
		api.Spec.Scopes = append(api.Spec.Scopes, v1alpha1.ApiScope{Name: v1alpha1.ScopeName(scope)})
	}
	if r.Intn(3) == 0 {
		api.Spec.ScopeSyntax = v1alpha1.ScopeSyntaxHierarchical
	}
	if r.Intn(6) == 0 {
		api.Spec.Authorization = v1alpha1.AuthorizationAnyClient
	}
	if r.Intn(4) == 0 {
		api.Spec.PartialGrants = v1alpha1.PartialGrantsRefuse
	}
	for _, role := range subset(r, roles) {
		api.Spec.Roles = append(api.Spec.Roles, v1alpha1.ApiRole{Name: v1alpha1.RoleName(role), Scopes: scopeNames(subset(r, scopes))})
	}
	api.Spec.Rules = randomConditions(r)
	if r.Intn(8) == 0 {
		api.Spec.Claims = []v1alpha1.ApiClaim{{Name: "colour", Expression: v1alpha1.Expression(pick(r, []string{"scopes", "client.labels['absent']", "("}))}}
	}
	api.Spec.Token.Lifetime = maybe(r, metav1.Duration{Duration: 3 * time.Minute})
	if r.Intn(3) == 0 {
		api.Spec.Token.SigningAlgorithm = pick(r, algorithms)
	}
	return api
}

func randomGrant(r *rand.Rand, meta metav1.ObjectMeta) *v1alpha1.ScopeGrant {
	meta.Name = fmt.Sprintf("g%d", r.Intn(6))
	grant := &v1alpha1.ScopeGrant{ObjectMeta: meta, Spec: v1alpha1.ScopeGrantSpec{
		ApiResourceRef: v1alpha1.LocalApiResourceReference{Name: v1alpha1.ObjectName(pick(r, names))},
		Suspend:        r.Intn(6) == 0,
		NotBefore:      maybe(r, metav1.Time{Time: hour(r.Intn(instants))}),
		ExpiresAt:      maybe(r, metav1.Time{Time: hour(r.Intn(instants))}),
	}}
	grant.Spec.Scopes = scopeNames(subset(r, scopes))
	for _, role := range subset(r, append(slices.Clone(roles), "nobody")) {
		if r.Intn(2) == 0 {
			grant.Spec.Roles = append(grant.Spec.Roles, v1alpha1.RoleName(role))
		}
	}
	grant.Spec.Conditions = randomConditions(r)
	for range r.Intn(5) {
		subject := v1alpha1.GrantSubject{Namespace: v1alpha1.NamespaceName(pick(r, namespaces))}
		switch r.Intn(6) {
		case 0, 1, 2:
			subject.Name = v1alpha1.ObjectName(pick(r, clientNames))
		case 3:
			subject.Selector = &v1alpha1.ClientSelector{MatchLabels: map[string]string{"kind": pick(r, names), "site": pick(r, names)}}
		case 4:
			subject.Selector = &v1alpha1.ClientSelector{MatchExpressions: []v1alpha1.ClientSelectorRequirement{
				{Key: "kind", Operator: metav1.LabelSelectorOpNotIn, Values: []string{pick(r, names)}},
			}}
		case 5:
			subject.Selector = pick(r, []*v1alpha1.ClientSelector{{}, {MatchLabels: map[string]string{"no label": "x"}}})
		}
		grant.Spec.Subjects = append(grant.Spec.Subjects, subject)
	}
	return grant
}

// requests are all that the small world can ask.
func requests() []access.Request {
	var out []access.Request
	for _, issuer := range append(slices.Clone(issuers), "missing") {
		for _, ns := range namespaces {
			for _, name := range clientNames {
				for _, identifier := range append(slices.Clone(identifiers), "") {
					for _, asked := range [][]string{
						nil, {"write", "read", "unknown", "read"}, {"purge"}, {"read:1:write", "write:1", "*:*", "write:2:*", "a:b:c:d"},
					} {
						for i, source := range sources {
							out = append(out, access.Request{
								Issuer: issuer, ClientID: ns + "." + name, Audience: identifier, Scopes: asked, Source: source,
								Standing: i == 0 && name == "y",
							})
						}
					}
				}
			}
		}
	}
	return out
}

// verdicts are those of all objects that the small world can have, as text.
func verdicts(x *access.Index, now time.Time) map[access.Ref]string {
	out := map[access.Ref]string{}
	add := func(kind access.Kind, key types.NamespacedName, verdict any, ok bool) {
		if ok {
			out[access.Ref{Kind: kind, Namespace: key.Namespace, Name: key.Name}] = fmt.Sprintf("%+v", verdict)
		}
	}
	for _, ns := range namespaces {
		for _, name := range []string{"x", "y", "x.y", "g0", "g1", "g2", "g3", "g4", "g5"} {
			key := keyed(ns, name)
			api, ok := x.ApiResourceVerdict(key, now)
			add(access.KindApiResource, key, api, ok)
			grant, ok := x.GrantVerdict(key, now)
			add(access.KindScopeGrant, key, grant, ok)
			client, ok := x.ClientVerdict(key, now)
			add(access.KindM2MClient, key, client, ok)
		}
	}
	return out
}

// everything is all that the index says at one instant, as lines of text.
func everything(x *access.Index, now time.Time) []string {
	var out []string
	for ref, verdict := range verdicts(x, now) {
		out = append(out, ref.String()+": "+verdict)
	}
	for _, r := range requests() {
		out = append(out, fmt.Sprintf("%v: %+v", r, x.Decide(r, now)))
	}
	for _, name := range append(slices.Clone(issuers), "missing") {
		issuer, ok := x.Issuer(name)
		out = append(out, fmt.Sprintf("TokenIssuer %s: %v %+v", name, ok, issuer))
	}
	for _, ns := range namespaces {
		for _, name := range clientNames {
			client, ok := x.Client(ns + "." + name)
			out = append(out, fmt.Sprintf("client %s.%s: %v %+v", ns, name, ok, client))
		}
		for _, account := range names {
			for _, issuer := range issuers {
				client, ok := x.ClientByServiceAccount(issuer, ns, account)
				out = append(out, fmt.Sprintf("ServiceAccount %s/%s at %s: %v %+v", ns, account, issuer, ok, client))
			}
		}
	}
	slices.Sort(out)
	return out
}
