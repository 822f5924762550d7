package main

import (
	"encoding/xml"
	"errors"
	"fmt"
	"html"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/prometheus/prometheus/promql"
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

// TestPictureFollowsTheDashboard: the picture in the documents has the dashboard's rows and panels, where they are in it.
func TestPictureFollowsTheDashboard(t *testing.T) {
	panels, err := readDashboard("../../../config/prometheus/dashboard.json")
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile("../../../docs/operating/dashboard.svg")
	if err != nil {
		t.Fatal(err)
	}
	groups := strings.Split(string(text), "<g transform=")[1:]
	if len(groups) != len(panels) {
		t.Fatalf("the picture has %d rows and panels, the dashboard %d: draw it anew", len(groups), len(panels))
	}
	for i, p := range panels {
		at := fmt.Sprintf("\"translate(%d %d)\"", p.x*unitWidth, p.y*unitHeight)
		if !strings.HasPrefix(groups[i], at) || !strings.Contains(groups[i], ">"+html.EscapeString(p.title)+"<") {
			t.Errorf("the picture has no %q at %s: draw it anew", p.title, at)
		}
	}
}

// TestStatIsANumber: not a line.
func TestStatIsANumber(t *testing.T) {
	stat := panel{title: "Share", kind: "stat", unit: "percentunit", w: 6, h: 8, lines: []line{{"failures", []promql.FPoint{{T: 1, F: 0.5}, {T: 2, F: 0.25}}}}}
	if text := string(draw([]panel{stat})); !strings.Contains(text, ">25%<") || !strings.Contains(text, ">failures<") || strings.Contains(text, "<path") {
		t.Errorf("it is drawn as\n%s", text)
	}
	if 2*legendLines > len(colours) {
		t.Errorf("%d names of a legend share %d colours", 2*legendLines, len(colours))
	}
}

func TestBadArguments(t *testing.T) {
	for _, args := range [][]string{nil, {"-target", "x"}, {"-target", "a=b"}, {"-target", "a=http://127.0.0.1:1", "-o", "x", "-dashboard", "nowhere.json"}} {
		if err := run(t.Context(), args); err == nil {
			t.Errorf("%q is taken", args)
		}
	}
}
