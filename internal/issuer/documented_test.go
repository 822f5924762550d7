package issuer

import (
	"encoding/json"
	"maps"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/m2m-operator/m2m-operator/internal/access"
	"github.com/m2m-operator/m2m-operator/internal/clientauth"
)

// firstCells are the names in the first column of the tables of a document.
func firstCells(t *testing.T, file string) (text string, names []string) {
	t.Helper()
	document, err := os.ReadFile("../../docs/operating/" + file)
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range regexp.MustCompile("(?m)^\\| (`.*?`(?:, `.*?`)*) \\|").FindAllStringSubmatch(string(document), -1) {
		for name := range strings.SplitSeq(row[1], ", ") {
			names = append(names, strings.Trim(name, "`"))
		}
	}
	return string(document), names
}

// TestEveryFieldIsDocumented: the table of the audit log has every field that a line can have, and no other, and the
// examples have no field that lines do not have.
func TestEveryFieldIsDocumented(t *testing.T) {
	document, documented := firstCells(t, "audit-log.md")
	s, audit := newAudited(t)
	r := httptest.NewRequest("POST", "/oauth2/token", nil)
	rec := s.newRecord(r)
	rec.authenticated, rec.lifetime, rec.tokenID, rec.keyID, rec.tokenClientID = true, time.Hour, "jti", "kid", "jobs.publisher"
	rec.attempt = clientauth.Attempt{
		ClientID: "jobs.publisher", Method: clientauth.MethodServiceAccount, CredentialID: "kid",
		Workload: &clientauth.Workload{Namespace: "jobs", ServiceAccount: "publisher", ServiceAccountUID: "u", Pod: "p", PodUID: "v", Node: "n"},
	}
	rec.decision = s.state.index.Decide(access.Request{
		Issuer: "default", ClientID: "jobs.publisher", Audience: auditAudience,
		Scopes: append(strings.Fields(strings.Repeat("x ", maxRejected)), "read"),
	}, s.now())
	for i := range maxRejected {
		rec.decision.Rejected = append(rec.decision.Rejected, access.RejectedScope{Name: "x", Reason: strconv.Itoa(i)})
	}
	s.audit(endpointToken, &reply{}, rec, time.Second)
	denied := *rec
	denied.decision.Outcome = access.OutcomeAccessDenied
	s.audit(endpointToken, &reply{errorCode: codeAccessDenied}, &denied, time.Second)
	lines := audit.take(t)
	line := lines[0]
	maps.Copy(line, lines[1])
	fields := slices.Collect(maps.Keys(line))
	for _, field := range fields {
		if !slices.Contains(documented, field) {
			t.Errorf("%s is not documented", field)
		}
	}
	for _, field := range documented {
		if !slices.Contains(fields, field) {
			t.Errorf("%s is documented, and the line does not have it: %v", field, line)
		}
	}
	pod, _ := line["workload"].(map[string]any)
	for name := range pod {
		if !strings.Contains(document, "`"+name+"`") {
			t.Errorf("%s of workload is not documented", name)
		}
	}
	examples := regexp.MustCompile(`(?m)^\{"time".*$`).FindAllString(document, -1)
	if len(examples) < 5 || len(pod) != 6 {
		t.Errorf("there are %d examples, and the workload is %v", len(examples), pod)
	}
	for _, example := range examples {
		var parsed map[string]any
		if err := json.Unmarshal([]byte(example), &parsed); err != nil {
			t.Errorf("%s: %v", example, err)
		}
		for field := range parsed {
			if !slices.Contains(fields, field) {
				t.Errorf("an example has the field %s", field)
			}
		}
	}
}

// TestEveryMetricIsDocumented: the table has every metric of ours, with its type and labels, and no other.
func TestEveryMetricIsDocumented(t *testing.T) {
	document, documented := firstCells(t, "metrics.md")
	s, _ := newAudited(t)
	s.state.SetWatchHeard(func() map[string]time.Time { return map[string]time.Time{"Secret": s.now()} })
	s.state.SetKnowledge(func() Knowledge { return Knowledge{OlderLists: map[string]OlderLists{"Secret": {}}} })
	post(s, "jobs.publisher", auditSecret, "grant_type", "client_credentials", "audience", auditAudience)
	families, err := s.metrics.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, family := range families {
		if !strings.HasPrefix(family.GetName(), "m2m_") {
			continue
		}
		names = append(names, family.GetName())
		kind := strings.ToLower(family.GetType().String())
		var labels []string
		for _, label := range family.GetMetric()[0].GetLabel() {
			labels = append(labels, label.GetName())
		}
		row := regexp.MustCompile("(?m)^\\| `" + family.GetName() + "` \\| " + kind + " \\| (.*?) ?\\| ").FindStringSubmatch(document)
		if row == nil {
			t.Errorf("%s, a %s, is not documented", family.GetName(), kind)
			continue
		}
		told := slices.Sorted(slices.Values(regexp.MustCompile(`[a-z]+`).FindAllString(row[1], -1)))
		if !slices.Equal(told, slices.Sorted(slices.Values(labels))) {
			t.Errorf("%s has the labels %q, documented are %q", family.GetName(), labels, told)
		}
	}
	for _, name := range documented {
		if strings.HasPrefix(name, "m2m_issuer_") && !slices.Contains(names, name) {
			t.Errorf("%s is documented, and does not exist", name)
		}
	}
}
