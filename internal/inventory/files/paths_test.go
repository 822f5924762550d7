package files_test

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/m2m-operator/m2m-operator/internal/inventory/files"
)

func link(t *testing.T, target, name string) {
	t.Helper()
	if err := os.Symlink(target, name); err != nil {
		t.Fatal(err)
	}
}

// TestPaths: whatever names a folder, what is in it is read, and once.
func TestPaths(t *testing.T) {
	folder := write(t, map[string]string{
		"base/all.yaml":              client("a"),
		"base/.more/hidden.yaml":     client("b"),
		"overlay/kustomization.yaml": "namespace: there\nresources: [c.yaml]\n",
		"overlay/c.yaml":             client("c"),
		"branches/.git/x.yaml":       client("no"),
		"mounted/..1/d.yaml":         client("d"),
	})
	at := func(name string) string { return filepath.Join(folder, name) }
	link(t, at("base"), at("link"))
	link(t, "..", at("base/.more/up"))
	link(t, "nowhere", at("base/lost"))
	link(t, "..1", at("mounted/..data"))
	link(t, "..data/d.yaml", at("mounted/d.yaml"))
	base, built := "M2MClient here/b, M2MClient here/a", "M2MClient there/c"
	for name, c := range map[string]struct{ paths, want string }{
		"a link to a folder":          {"link", base},
		"a folder, and its file":      {"base base/all.yaml ./base/../base", base},
		"a file, and its folder":      {"base/all.yaml base link", "M2MClient here/a, M2MClient here/b"},
		"a kustomization":             {"overlay", built},
		"a kustomization by its file": {"overlay/kustomization.yaml overlay", built},
		"a volume of a ConfigMap":     {"mounted", "M2MClient here/d"},
		"a repository":                {"branches", ""},
	} {
		t.Run(name, func(t *testing.T) {
			var paths []string
			for _, path := range strings.Fields(c.paths) {
				paths = append(paths, folder+"/"+path)
			}
			documents, err := files.Source{Paths: paths, Namespace: "here"}.Read()
			if got := refs(documents); err != nil || got != c.want {
				t.Errorf("read %s, want %s (%v)", got, c.want, err)
			}
		})
	}
}

// TestRefusedPaths: what would be left out without a word, or read without having been named.
func TestRefusedPaths(t *testing.T) {
	folder := write(t, map[string]string{"outside/a.yaml": client("a"), "linked/b.yaml": client("b"), "lost/c.yaml": client("c"), "device/d.yaml": client("d")})
	link(t, "../outside", filepath.Join(folder, "linked/more"))
	link(t, "nowhere", filepath.Join(folder, "lost/link.yaml"))
	link(t, "/dev/zero", filepath.Join(folder, "device/zero.yaml"))
	for name, want := range map[string]string{
		"linked":  "linked/more: a link to the folder " + filepath.Join(folder, "outside") + ", which is outside of what -f names",
		"lost":    "lost/link.yaml: no such file",
		"device":  "device/zero.yaml: neither a file nor a folder",
		"nowhere": "nowhere: no such file",
	} {
		_, err := files.Source{Paths: []string{filepath.Join(folder, name)}, Namespace: "here"}.Read()
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", name, err, want)
		}
	}
	documents, err := files.Source{Paths: []string{filepath.Join(folder, "linked"), filepath.Join(folder, "outside")}, Namespace: "here"}.Read()
	if got := refs(documents); err != nil || got != "M2MClient here/b, M2MClient here/a" {
		t.Errorf("where both are named: %s (%v)", got, err)
	}
}

// TestPipe: a shell may put a command's output in the place of a file.
func TestPipe(t *testing.T) {
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	if _, err := writer.WriteString(client("a")); err != nil {
		t.Fatal(err)
	}
	writer.Close()
	documents, err := files.Source{Paths: []string{fmt.Sprintf("/proc/self/fd/%d", reader.Fd())}, Namespace: "here"}.Read()
	if got := refs(documents); err != nil || got != "M2MClient here/a" {
		t.Errorf("read %s (%v)", got, err)
	}
}

// TestTwice: where an object is from twice, it says by whom.
func TestTwice(t *testing.T) {
	folder := write(t, map[string]string{
		"base/kustomization.yaml": "resources: [a.yaml]\n", "base/a.yaml": client("a"),
		"overlay/kustomization.yaml": "resources: [../base]\n",
	})
	_, err := files.Source{Paths: []string{folder}, Namespace: "here"}.Read()
	want := fmt.Sprintf("%[1]s/base/a.yaml:1: M2MClient here/a is from here twice, by %[1]s/base/kustomization.yaml and by %[1]s/overlay/kustomization.yaml", folder)
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("%v, want %q", err, want)
	}
}

// TestKustomizationsStayHere: a kustomization fetches nothing and runs nothing, whoever wrote it.
func TestKustomizationsStayHere(t *testing.T) {
	asked := 0
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked++ }))
	defer server.Close()
	plugin := "apiVersion: builtin\nkind: PatchTransformer\nmetadata: {name: p}\npath: " + server.URL + "\n"
	program := "#!/bin/sh\necho ran > \"$0.ran\"\n"
	bomb := client("a") + "x:\n - &a [x,x,x,x,x,x,x,x,x]\n"
	for i := range 9 {
		bomb += fmt.Sprintf(" - &%c [%s]\n", 'b'+i, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*%c,", 'a'+i), 9), ","))
	}
	for name, c := range map[string]struct{ kustomization, want string }{
		"a file":            {"resources: [a.yaml, '" + server.URL + "/b.yaml']", "resources names"},
		"in capitals":       {"Resources: ['" + strings.Replace(server.URL, "http", "HTTP", 1) + "/b.yaml']", "Resources names"},
		"an alias":          {"resources: &x ['" + server.URL + "']\ncomponents: *x", "components names"},
		"in Base64":         {"resources: [!!binary " + base64.StdEncoding.EncodeToString([]byte(server.URL)) + "]", "resources names"},
		"GitHub":            {"resources: [a.yaml, 'github.com/nobody/nothing?ref=v1']", "resources names"},
		"a clone by SSH":    {"resources: [a.yaml, 'git@127.0.0.1:nobody/nothing']", "resources names"},
		"a clone of a file": {"components: ['file:///nowhere/at-all']", "components names"},
		"a forced clone":    {"bases: ['git::ssh://127.0.0.1/nobody/nothing']", "bases names"},
		"a clone by HTTP":   {"resources: [a.yaml, 'git::" + server.URL + "/nobody/nothing']", "resources names"},
		"one in capitals":   {"resources: [a.yaml, 'GIT::" + strings.Replace(server.URL, "http", "HTTP", 1) + "/nobody/nothing']", "resources names"},
		"a linked base's":   {"resources: [a.yaml, linked]", "resources names"},
		"a patch":           {"resources: [a.yaml]\npatches: [{path: '" + server.URL + "'}]", "path names"},
		"a file by name":    {"resources: [a.yaml]\nconfigMapGenerator: [{name: m, files: ['x=" + server.URL + "']}]", "files names"},
		"a schema":          {"resources: [a.yaml]\nopenapi: {path: '" + server.URL + "'}", "path names"},
		"a base's":          {"resources: [below]", "resources names"},
		"a plugin":          {"resources: [a.yaml]\ntransformers: [plugin.yaml]", "transformers are not run here"},
		"a plugin in it":    {"resources: [a.yaml]\ntransformers: [" + strconv.Quote(plugin) + "]", "transformers are not run here"},
		"a program":         {"resources: [a.yaml]\ngenerators: [program.yaml]", "generators are not run here"},
		"a chart":           {"helmCharts: [{name: c, repo: '" + server.URL + "'}]", "repo names"},
		"a chart here":      {"helmCharts: [{name: c}]", "must specify --enable-helm"},
		"a file elsewhere":  {"resources: [/dev/zero]", "security; file '/dev/zero' is not in"},
		"a bomb":            {"resources: [bomb.yaml]", "bomb.yaml: yaml: document contains excessive aliasing"},
		"a bomb in a patch": {"resources: [a.yaml]\npatches: [{patch: " + strconv.Quote(bomb) + "}]", "yaml: document contains excessive aliasing"},
		"no schema":         {"resources: [a.yaml]\nopenapi: {path: empty.json}", "invalid schema file"},
		"what never ends":   {"resources: [zero.yaml]", "zero.yaml"},
	} {
		t.Run(name, func(t *testing.T) {
			folder := write(t, map[string]string{
				"kustomization.yaml": c.kustomization, "a.yaml": client("a"), "plugin.yaml": plugin, "run.sh": program, "empty.json": "", "bomb.yaml": client("b") + "...\n---\n" + bomb,
				"below/kustomization.yaml": "resources: ['" + server.URL + "/b.yaml']",
				"linked/base.yaml":         "resources: ['" + server.URL + "/b.yaml']",
				"program.yaml":             "apiVersion: v1\nkind: Generator\nmetadata:\n  name: g\n  annotations: {config.kubernetes.io/function: 'exec: {path: ./run.sh}'}\n",
			})
			link(t, "/dev/zero", filepath.Join(folder, "zero.yaml"))
			link(t, "base.yaml", filepath.Join(folder, "linked/kustomization.yaml"))
			if err := os.Chmod(filepath.Join(folder, "run.sh"), 0o700); err != nil {
				t.Fatal(err)
			}
			_, err := files.Source{Paths: []string{folder}, Namespace: "here"}.Read()
			var mistake *files.Error
			if !errors.As(err, &mistake) || !strings.Contains(mistake.Message, c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
			if _, err := os.Stat(filepath.Join(folder, "run.sh.ran")); err == nil {
				t.Error("it was run")
			}
		})
	}
	if asked > 0 {
		t.Errorf("%d requests were made", asked)
	}
}

// TestSecretsOfOthers: what a foreign manifest holds is in no message.
func TestSecretsOfOthers(t *testing.T) {
	secret := "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\n"
	for name, manifests := range map[string]map[string]string{
		"a null key":        {"a.yaml": secret + "stringData: {~: hunter2}\n"},
		"a mapping for key": {"a.yaml": secret + "stringData: {{hunter2: x}: y}\n"},
		"after dashes":      {"a.yaml": "--- {apiVersion: v1, kind: Secret, stringData: {x: hunter2}}\n"},
		"text after JSON":   {"a.json": "{} {} hunter2"},
		"not UTF-8":         {"a.yaml": secret + "stringData: {x: \"hunter2\x00\"}\n"},
		"kustomized":        {"kustomization.yaml": "resources: [a.yaml]\npatches: [{path: b.yaml}]\n", "a.yaml": secret + "stringData: {x: y}\n", "b.yaml": secret + "stringData: hunter2\n"},
		"generated":         {"kustomization.yaml": "secretGenerator: [{name: s, literals: [hunter2]}]\n"},
		"generated twice":   {"kustomization.yaml": "secretGenerator: [{name: s, literals: [x=hunter2]}, {name: s, literals: [x=hunter2]}]\n"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := files.Source{Paths: []string{write(t, manifests)}, Namespace: "here"}.Read()
			if err == nil || strings.Contains(err.Error(), "hunter2") {
				t.Error(err)
			}
		})
	}
}

// TestKustomizedLists: kubectl applies what is in them.
func TestKustomizedLists(t *testing.T) {
	folder := write(t, map[string]string{
		"kustomization.yaml": `{"resources": ["a.yaml"], "commonAnnotations": {"docs": "https://docs.example.com"}}`,
		"a.yaml":             "apiVersion: v1\nkind: Anything\nmetadata: {name: list}\nitems: [" + jsonClient("a") + "]\n",
	})
	if got := refs(read(t, folder)); got != "M2MClient here/a" {
		t.Errorf("read %s", got)
	}
}
