// Command publisher is the nightly job of the course-management example: it publishes the approved courses that start
// within a week. It knows nothing of Kubernetes: it reads the files of its credential Secret, as a pod mounts them, gets
// a token with a standard library, and calls the course API.
package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"
)

// week before its start, a course is published.
const week = 7 * 24 * time.Hour

type options struct {
	credentialsDir, api, audience, scope string
}

func main() {
	var o options
	flag.StringVar(&o.credentialsDir, "credentials-dir", "/etc/publisher/credentials",
		"directory with the files client_id, client_secret, token_endpoint and ca.crt: the M2MClient's Secret")
	flag.StringVar(&o.api, "api", "http://course-api.courses.svc", "URL of the course API")
	flag.StringVar(&o.audience, "audience", "https://courses.example.com/api", "the identifier of the ApiResource")
	flag.StringVar(&o.scope, "scope", "courses:read-approved courses:publish", "the scopes to ask for, separated by spaces")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, o, time.Now())
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "publisher:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options, now time.Time) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	tokens, err := tokenSource(ctx, o)
	if err != nil {
		return err
	}
	token, err := tokens.Token()
	if refused := (*oauth2.RetrieveError)(nil); errors.As(err, &refused) && refused.ErrorCode != "" {
		return fmt.Errorf("no token: %s: %s", refused.ErrorCode, refused.ErrorDescription)
	}
	if err != nil {
		return fmt.Errorf("no token: %w", err)
	}
	fmt.Printf("got a token for %s, scope %v\n", o.audience, token.Extra("scope"))
	// The token is for the course API, whose certificate is not the issuer's business: hence a client of its own.
	client := oauth2.NewClient(ctx, oauth2.StaticTokenSource(token))
	return publishDue(ctx, client, strings.TrimSuffix(o.api, "/")+"/api/courses", now)
}

// tokenSource reads the mounted Secret. It is read at each run, so that a rotated secret needs no care.
func tokenSource(ctx context.Context, o options) (oauth2.TokenSource, error) {
	files := map[string]string{}
	for _, name := range []string{"client_id", "client_secret", "token_endpoint", "ca.crt"} {
		text, err := os.ReadFile(filepath.Join(o.credentialsDir, name))
		if name == "ca.crt" && errors.Is(err, fs.ErrNotExist) {
			continue // the issuer's certificate comes from an authority that the system knows
		}
		if err != nil {
			return nil, fmt.Errorf("read the credential: %w", err)
		}
		files[name] = strings.TrimSpace(string(text))
	}
	tlsConfig := &tls.Config{MinVersion: tls.VersionTLS12}
	if files["ca.crt"] != "" {
		tlsConfig.RootCAs = x509.NewCertPool()
		if !tlsConfig.RootCAs.AppendCertsFromPEM([]byte(files["ca.crt"])) {
			return nil, errors.New("read the credential: ca.crt holds no certificate")
		}
	}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: tlsConfig}, Timeout: 10 * time.Second}
	config := clientcredentials.Config{
		ClientID:       files["client_id"],
		ClientSecret:   files["client_secret"],
		TokenURL:       files["token_endpoint"],
		AuthStyle:      oauth2.AuthStyleInHeader,
		Scopes:         strings.Fields(o.scope),
		EndpointParams: url.Values{"audience": {o.audience}},
	}
	return config.TokenSource(context.WithValue(ctx, oauth2.HTTPClient, client)), nil
}

type course struct {
	ID        int    `json:"id"`
	Name      string `json:"name"`
	StartDate string `json:"startDate"`
	Status    string `json:"status"`
}

func publishDue(ctx context.Context, client *http.Client, courses string, now time.Time) error {
	var approved []course
	if err := call(ctx, client, http.MethodGet, courses+"?status=approved", nil, &approved); err != nil {
		return fmt.Errorf("list the approved courses: %w", err)
	}
	var failures []error
	due := 0
	for _, each := range approved {
		starts, err := time.Parse(time.DateOnly, each.StartDate)
		if err != nil {
			failures = append(failures, fmt.Errorf("course %d starts at %q, which is no date", each.ID, each.StartDate))
			continue
		}
		if starts.Sub(now) > week {
			fmt.Printf("later      %s  %s\n", each.StartDate, each.Name)
			continue
		}
		due++
		var published course
		err = call(ctx, client, http.MethodPatch, courses+"/"+strconv.Itoa(each.ID), map[string]string{"status": "published"}, &published)
		if err == nil && published.Status != "published" {
			err = fmt.Errorf("its status is %q", published.Status)
		}
		if err != nil { // one course that fails does not keep the others from the students
			failures = append(failures, fmt.Errorf("publish %q: %w", each.Name, err))
			continue
		}
		fmt.Printf("published  %s  %s\n", each.StartDate, each.Name)
	}
	fmt.Printf("%d of %d approved courses start within a week\n", due, len(approved))
	return errors.Join(failures...)
}

func call(ctx context.Context, client *http.Client, method, url string, body, into any) error {
	var text []byte
	if body != nil {
		var err error
		if text, err = json.Marshal(body); err != nil {
			return err
		}
	}
	request, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(text))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("the API answered %s: %s", response.Status, response.Header.Get("WWW-Authenticate")+string(answer))
	}
	return json.Unmarshal(answer, into)
}
