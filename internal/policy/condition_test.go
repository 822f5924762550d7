package policy_test

import (
	"errors"
	"sync"
	"testing"

	"github.com/m2m-operator/m2m-operator/internal/policy"
)

// Every variable, and every group of functions: whether the condition holds, and whether it looks at the request.
func TestConditions(t *testing.T) {
	const standing, momentary = true, false
	for expression, want := range map[string]struct{ holds, standing bool }{
		"client.id == 'jobs.publisher'":                                   {true, standing},
		"client.namespace != 'sandbox'":                                   {true, standing},
		"client.name == 'publisher'":                                      {true, standing},
		"client.labels.tier in ['gold', 'silver']":                        {true, standing},
		"client.labels['app.kubernetes.io/name'] == 'publisher'":          {true, standing},
		"client.labels.`app.kubernetes.io/name` == 'publisher'":           {true, standing},
		"client.authentication == 'ClientSecret'":                         {true, momentary},
		"client.serviceAccount == 'nightly'":                              {true, standing},
		"request.scopes.exists(s, s.startsWith('courses:'))":              {true, momentary},
		"request.time > timestamp('2026-01-01T00:00:00Z')":                {true, momentary},
		"request.source == '10.1.2.3'":                                    {true, momentary},
		"scopes == ['courses:publish']":                                   {true, momentary},
		"api.namespace + '/' + api.name == 'courses/course-api'":          {true, standing},
		"api.identifier.startsWith('https://')":                           {true, standing},
		"true":                                                            {true, standing},
		"false && request.source == ''":                                   {false, momentary},
		"dyn(client.id) == 1 || dyn(true)":                                {true, standing},
		"has(client.labels.tier) && !has(client.labels.missing)":          {true, standing},
		"has(client.namespace) && has(client.labels)":                     {true, standing},
		"has(request.scopes) && has(request.time) && has(request.source)": {true, momentary},
		"client.labels[?'missing'].orValue('none') == 'none'":             {true, standing},
		"client.labels.?tier.hasValue()":                                  {true, standing},
		"client.labels.exists(k, k == 'tier' && client.labels[k] != '')":  {true, standing},

		// A variable of a macro hides one of ours, unless that is called by its full name.
		"[1].all(scopes, scopes > 0)":                            {true, standing},
		"[{'id': 1}].all(client, client.id == 1)":                {true, standing},
		"[{'source': 1}].all(request, request.source == 1)":      {true, standing},
		"[1].all(request, .request.source == '10.1.2.3')":        {true, momentary},
		"['a'].exists(client, .client.authentication != client)": {true, momentary},

		"cidr('10.0.0.0/8').containsIP(request.source)":                               {true, momentary},
		"isIP(request.source) && ip(request.source).family() == 4":                    {true, momentary},
		"cidr('10.0.0.0/8').containsCIDR('10.1.0.0/16')":                              {true, standing},
		"sets.contains(request.scopes, scopes)":                                       {true, momentary},
		"client.id.split('.') == ['jobs', 'publisher']":                               {true, standing},
		"scopes.map(s, s.split(':')).flatten().size() == 2":                           {true, momentary},
		"math.greatest(1, 2.5) == 2.5 && 1 < 1.5":                                     {true, standing},
		"client.id.matches('^jobs[.]')":                                               {true, standing},
		"string(base64.decode('am9icw==')) == client.namespace":                       {true, standing},
		"'%s/%d'.format([client.name, 7]) == 'publisher/7'":                           {true, standing},
		"['b', 'a'].sort() == ['a', 'b'] && [3, 1].sortBy(n, n).first().value() == 1": {true, standing},

		// 23:05 on Thursday the 1st in UTC is 00:05 on Friday the 2nd in Berlin.
		"request.time.getHours() == 23 && request.time.getHours('Europe/Berlin') == 0":           {true, momentary},
		"request.time.getMinutes('Asia/Kolkata') == 35 && request.time.getSeconds('UTC') == 7":   {true, momentary},
		"request.time.getDayOfWeek('Europe/Berlin') == 5 && request.time.getDayOfWeek() == 4":    {true, momentary},
		"request.time.getDate('+01:00') == 2 && request.time.getDayOfMonth('+01:00') == 1":       {true, momentary},
		"request.time.getDayOfYear('Europe/Berlin') == 1 && request.time.getDate('-12:30') == 1": {true, momentary},
		"request.time.getFullYear('UTC') == 2026 && request.time.getMonth('UTC') == 0":           {true, momentary},
		"request.time.getMilliseconds('UTC') == 89":                                              {true, momentary},
	} {
		c, err := policy.CompileCondition(expression)
		if err != nil {
			t.Errorf("%s: %v", expression, err)
			continue
		}
		budget := policy.NewBudget()
		if got, err := c.Holds(aNight(), budget); err != nil || got != want.holds {
			t.Errorf("%s: %v %v, want %v", expression, got, err, want.holds)
		}
		if c.Standing() != want.standing {
			t.Errorf("%s: standing is %v", expression, c.Standing())
		}
		if budget.Spent() > c.Estimate() {
			t.Errorf("%s cost %d, estimated were at most %d", expression, budget.Spent(), c.Estimate())
		}
	}
}

// A condition that fails does not hold, and says why to who reads the audit log.
func TestConditionsFail(t *testing.T) {
	for expression, want := range map[string]struct {
		category error
		text     string
	}{
		"client.labels.missing == ''":         {policy.ErrEvaluation, "the expression failed: no such key: missing"},
		"request.scopes[7] == ''":             {policy.ErrEvaluation, "the expression failed: index out of bounds: 7"},
		"1 / (request.scopes.size() - 2) > 0": {policy.ErrEvaluation, "the expression failed: division by zero"},
		"ip(client.id).isLoopback()": {policy.ErrEvaluation, "the expression failed: IP Address \"jobs.publisher\" parse error " +
			"during conversion from string: ParseAddr(\"jobs.publisher\"): unexpected character (at \"jobs.publisher\")"},
		"dyn(client.id)":               {policy.ErrResult, "the expression's value is not allowed: it is neither true nor false"},
		"int(client.labels.tier) == 1": {policy.ErrEvaluation, "the expression failed: type conversion error from 'string' to 'int'"},
	} {
		c, err := policy.CompileCondition(expression)
		if err != nil {
			t.Errorf("%s: %v", expression, err)
			continue
		}
		holds, err := c.Holds(aNight(), policy.NewBudget())
		if holds || !errors.Is(err, want.category) || err.Error() != want.text {
			t.Errorf("%s: %v %v, want %q", expression, holds, err, want.text)
		}
	}
}

// Without a budget, and without input, there is an error and no panic.
func TestConditionsNeedInputAndBudget(t *testing.T) {
	c, err := policy.CompileCondition("client.id != ''")
	if err != nil {
		t.Fatal(err)
	}
	if holds, err := c.Holds(aNight(), nil); holds || err == nil {
		t.Errorf("without a budget: %v %v", holds, err)
	}
	if holds, err := c.Holds(nil, policy.NewBudget()); holds || err == nil {
		t.Errorf("without input: %v %v", holds, err)
	}
}

func TestConcurrency(t *testing.T) {
	c, err := policy.CompileCondition("request.scopes.exists(s, s in scopes) && request.time.getHours('Europe/Berlin') < 6")
	if err != nil {
		t.Fatal(err)
	}
	claim, err := policy.CompileClaim("scp", "scopes.map(s, s.split(':')[1])")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 20 {
				budget := policy.NewBudget()
				if holds, err := c.Holds(aNight(), budget); !holds || err != nil {
					t.Error(holds, err)
				}
				if value, err := claim.Value(aNight(), budget); string(value) != `["publish"]` || err != nil {
					t.Error(string(value), err)
				}
				if _, err := policy.CompileCondition("client.id != '' && request.time.getHours('Asia/Tokyo') < 6"); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
}
