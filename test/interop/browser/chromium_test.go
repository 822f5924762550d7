//go:build interop

package browser

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// browser is a Chromium without a window, and one page of it. It is spoken to in the Chrome DevTools Protocol, through
// pipes: JSON objects, each ended by a zero byte.
type browser struct {
	t        *testing.T
	out      *os.File
	replies  chan message
	calls    int
	session  string
	url      string
	trouble  []string // what the page logged, failed at, or asked the network for
	loaded   bool
	quitting bool
}

type message struct {
	ID     int             `json:"id"`
	Method string          `json:"method"`
	Params json.RawMessage `json:"params"`
	Result json.RawMessage `json:"result"`
	Error  *struct {
		Message string `json:"message"`
	} `json:"error"`
}

// patience is how long a browser may take for one thing on a machine that is busy with others.
const patience = 2 * time.Minute

func start(t *testing.T) *browser {
	t.Helper()
	path, err := exec.LookPath(filepath.Join(os.Getenv("M2M_INTEROP_TOOLS"), "bin/chromium"))
	if err != nil {
		t.Fatalf("run this with make interop: %v", err)
	}
	in, theirOut, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	theirIn, out, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
		"--disable-background-networking", "--disable-component-update", "--remote-debugging-pipe", "--user-data-dir="+t.TempDir(), "about:blank")
	cmd.ExtraFiles = []*os.File{theirIn, theirOut} // descriptors 3 and 4
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	theirIn.Close()
	theirOut.Close()
	b := &browser{t: t, out: out, replies: make(chan message, 1000)}
	go b.listen(in)
	t.Cleanup(func() {
		b.session, b.quitting = "", true
		b.call("Browser.close", nil)
		if err := cmd.Wait(); err != nil {
			t.Logf("chromium: %v", err)
		}
		out.Close()
		in.Close()
	})
	b.attach()
	return b
}

func (b *browser) listen(in *os.File) {
	defer close(b.replies)
	reader := bufio.NewReader(in)
	for {
		text, err := reader.ReadBytes(0)
		if err != nil {
			return
		}
		var m message
		if json.Unmarshal(text[:len(text)-1], &m) == nil {
			b.replies <- m
		}
	}
}

// attach goes to a page of its own, and has everything reported that it should not do.
func (b *browser) attach() {
	b.t.Helper()
	var target struct{ TargetID, SessionID string }
	b.into(&target, "Target.createTarget", map[string]any{"url": "about:blank"})
	b.into(&target, "Target.attachToTarget", map[string]any{"targetId": target.TargetID, "flatten": true})
	b.session = target.SessionID
	for _, domain := range []string{"Page", "Runtime", "Log", "Network"} {
		b.call(domain+".enable", nil)
	}
}

// call has the browser do something.
func (b *browser) call(method string, params any) json.RawMessage {
	b.t.Helper()
	b.calls++
	request := map[string]any{"id": b.calls, "method": method}
	if params != nil {
		request["params"] = params
	}
	if b.session != "" {
		request["sessionId"] = b.session
	}
	text, err := json.Marshal(request)
	if err != nil {
		b.t.Fatal(err)
	}
	if _, err := b.out.Write(append(text, 0)); err != nil {
		b.t.Fatal(err)
	}
	reply := b.await(method, func(m message) bool { return m.ID == b.calls })
	if reply.Error != nil {
		b.t.Fatalf("%s: %s", method, reply.Error.Message)
	}
	return reply.Result
}

func (b *browser) into(result any, method string, params any) {
	b.t.Helper()
	if err := json.Unmarshal(b.call(method, params), result); err != nil {
		b.t.Fatal(err)
	}
}

// await takes messages until the right one comes.
func (b *browser) await(what string, right func(message) bool) message {
	b.t.Helper()
	late := time.After(patience)
	for {
		select {
		case m, ok := <-b.replies:
			if !ok && b.quitting {
				return message{}
			} else if !ok {
				b.t.Fatalf("%s: chromium is gone", what)
			}
			b.note(m)
			if right(m) {
				return m
			}
		case <-late:
			b.t.Fatalf("%s: nothing came of it", what)
		}
	}
}

// note takes down what a page should not do.
func (b *browser) note(m message) {
	switch m.Method {
	case "Runtime.exceptionThrown", "Log.entryAdded", "Runtime.consoleAPICalled", "Page.javascriptDialogOpening":
		b.trouble = append(b.trouble, m.Method+" "+string(m.Params))
	case "Network.requestWillBeSent":
		var request struct{ Request struct{ URL string } }
		if json.Unmarshal(m.Params, &request) != nil || request.Request.URL != b.url {
			b.trouble = append(b.trouble, "asked for "+request.Request.URL)
		}
	case "Page.loadEventFired":
		b.loaded = true
	}
}

// open loads a file, at a fragment if one is named.
func (b *browser) open(file string) {
	b.t.Helper()
	document, _, _ := strings.Cut("file://"+file, "#")
	if document == b.url { // another fragment would load nothing
		b.load("about:blank")
	}
	b.url = document
	b.load("file://" + file)
}

func (b *browser) load(url string) {
	b.t.Helper()
	b.loaded = false
	b.call("Page.navigate", map[string]any{"url": url})
	if !b.loaded {
		b.await("load", func(message) bool { return b.loaded })
	}
}

// eval is what an expression of the page's language comes to.
func (b *browser) eval(expression string) string {
	b.t.Helper()
	var result struct {
		Result           struct{ Value any }
		ExceptionDetails json.RawMessage
	}
	b.into(&result, "Runtime.evaluate", map[string]any{"expression": expression, "returnByValue": true})
	if result.ExceptionDetails != nil {
		b.t.Fatalf("%s: %s", expression, result.ExceptionDetails)
	}
	return fmt.Sprint(result.Result.Value)
}

// want compares what an expression comes to.
func (b *browser) want(expression, want string) {
	b.t.Helper()
	if got := b.eval(expression); got != want {
		b.t.Errorf("%s is %s, want %s", expression, got, want)
	}
}

// until waits for an expression to come to something.
func (b *browser) until(expression, want string) {
	b.t.Helper()
	for late := time.Now().Add(patience); b.eval(expression) != want; {
		if time.Now().After(late) {
			b.t.Fatalf("%s is %s, want %s", expression, b.eval(expression), want)
		}
	}
}

// press presses keys, as a keyboard does.
func (b *browser) press(keys ...string) {
	b.t.Helper()
	codes := map[string]int{"Tab": 9, "Enter": 13, " ": 32}
	for _, key := range keys {
		down := map[string]any{"type": "keyDown", "key": key, "windowsVirtualKeyCode": codes[key]}
		switch key {
		case "Enter":
			down["text"] = "\r"
		case "Tab":
		default:
			down["text"] = key
		}
		b.call("Input.dispatchKeyEvent", down)
		b.call("Input.dispatchKeyEvent", map[string]any{"type": "keyUp", "key": key, "windowsVirtualKeyCode": codes[key]})
	}
}

// write writes a text where the focus is.
func (b *browser) write(text string) {
	b.t.Helper()
	b.press(strings.Split(text, "")...)
}

// look sets the size of the screen, and whether the system is dark.
func (b *browser) look(width, height int, scheme string) {
	b.t.Helper()
	b.call("Emulation.setDeviceMetricsOverride", map[string]any{"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500})
	b.call("Emulation.setEmulatedMedia", map[string]any{"features": []map[string]string{{"name": "prefers-color-scheme", "value": scheme}}})
}

// screenshot keeps a picture of what is to be seen, or of the whole page, for people to look at.
func (b *browser) screenshot(name string, whole bool) {
	b.t.Helper()
	var picture struct{ Data string }
	b.into(&picture, "Page.captureScreenshot", map[string]any{"captureBeyondViewport": whole})
	png, err := base64.StdEncoding.DecodeString(picture.Data)
	if err != nil {
		b.t.Fatal(err)
	}
	if err := os.MkdirAll(screenshots, 0o755); err != nil {
		b.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(screenshots, name+".png"), png, 0o600); err != nil {
		b.t.Fatal(err)
	}
}
