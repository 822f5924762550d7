package review

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/internal/access"
	"github.com/m2m-operator/m2m-operator/internal/inventory"
)

// AddStandIns adds clients to both sides of a comparison, for those that grants are for and that cannot be seen: their
// manifests are another team's, or their namespaces may not be looked into. A grant to them would be no change otherwise.
// Where a name is given it is that client, where a selector is that matches none which could have something of that issuer,
// one with its labels, and for an API that gives its scopes to any client, one that is nobody's. The result says so.
func AddStandIns(before, after *inventory.Inventory, offline bool) []string {
	s := standIns{
		before: before, after: after, offline: offline,
		seen: map[string][]*v1alpha1.M2MClient{}, added: map[types.NamespacedName]bool{},
	}
	for _, client := range after.Clients() {
		if !client.Spec.Suspend {
			s.seen[client.Namespace] = append(s.seen[client.Namespace], client)
		}
	}
	for _, side := range []*inventory.Inventory{before, after} {
		for _, grant := range side.Grants() {
			issuer := inventory.DefaultIssuer
			if api := side.API(types.NamespacedName{Namespace: grant.Namespace, Name: string(grant.Spec.ApiResourceRef.Name)}); api != nil {
				issuer = issuerOf(api.Spec.IssuerRef)
			}
			for _, subject := range grant.Spec.Subjects {
				s.subject(subject, issuer)
			}
		}
		for _, api := range side.APIs() {
			if api.Spec.Authorization == v1alpha1.AuthorizationAnyClient {
				s.anybody(issuerOf(api.Spec.IssuerRef))
			}
		}
	}
	if len(s.added) == 0 {
		return nil
	}
	names := make([]string, 0, len(s.added))
	for key := range s.added {
		names = append(names, key.Namespace+"."+key.Name)
	}
	slices.Sort(names)
	const most = 10
	more := ""
	if len(names) > most {
		names, more = names[:most], fmt.Sprintf(" and %d more", len(names)-most)
	}
	return []string{"Clients that were not seen, and are taken to be there as grants name them: " + strings.Join(names, ", ") + more}
}

type standIns struct {
	before, after *inventory.Inventory
	offline       bool
	seen          map[string][]*v1alpha1.M2MClient // by namespace: those that could have something afterwards
	added         map[types.NamespacedName]bool
}

// hidden reports whether clients of a namespace cannot be seen.
func (s standIns) hidden(namespace string) bool {
	return s.offline || !s.before.Sees(access.KindM2MClient, namespace)
}

func (s standIns) subject(subject v1alpha1.GrantSubject, issuer string) {
	namespace := string(subject.Namespace)
	if !s.hidden(namespace) {
		return
	}
	if subject.Selector == nil {
		s.add(namespace, string(subject.Name), nil, issuer)
		return
	}
	selector, err := metav1.LabelSelectorAsSelector(subject.Selector.LabelSelector())
	if err != nil {
		return // it selects nobody
	}
	if slices.ContainsFunc(s.seen[namespace], func(c *v1alpha1.M2MClient) bool {
		return issuerOf(c.Spec.IssuerRef) == issuer && selector.Matches(labels.Set(c.Labels))
	}) {
		return // whom it is for is among the manifests
	}
	_, what, _ := strings.Cut(Describe(subject), ", ")
	if issuer != inventory.DefaultIssuer {
		what += " of " + issuer
	}
	s.add(namespace, "("+what+")", labelsFor(subject.Selector), issuer)
}

func (s standIns) anybody(issuer string) {
	if s.offline || !s.before.Everywhere(access.KindM2MClient) {
		s.add("*", "(any client of "+issuer+")", nil, issuer)
	}
}

func (s standIns) add(namespace, name string, labelled map[string]string, issuer string) {
	key := types.NamespacedName{Namespace: namespace, Name: name}
	if s.before.Client(key) != nil || s.after.Client(key) != nil {
		return // it is there on one side, and comes or goes
	}
	client := &v1alpha1.M2MClient{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: labelled}}
	client.Spec.IssuerRef.Name = issuer
	s.before.Add(client)
	s.after.Add(client)
	s.added[key] = true
}

// labelsFor are labels that a selector matches, if it does not contradict itself.
func labelsFor(selector *v1alpha1.ClientSelector) map[string]string {
	out := map[string]string{}
	maps.Copy(out, selector.MatchLabels)
	for _, e := range selector.MatchExpressions {
		if _, set := out[e.Key]; set {
			continue
		}
		switch {
		case e.Operator == metav1.LabelSelectorOpIn && len(e.Values) > 0:
			out[e.Key] = e.Values[0]
		case e.Operator == metav1.LabelSelectorOpExists:
			out[e.Key] = ""
		}
	}
	return out
}
