package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// maxBody is plenty for one course.
const maxBody = 64 << 10

// scopeToRead names the scope that a list of courses asks for, by the courses' status.
var scopeToRead = map[string]string{
	statusPublished: "courses:read-published",
	statusApproved:  "courses:read-approved",
	statusPending:   "courses:write",
}

const (
	scopeWrite   = "courses:write"
	scopePublish = "courses:publish"
)

// tokenVerifier is what the API needs of a verifier.
type tokenVerifier interface {
	verify(ctx context.Context, token string) (caller, error)
}

type api struct {
	tokens  tokenVerifier
	courses *courses
}

func newAPI(tokens tokenVerifier, held *courses) http.Handler {
	a := &api{tokens: tokens, courses: held}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusOK, map[string]string{"status": "ok"})
	})
	mux.HandleFunc("GET /api/courses", a.list)
	mux.HandleFunc("POST /api/courses", a.create)
	mux.HandleFunc("PATCH /api/courses/{id}", a.patch)
	return mux
}

func (a *api) list(w http.ResponseWriter, r *http.Request) {
	status := r.URL.Query().Get("status")
	if status == "" {
		status = statusPublished
	}
	scope, known := scopeToRead[status]
	if !known {
		scope = scopeToRead[statusPublished] // strangers are told nothing, not even what a status is
	}
	if !a.authorize(w, r, scope) {
		return
	}
	if !known {
		answerError(w, http.StatusBadRequest, "status must be pending, approved or published")
		return
	}
	answer(w, http.StatusOK, a.courses.withStatus(status))
}

func (a *api) create(w http.ResponseWriter, r *http.Request) {
	if !a.authorize(w, r, scopeWrite) {
		return
	}
	var wanted struct {
		Name      string `json:"name"`
		Details   string `json:"details"`
		StartDate string `json:"startDate"`
	}
	if !decode(w, r, &wanted) {
		return
	}
	if _, err := time.Parse(time.DateOnly, wanted.StartDate); err != nil || wanted.Name == "" || wanted.Details == "" {
		answerError(w, http.StatusBadRequest, "name, details and startDate (YYYY-MM-DD) must be given")
		return
	}
	answer(w, http.StatusCreated, a.courses.add(wanted.Name, wanted.Details, wanted.StartDate))
}

func (a *api) patch(w http.ResponseWriter, r *http.Request) {
	if !a.authorize(w, r, scopePublish) {
		return
	}
	var wanted struct {
		Status string `json:"status"`
	}
	if !decode(w, r, &wanted) {
		return
	}
	if wanted.Status != statusPublished {
		answerError(w, http.StatusBadRequest, `the body must be {"status": "published"}`)
		return
	}
	id, err := strconv.Atoi(r.PathValue("id"))
	if err != nil {
		id = 0 // no course has it
	}
	published, exists, allowed := a.courses.publish(id)
	switch {
	case !exists:
		answerError(w, http.StatusNotFound, "no such course")
	case !allowed:
		answerError(w, http.StatusConflict, "the course is not approved yet")
	default:
		answer(w, http.StatusOK, published)
	}
}

// authorize answers as RFC 6750 section 3 says, and reports whether the request may go on.
func (a *api) authorize(w http.ResponseWriter, r *http.Request, scope string) bool {
	token, given, wellFormed := bearerToken(r)
	switch {
	case !given: // no error code: the caller did not know that it needs a token (section 3.1)
		challenge(w, http.StatusUnauthorized, "", "an access token is needed")
		return false
	case !wellFormed:
		challenge(w, http.StatusBadRequest, "invalid_request", "there must be one Authorization header with one token")
		return false
	}
	from, err := a.tokens.verify(r.Context(), token)
	switch {
	case errors.Is(err, errNoKeys):
		log.Printf("%s %s: 503: %v", r.Method, r.URL.Path, err)
		w.Header().Set("Retry-After", "5")
		answerError(w, http.StatusServiceUnavailable, "tokens cannot be verified at the moment")
		return false
	case err != nil: // the reason is for our log: a caller with a bad token learns only that it is bad
		log.Printf("%s %s: 401: %v", r.Method, r.URL.Path, err)
		challenge(w, http.StatusUnauthorized, "invalid_token", "the access token is invalid or has expired")
		return false
	case !slices.Contains(from.scopes, scope):
		log.Printf("%s %s: 403: %s lacks %s", r.Method, r.URL.Path, from.clientID, scope)
		challenge(w, http.StatusForbidden, "insufficient_scope", "the access token lacks the scope "+scope, "scope", scope)
		return false
	}
	log.Printf("%s %s: allowed: %s has %s", r.Method, r.URL.Path, from.clientID, scope)
	return true
}

func bearerToken(r *http.Request) (token string, given, wellFormed bool) {
	headers := r.Header.Values("Authorization")
	if len(headers) > 1 {
		return "", true, false
	}
	if len(headers) == 0 {
		return "", false, false
	}
	scheme, token, _ := strings.Cut(headers[0], " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return "", false, false
	}
	token = strings.TrimSpace(token)
	return token, true, token != "" && !strings.ContainsAny(token, " ,")
}

// challenge answers with WWW-Authenticate. Descriptions and extra pairs are ours, so nothing in them needs escaping.
func challenge(w http.ResponseWriter, status int, code, description string, extra ...string) {
	header := `Bearer realm="course-api"`
	if code != "" {
		header += fmt.Sprintf(`, error="%s", error_description="%s"`, code, description)
	}
	for i := 0; i+1 < len(extra); i += 2 {
		header += fmt.Sprintf(`, %s="%s"`, extra[i], extra[i+1])
	}
	w.Header().Set("WWW-Authenticate", header)
	answerError(w, status, description)
}

func decode(w http.ResponseWriter, r *http.Request, into any) bool {
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody)).Decode(into); err != nil {
		answerError(w, http.StatusBadRequest, "the body must be a JSON object of at most 64 KiB")
		return false
	}
	return true
}

func answerError(w http.ResponseWriter, status int, message string) {
	answer(w, status, map[string]string{"error": message})
}

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	if err := json.NewEncoder(w).Encode(body); err != nil {
		log.Printf("write an answer: %v", err) // the caller has gone
	}
}
