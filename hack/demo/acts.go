package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
)

func (s *scenario) showToken(ctx context.Context) error {
	via, err := s.credential.httpClient()
	if err != nil {
		return err
	}
	defer via.CloseIdleConnections()
	s.out.say("POST %s, grant_type=client_credentials, HTTP Basic with the Secret's values,", s.credential.tokenEndpoint)
	s.out.say("audience=%s, scope=%s", audience, scope)
	answer, err := s.credential.requestToken(ctx, via, s.credential.tokenEndpoint)
	if err != nil {
		return err
	}
	if !granted.met(answer) {
		return fmt.Errorf("no token: %s", answer)
	}
	s.token = answer.AccessToken
	s.out.ok("200: a token for %d s with scope %q", answer.ExpiresIn, answer.Scope)
	for i, part := range strings.SplitN(s.token, ".", 3)[:2] {
		text, err := prettyPart(part)
		if err != nil {
			return err
		}
		s.out.say("%s", []string{"header:", "claims:"}[i])
		s.out.block(text)
	}
	return s.verifyToken(ctx, via)
}

// verifyToken does what any verifier in any language does: it knows the issuer's URL, and finds the rest.
func (s *scenario) verifyToken(ctx context.Context, via *http.Client) error {
	provider, err := oidc.NewProvider(oidc.ClientContext(ctx, via), s.credential.issuer)
	if err != nil {
		return fmt.Errorf("discover %s: %w", s.credential.issuer, err)
	}
	config := &oidc.Config{ClientID: audience, SupportedSigningAlgs: []string{oidc.ES256, oidc.RS256}}
	verified, err := provider.Verifier(config).Verify(ctx, s.token)
	if err != nil {
		return err
	}
	if verified.Subject != s.credential.clientID {
		return fmt.Errorf("the token is for %s, not for %s", verified.Subject, s.credential.clientID)
	}
	s.expires = verified.Expiry
	s.out.ok("signature, issuer, audience and expiry verified by go-oidc, from the issuer's URL alone")
	return nil
}

func prettyPart(part string) (string, error) {
	raw, err := base64.RawURLEncoding.DecodeString(part)
	if err != nil {
		return "", fmt.Errorf("the token is no JWT: %w", err)
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(raw, &fields); err != nil {
		return "", fmt.Errorf("the token is no JWT: %w", err)
	}
	var lines []string
	for name, value := range fields {
		lines = append(lines, fmt.Sprintf("%-10s %s", name, value))
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n"), nil
}

func (s *scenario) runPublisher(ctx context.Context) error {
	if err := s.awaitCourseAPI(ctx); err != nil {
		return err
	}
	before, err := s.showApproved(ctx, "approved courses, before the job runs")
	if err != nil {
		return err
	}
	s.out.command("publisher --credentials-dir (the mounted Secret) --api %s", s.stage.CourseAPI)
	output, err := s.publisher(ctx)
	s.out.block(output)
	if err != nil {
		return fmt.Errorf("the job failed: %w", err)
	}
	after, err := s.showApproved(ctx, "approved courses, after it")
	if err != nil {
		return err
	}
	inAWeek := time.Now().Add(7 * 24 * time.Hour).UTC().Format(time.DateOnly)
	isDue := func(c approvedCourse) bool { return c.StartDate <= inAWeek }
	due := len(before) - len(slices.DeleteFunc(slices.Clone(before), isDue))
	if due == 0 || slices.ContainsFunc(after, isDue) || len(after) != len(before)-due {
		return fmt.Errorf("%d courses were due, and of %d approved ones %d are left", due, len(before), len(after))
	}
	s.out.ok("%d courses that start within a week are published, %d that start later are not", due, len(after))
	return nil
}

// awaitCourseAPI: it starts when its verifier ConfigMap is there, as a pod that mounts one does.
func (s *scenario) awaitCourseAPI(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, conditionTimeout)
	defer cancel()
	for {
		err := askReady(ctx, s.stage.CourseAPI+"/healthz")
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the course API does not answer: %w", err)
		case <-time.After(pollInterval):
		}
	}
}

// publisher runs the job as a pod would: with the mounted Secret, and with nothing of Kubernetes.
func (s *scenario) publisher(ctx context.Context) (output string, err error) {
	cmd := exec.CommandContext(ctx, filepath.Join(s.at.bin, "publisher"),
		"--credentials-dir", s.at.credentials(), "--api", s.stage.CourseAPI, "--audience", audience, "--scope", scope)
	cmd.Env = []string{} // no KUBECONFIG above all
	text, err := cmd.CombinedOutput()
	return string(text), err
}

type approvedCourse struct {
	StartDate string `json:"startDate"`
	Name      string `json:"name"`
}

func (s *scenario) showApproved(ctx context.Context, title string) ([]approvedCourse, error) {
	answer, err := s.callAPI(ctx, http.MethodGet, "/api/courses?status=approved", "", s.token)
	if err != nil {
		return nil, err
	}
	var courses []approvedCourse
	if err := json.Unmarshal([]byte(answer.body), &courses); err != nil || answer.status != http.StatusOK {
		return nil, fmt.Errorf("the course API answered %d: %s", answer.status, answer.body)
	}
	s.out.ok("GET  /api/courses?status=approved allowed with 200: %s", title)
	for _, course := range courses {
		s.out.block("  " + course.StartDate + "  " + course.Name)
	}
	return courses, nil
}

type apiAnswer struct {
	status          int
	challenge, body string
}

func (s *scenario) callAPI(ctx context.Context, method, path, body, token string) (apiAnswer, error) {
	request, err := http.NewRequestWithContext(ctx, method, s.stage.CourseAPI+path, strings.NewReader(body))
	if err != nil {
		return apiAnswer{}, err
	}
	client := http.DefaultClient
	if token != "" {
		client = oauth2.NewClient(ctx, oauth2.StaticTokenSource(&oauth2.Token{AccessToken: token}))
	}
	response, err := client.Do(request)
	if err != nil {
		return apiAnswer{}, err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	return apiAnswer{response.StatusCode, response.Header.Get("WWW-Authenticate"), string(text)}, err
}

func (s *scenario) showRefusals(ctx context.Context) error {
	const newCourse = `{"name":"Alchemy","details":"Gold from lead","startDate":"2030-01-01"}`
	for _, each := range []struct {
		method, path, body, token string
		status                    int
		challenge                 string // what WWW-Authenticate must hold
		why                       string
	}{
		{"POST", "/api/courses", newCourse, s.token, 403, `scope="courses:write"`, "create a course: that scope was not granted"},
		{"GET", "/api/courses", "", s.token, 403, `scope="courses:read-published"`, "list what students see: nor was that one"},
		{"GET", "/api/courses?status=approved", "", withMoreScope(s.token), 401, `error="invalid_token"`, "a token that was edited"},
		{"GET", "/api/courses?status=approved", "", "", 401, "Bearer", "no token at all"},
	} {
		answer, err := s.callAPI(ctx, each.method, each.path, each.body, each.token)
		if err != nil {
			return err
		}
		if answer.status != each.status || !strings.Contains(answer.challenge, each.challenge) {
			return fmt.Errorf("%s: the course API answered %d with WWW-Authenticate: %s", each.why, answer.status, answer.challenge)
		}
		s.out.ok("%-4s %-28s refused with %d: %s", each.method, each.path, answer.status, each.why)
		s.out.block("WWW-Authenticate: " + answer.challenge)
	}
	return nil
}

// withMoreScope edits the claims as a thief of a token would like them, and leaves the signature.
func withMoreScope(token string) string {
	parts := strings.Split(token, ".")
	claims, err := base64.RawURLEncoding.DecodeString(parts[1])
	edited := strings.Replace(string(claims), scope, scope+" courses:write", 1)
	if err != nil || edited == string(claims) {
		edited = string(claims) + " " // edited all the same
	}
	parts[1] = base64.RawURLEncoding.EncodeToString([]byte(edited))
	return strings.Join(parts, ".")
}

// sayWhatToTry is for KEEP=1.
func (s *scenario) sayWhatToTry() {
	kubectl := "kubectl"
	if _, err := exec.LookPath(kubectl); errors.Is(err, exec.ErrNotFound) {
		kubectl = "bin/kubectl"
	}
	s.out.section("Everything keeps running: try it")
	for _, command := range []string{
		"set -a; . bin/demo.env; set +a",
		kubectl + " get m2m -A",
		kubectl + " describe -n jobs m2mclient publisher",
		`TOKEN=$(curl -s --cacert "$M2M_CA_FILE" -u "$M2M_CLIENT_ID:$M2M_CLIENT_SECRET" -d grant_type=client_credentials \` + "\n" +
			`       --data-urlencode "audience=$M2M_AUDIENCE" "$M2M_ISSUER/oauth2/token" | sed 's/.*"access_token":"\([^"]*\)".*/\1/')`,
		`curl -H "Authorization: Bearer $TOKEN" "$M2M_API/api/courses?status=approved"`,
		`curl -i -X POST -H "Authorization: Bearer $TOKEN" "$M2M_API/api/courses"     # 403: no scope for that`,
		kubectl + " delete -n courses scopegrant nightly-publisher     # and ask for a token again",
		kubectl + " apply --server-side -k " + samples,
		"kill -9 $M2M_MANAGER_PID                   # tokens go on being issued, grants being taken away",
		"kill -9 ${M2M_ISSUER_PIDS%% *}             # the other issuer answers; nothing here restarts either",
		"make demo-stop                             # ends it all",
	} {
		s.out.command("%s", command)
	}
	s.out.say("Logs are in bin/demo-stage/log.")
}
