package issuer

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/internal/access"
)

// inquire sends a token to the introspection endpoint.
func inquire(s *Server, clientID, presented string) *httptest.ResponseRecorder {
	r := httptest.NewRequest("POST", "/oauth2/introspect", strings.NewReader(url.Values{"token": {presented}}.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.SetBasicAuth(clientID, auditSecret)
	w := httptest.NewRecorder()
	s.servePublic(w, r)
	return w
}

// changePublisher replaces the client whose tokens are introspected. It asks for nothing any more.
func changePublisher(s *Server, change func(*v1alpha1.M2MClient)) {
	client := &v1alpha1.M2MClient{
		ObjectMeta: metav1.ObjectMeta{Namespace: "jobs", Name: "publisher"},
		Spec:       v1alpha1.M2MClientSpec{IssuerRef: v1alpha1.TokenIssuerReference{Name: "default"}},
	}
	change(client)
	s.state.index.Upsert(client)
}

// TestIntrospectionIsRecorded: the caller is told nothing of a token that is not active; operators are told why.
func TestIntrospectionIsRecorded(t *testing.T) {
	s, audit := newAudited(t)
	addClient(s, "courses", "course-api", "owners", auditSecret)
	var issued struct {
		Token string `json:"access_token"`
	}
	if err := json.Unmarshal(post(s, "jobs.publisher", auditSecret, "grant_type", "client_credentials", "audience", auditAudience).Body.Bytes(), &issued); err != nil {
		t.Fatal(err)
	}
	jti := audit.take(t)[0]["jti"]
	soon := metav1.NewTime(time.Now().Add(time.Minute))
	issuer := &v1alpha1.TokenIssuer{ObjectMeta: metav1.ObjectMeta{Name: "default"}}
	for _, step := range []struct {
		name              string
		change            func()
		caller, presented string
		outcome, reason   string
		ours              bool
	}{
		{"good", func() {}, "courses.course-api", issued.Token, "active", "Granted", true},
		{"junk", func() {}, "courses.course-api", "x.y.z", "inactive", "TokenMalformed", false},
		{"missing", func() {}, "courses.course-api", "", "invalid_request", "NoToken", false},
		{"its own client", func() {}, "jobs.publisher", issued.Token, "inactive", "CallerNotOfApiResource", true},
		{"suspended", func() { changePublisher(s, func(c *v1alpha1.M2MClient) { c.Spec.Suspend = true }) },
			"courses.course-api", issued.Token, "inactive", "Suspended", true},
		{"revoked", func() {
			changePublisher(s, func(c *v1alpha1.M2MClient) { c.Spec.RevokeTokensIssuedBefore = &soon })
		}, "courses.course-api", issued.Token, "inactive", "TokenRevoked", true},
		{"made anew", func() { changePublisher(s, func(c *v1alpha1.M2MClient) { c.CreationTimestamp = soon }) },
			"courses.course-api", issued.Token, "inactive", "TokenOlderThanClient", true},
		{"deleted", func() {
			s.state.index.Delete(access.Ref{Kind: access.KindM2MClient, Namespace: "jobs", Name: "publisher"})
		},
			"courses.course-api", issued.Token, "inactive", "ClientNotFound", true},
		{"other URL", func() { issuer.Spec.URL = "https://else.example.com"; s.state.index.Upsert(issuer) },
			"courses.course-api", issued.Token, "inactive", "TokenOfOtherIssuer", true},
	} {
		t.Run(step.name, func(t *testing.T) {
			step.change()
			before := testutil.ToFloat64(s.metrics.introspections.WithLabelValues(step.outcome))
			w := inquire(s, step.caller, step.presented)
			if step.outcome == "inactive" && (w.Code != http.StatusOK || w.Body.String() != `{"active":false}`+"\n") {
				t.Errorf("%d %s", w.Code, w.Body)
			}
			if after := testutil.ToFloat64(s.metrics.introspections.WithLabelValues(step.outcome)); after != before+1 {
				t.Errorf("counted %v, then %v", before, after)
			}
			got := audit.take(t)
			if len(got) != 1 {
				t.Fatalf("%d lines", len(got))
			}
			line := got[0]
			if line["msg"] != "introspection" || line["client"] != step.caller || line["outcome"] != step.outcome || line["reason"] != step.reason {
				t.Errorf("%v", line)
			}
			if step.ours && (line["tokenClient"] != "jobs.publisher" || line["jti"] != jti || line["kid"] == nil) {
				t.Errorf("of the token it says %v", line)
			}
			if !step.ours && (line["tokenClient"] != nil || line["jti"] != nil || line["kid"] != nil) {
				t.Errorf("it believes what nobody signed: %v", line)
			}
		})
	}
}
