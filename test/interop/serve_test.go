//go:build interop

package interop

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// output of a command that must succeed.
func output(t *testing.T, command *exec.Cmd) string {
	t.Helper()
	var stdout, stderr bytes.Buffer
	command.Stdout, command.Stderr = &stdout, &stderr
	if err := command.Run(); err != nil {
		t.Fatalf("%s: %v\n%s%s", strings.Join(command.Args, " "), err, stdout.String(), stderr.String())
	}
	return stdout.String()
}

// parse reads JSON.
func parse[T any](t *testing.T, text string) (out T) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), &out); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	return out
}

// curl sends a request to the issuer's token endpoint.
func (i *issuer) curl(t *testing.T, arguments ...string) outcome {
	t.Helper()
	arguments = append([]string{"--silent", "--show-error", "--cacert", i.caFile}, arguments...)
	return parse[outcome](t, output(t, i.command(t, nil, "curl", arguments...)))
}

// serve runs an API until the test ends, and returns its URL. The script prints the port.
func (i *issuer) serve(t *testing.T, script string, environment ...string) string {
	t.Helper()
	command := i.command(t, nil, "node", script)
	command.Env = append(append(command.Env, "PORT=0"), environment...)
	stdout, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var stderr bytes.Buffer
	command.Stderr = &stderr
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	port, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		_ = command.Wait() // so that all it said is there
		t.Fatalf("%s does not serve: %v\n%s", script, err, stderr.String())
	}
	t.Cleanup(func() {
		_ = command.Wait() // the test's context has ended it
		if t.Failed() {
			t.Logf("%s:\n%s", script, stderr.String())
		}
	})
	return "http://127.0.0.1:" + strings.TrimSpace(port)
}

// call an API with a token.
func call(t *testing.T, api, method, path, token string) (status int, body string) {
	t.Helper()
	request, err := http.NewRequest(method, api+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+token)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(text)
}

// wantStatuses calls an API with each of the tokens.
func wantStatuses(t *testing.T, api, method, path string, tokens map[string]string, accepted, refused int) {
	t.Helper()
	for name, token := range tokens {
		want := refused
		if name == good {
			want = accepted
		}
		if status, body := call(t, api, method, path, token); status != want {
			t.Errorf("a token %s: status %d, want %d: %s", name, status, want, body)
		}
	}
}

// wantScopes compares scopes, in whichever order.
func wantScopes(t *testing.T, got, want string) {
	t.Helper()
	g, w := strings.Fields(got), strings.Fields(want)
	slices.Sort(g)
	slices.Sort(w)
	if !slices.Equal(g, w) {
		t.Errorf("scopes %q, want %q", got, want)
	}
}
