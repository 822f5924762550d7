package feed

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
)

// TestWatchesGoOnOnlyWhereAnswered: a watch that is not answered ends in an error that neither client nor reflector takes
// for a passing one; everything else fails as it does.
func TestWatchesGoOnOnlyWhereAnswered(t *testing.T) {
	failures := []error{io.EOF, errors.New("read: connection reset by peer"), nil}
	for _, failure := range failures {
		transport := goOnOnlyWhereAnswered(roundTripper(func(*http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(strings.NewReader(""))}, failure
		}))
		for query, want := range map[string]error{
			"watch=true&resourceVersion=5":        errUnanswered,
			"watch=true&sendInitialEvents=true":   failure,
			"limit=500":                           failure,
			"watch=true&allowWatchBookmarks=true": errUnanswered,
		} {
			if failure == nil {
				want = nil
			}
			request, err := http.NewRequest(http.MethodGet, "https://api.example.com/api/v1/namespaces?"+query, nil)
			if err != nil {
				t.Fatal(err)
			}
			response, err := transport.RoundTrip(request)
			if !errors.Is(err, want) || (want == nil && err != nil) {
				t.Errorf("%s, which fails with %v: %v, want %v", query, failure, err, want)
			}
			response.Body.Close()
		}
	}
}
