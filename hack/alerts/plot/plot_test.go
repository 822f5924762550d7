package main

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
)

// TestPlot scrapes something that counts, and finds it in the picture of the real dashboard.
func TestPlot(t *testing.T) {
	var count atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, "# TYPE m2m_issuer_token_requests_total counter\nm2m_issuer_token_requests_total{api=\"courses/course-api\",result=\"issued\"} %d\n", count.Add(7))
	}))
	defer server.Close()
	out := filepath.Join(t.TempDir(), "dashboard.svg")
	args := []string{"-dashboard", "../../../config/prometheus/dashboard.json", "-every", "20ms", "-for", "300ms", "-target", "issuer-0=" + server.URL, "-o", out}
	if err := run(t.Context(), args); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{">Token requests<", ">issued<", ">courses/course-api<", ">nothing to show<"} {
		if !strings.Contains(string(text), want) {
			t.Errorf("the picture has no %s", want)
		}
	}
	for decoder := xml.NewDecoder(strings.NewReader(string(text))); ; {
		if _, err := decoder.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

func TestBadArguments(t *testing.T) {
	for _, args := range [][]string{nil, {"-target", "x"}, {"-target", "a=b"}, {"-target", "a=http://127.0.0.1:1", "-o", "x", "-dashboard", "nowhere.json"}} {
		if err := run(t.Context(), args); err == nil {
			t.Errorf("%q is taken", args)
		}
	}
}
