package access

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/internal/policy"
)

// inquiry is one request on its way to a decision.
type inquiry struct {
	parties
	request Request
	now     time.Time

	active, dormant []*grant
	everything      bool // no scope was asked for
	asked           []readScope
	givers          [][]Giver          // by asked scope
	obstacles       map[int][]Obstacle // by asked scope
	denial          string             // what the first unmet condition tells the client
	denied, unmet   bool               // by a condition, and by one that did not fail

	input  *policy.Input // made when the first expression needs it
	budget *policy.Budget
}

// decide says what comes of a request between parties that are fit for it.
func decide(p parties, grants []*grant, r Request, now time.Time) Decision {
	return decideWithin(nil, p, grants, r, now)
}

// decideWithin is decide with a budget for expressions that is not that of one request.
func decideWithin(budget *policy.Budget, p parties, grants []*grant, r Request, now time.Time) Decision {
	q := &inquiry{parties: p, request: r, now: now, budget: budget}
	q.active, q.dormant = split(grants, now)
	q.ask()
	q.give()
	d := q.weigh()
	if d.Outcome == OutcomeGranted {
		q.check(&d)
	}
	if d.Outcome == OutcomeGranted && !r.Standing {
		q.claim(&d)
	}
	return d
}

// ask finds out which scopes are in question.
func (q *inquiry) ask() {
	names := slices.Clone(q.request.Scopes)
	slices.Sort(names)
	names = slices.Compact(names)
	if q.everything = len(names) == 0; q.everything {
		names = q.held()
	}
	q.asked = make([]readScope, 0, len(names))
	for _, name := range names {
		q.asked = append(q.asked, q.api.read(name))
	}
	q.givers = make([][]Giver, len(names))
}

// held are the scopes that the client has at the API, conditions aside, sorted.
func (q *inquiry) held() []string {
	if q.api.anyClient {
		return q.api.declared.names
	}
	return effectiveScopes(q.api, q.active)
}

// give finds out who gives each of them.
func (q *inquiry) give() {
	if q.api.anyClient {
		return
	}
	for _, g := range q.active {
		at, through := make([]int, 0, len(q.asked)), make([]string, 0, len(q.asked))
		for i, asked := range q.asked {
			if role, ok := g.gives(q.api, asked); ok && q.api.declares(asked) {
				at, through = append(at, i), append(through, role)
			}
		}
		if len(at) == 0 {
			continue
		}
		obstacle, met := q.meets(g, at)
		if !met {
			for _, i := range at {
				q.hinder(i, obstacle)
			}
			continue
		}
		q.credit(g.giver(q.client, q.request.Standing), at, through)
	}
}

// giver is the grant as somebody who gives the client something.
func (g *grant) giver(c *client, standing bool) Giver {
	out := Giver{Grant: g.key}
	out.Subject, _ = g.subject(c) // it matches, or would not be asked
	if standing {
		out.Conditions = left(g.conditions)
	}
	return out
}

// credit notes who gives the scopes at these places, through which role each. The memory is one piece for all of them,
// which nobody appends to.
func (q *inquiry) credit(giver Giver, at []int, through []string) {
	givers := make([]Giver, len(at))
	for n, i := range at {
		giver.Role = through[n]
		givers[n] = giver
		if q.givers[i] == nil {
			q.givers[i] = givers[n : n+1 : n+1]
		} else {
			q.givers[i] = append(q.givers[i], givers[n])
		}
	}
}

// hinder notes what keeps a grant from giving a scope.
func (q *inquiry) hinder(i int, obstacle Obstacle) {
	if q.obstacles == nil {
		q.obstacles = map[int][]Obstacle{}
	}
	q.obstacles[i] = append(q.obstacles[i], obstacle)
}

// granted reports whether somebody gives the scope.
func (q *inquiry) granted(i int) bool {
	return len(q.givers[i]) > 0 || (q.api.anyClient && q.api.declared.gives(q.api.syntax, q.asked[i]))
}

// weigh comes to an outcome, as far as grants go.
func (q *inquiry) weigh() Decision {
	d := Decision{Outcome: OutcomeInvalidTarget, Granted: make([]GrantedScope, 0, len(q.asked))}
	for i, asked := range q.asked {
		if q.granted(i) {
			d.Granted = append(d.Granted, GrantedScope{Name: asked.name, Givers: q.givers[i]})
		} else if !q.everything || q.denied {
			d.Rejected = append(d.Rejected, q.reject(i))
		}
	}
	switch {
	case len(d.Granted) > 0 && q.everything:
		d.Outcome, d.Reason, d.Message = OutcomeGranted, ReasonGranted, "No scope was asked for: all that are granted are given"
		d.Rejected = nil // nobody asked for them
	case len(d.Granted) > 0 && len(d.Rejected) == 0:
		d.Outcome, d.Reason, d.Message = OutcomeGranted, ReasonGranted, "Every asked scope is granted"
	case len(d.Granted) > 0 && q.api.wholeOnly && !q.request.Standing:
		d.Outcome, d.Reason = OutcomeInvalidScope, ReasonPartialRefused
		d.Message = "Some of the asked scopes are not granted, and spec.partialGrants of the ApiResource refuses the others then"
	case len(d.Granted) > 0:
		d.Outcome, d.Reason, d.Message = OutcomeGranted, ReasonPartiallyGranted, "Some of the asked scopes are not granted"
	case q.denied:
		d.Outcome, d.Reason, d.Denial = OutcomeAccessDenied, ReasonConditionNotMet, q.denial
		d.Message = "Conditions of ScopeGrants that would give the scopes are not met"
		if !q.unmet {
			d.Reason, d.Message = ReasonExpressionFailed, "Conditions of ScopeGrants that would give the scopes failed"
		}
	case !q.everything && len(q.held()) > 0:
		d.Outcome, d.Reason = OutcomeInvalidScope, ReasonNotGranted
		d.Message = "The client has other scopes of the API, but none of those it asked for"
	default:
		d.Reason, d.Message = ReasonNotGranted, q.nothingGranted()
	}
	if d.Outcome == OutcomeGranted {
		d.Lifetime, d.Algorithm, d.OtherAlgorithms = q.lifetime(), q.algorithm(), q.otherAlgorithms()
	}
	return d
}

// meets says whether the conditions of a grant let it give the scopes at these places, and if not why.
func (q *inquiry) meets(g *grant, at []int) (Obstacle, bool) {
	for i, c := range g.conditions {
		if q.request.Standing && !c.standing() {
			continue
		}
		var names []string
		for _, i := range at {
			names = append(names, q.asked[i].name)
		}
		met, err := c.expression.Holds(q.inputFor(names))
		if met && err == nil {
			continue
		}
		o := Obstacle{Grant: g.key, Reason: ReasonConditionNotMet, Message: fmt.Sprintf("spec.conditions[%d] is not met", i)}
		if err != nil {
			o.Reason, o.Message = ReasonExpressionFailed, fmt.Sprintf("spec.conditions[%d] failed: %v", i, err)
		} else if !q.unmet {
			q.denial, q.unmet = c.message, true
		}
		q.denied = true
		return o, false
	}
	return Obstacle{}, true
}

// check refuses what a rule of the API does not allow.
func (q *inquiry) check(d *Decision) {
	if q.request.Standing {
		d.Rules = left(q.api.rules)
	}
	for i, rule := range q.api.rules {
		if q.request.Standing && !rule.standing() {
			continue
		}
		met, err := rule.expression.Holds(q.inputFor(names(d.Granted)))
		switch {
		case err != nil:
			d.refuse(ReasonExpressionFailed, fmt.Sprintf("ApiResource %s: spec.rules[%d] failed: %v", q.api.key, i, err))
			return
		case !met:
			d.refuse(ReasonRuleNotMet, fmt.Sprintf("ApiResource %s: spec.rules[%d] is not met", q.api.key, i))
			d.Denial = rule.message
			return
		}
	}
}

// claim works out what the API adds to the token.
func (q *inquiry) claim(d *Decision) {
	for _, c := range q.api.claims {
		value, err := c.Value(q.inputFor(names(d.Granted)))
		if err != nil {
			d.refuse(ReasonExpressionFailed, fmt.Sprintf("ApiResource %s: the claim %q failed: %v", q.api.key, c.Name(), err))
			return
		}
		if value == nil {
			continue
		}
		if d.Claims == nil {
			d.Claims = map[string]json.RawMessage{}
		}
		d.Claims[c.Name()] = value
	}
}

// refuse turns a decision against the client.
func (d *Decision) refuse(reason, message string) {
	d.Outcome, d.Reason, d.Message = OutcomeAccessDenied, reason, message
	d.Claims, d.Rules, d.Lifetime, d.Algorithm, d.OtherAlgorithms = nil, nil, 0, "", nil
}

// inputFor is what an expression sees that is asked about these scopes, and what it may cost.
func (q *inquiry) inputFor(scopes []string) (*policy.Input, *policy.Budget) {
	if q.budget == nil {
		q.budget = policy.NewBudget()
	}
	if q.input == nil {
		q.input = &policy.Input{
			Client: policy.Client{
				ID: q.client.id(), Namespace: q.client.key.Namespace, Name: q.client.key.Name, Labels: q.client.labels.asMap(),
				Authentication: string(q.request.Authentication), ServiceAccount: q.client.serviceAccount,
			},
			Request: policy.Request{Scopes: q.request.Scopes, Time: q.now},
			API:     policy.API{Namespace: q.api.key.Namespace, Name: q.api.key.Name, Identifier: q.api.audience.identifier},
		}
		if q.request.Source.IsValid() {
			q.input.Request.Source = q.request.Source.Unmap().WithZone("").String()
		}
	}
	q.input.Scopes = scopes
	return q.input, q.budget
}

func names(granted []GrantedScope) []string {
	out := make([]string, 0, len(granted))
	for _, g := range granted {
		out = append(out, g.Name)
	}
	return out
}

// reject explains why nobody gives the scope, naming the grants that would if nothing kept them from it.
func (q *inquiry) reject(i int) RejectedScope {
	asked := q.asked[i]
	if !q.api.declares(asked) {
		return RejectedScope{Name: asked.name, Reason: v1alpha1.ReasonUnknownScope,
			Message: fmt.Sprintf("ApiResource %s does not declare this scope", q.api.key)}
	}
	out := RejectedScope{Name: asked.name, Reason: ReasonNotGranted, Obstacles: q.obstacles[i]}
	out.Message = fmt.Sprintf("No ScopeGrant of ApiResource %s gives this scope to M2MClient %s", q.api.key, q.client.key)
	if q.api.anyClient { // grants are not looked at
		out.Message = fmt.Sprintf("ApiResource %s gives any client what it declares, and none of that covers this scope", q.api.key)
		return out
	}
	if len(out.Obstacles) > 0 {
		out.Reason = out.Obstacles[0].Reason
	}
	for _, g := range q.dormant {
		if _, would := g.gives(q.api, asked); would {
			out.Obstacles = append(out.Obstacles, Obstacle{Grant: g.key, Reason: g.activity(q.now), Message: g.activityMessage(q.now)})
		}
	}
	if len(out.Obstacles) > 0 {
		var why []string
		for _, o := range out.Obstacles {
			why = append(why, o.String())
		}
		out.Message += "; these would, if nothing kept them from it: " + some(why, ", ")
	}
	return out
}

// String is the grant's name, and what keeps it from giving the scope.
func (o Obstacle) String() string { return fmt.Sprintf("%s (%s)", o.Grant, o.Message) }

// nothingGranted explains why the client has no scope at all of an API.
func (q *inquiry) nothingGranted() string {
	if q.api.anyClient {
		return fmt.Sprintf("ApiResource %s gives any client what it declares, which is nothing that was asked for", q.api.key)
	}
	message := fmt.Sprintf("No ScopeGrant of ApiResource %s gives M2MClient %s anything", q.api.key, q.client.key)
	var idle []string
	for _, g := range q.dormant {
		idle = append(idle, fmt.Sprintf("%s (%s)", g.key, g.activityMessage(q.now)))
	}
	for _, g := range q.active {
		idle = append(idle, g.key.String()+" (names no scope that the ApiResource declares)")
	}
	if len(idle) == 0 {
		return message
	}
	return message + "; these name it: " + strings.TrimSpace(some(idle, ", "))
}
