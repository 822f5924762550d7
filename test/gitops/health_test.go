package gitops

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	lua "github.com/yuin/gopher-lua"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/cli-utils/pkg/kstatus/status"
	"sigs.k8s.io/yaml"
)

// healthOf is what Argo CD calls what kstatus says.
var healthOf = map[status.Status]string{
	status.InProgressStatus:  "Progressing",
	status.CurrentStatus:     "Healthy",
	status.FailedStatus:      "Degraded",
	status.TerminatingStatus: "Progressing",
}

// healthChecks are the scripts of config/gitops/argocd, by kind.
func healthChecks(t *testing.T) map[string]string {
	t.Helper()
	text, err := os.ReadFile("../../config/gitops/argocd/argocd-cm.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var settings corev1.ConfigMap
	if err := yaml.UnmarshalStrict(text, &settings); err != nil {
		t.Fatal(err)
	}
	checks := map[string]string{}
	for _, kind := range kinds {
		script := settings.Data["resource.customizations.health.m2m-operator.io_"+kind]
		if script == "" {
			t.Fatalf("there is no health check for %s", kind)
		}
		checks[kind] = script
	}
	if len(settings.Data) != len(checks) {
		t.Errorf("argocd-cm.yaml has %d settings, want %d", len(settings.Data), len(checks))
	}
	return checks
}

// TestComponent: config/gitops/argocd lays these settings over an Argo CD's own.
func TestComponent(t *testing.T) {
	text, err := os.ReadFile("../../config/gitops/argocd/kustomization.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var component struct {
		APIVersion string                  `json:"apiVersion"`
		Kind       string                  `json:"kind"`
		Patches    []struct{ Path string } `json:"patches"`
	}
	if err := yaml.UnmarshalStrict(text, &component); err != nil {
		t.Fatal(err)
	}
	if component.Kind != "Component" || len(component.Patches) != 1 || component.Patches[0].Path != "argocd-cm.yaml" {
		t.Errorf("it is %+v", component)
	}
}

// TestHealthWithoutMessages: a condition may come with no message, and Argo CD shows something all the same.
func TestHealthWithoutMessages(t *testing.T) {
	for kind, script := range healthChecks(t) {
		for condition, want := range map[string]string{"Stalled": "Degraded", "Ready": "Healthy"} {
			for reason, shown := range map[string]string{"Conflicted": "Conflicted", "": condition} {
				members := map[string]any{"type": condition, "status": "True"}
				if reason != "" {
					members["reason"] = reason
				} else if condition == "Ready" {
					shown = want
				}
				object := &unstructured.Unstructured{Object: map[string]any{
					"metadata": map[string]any{"generation": int64(1)},
					"status":   map[string]any{"observedGeneration": int64(1), "conditions": []any{members}},
				}}
				health, message, err := argoHealth(script, object)
				if err != nil || health != want || message != shown {
					t.Errorf("%s with %v: %s %q (%v)", kind, members, health, message, err)
				}
			}
		}
	}
}

// argoHealth runs a health check as Argo CD does: with the libraries that it opens and no other, for a second at most,
// and with the object as a global.
func argoHealth(script string, object *unstructured.Unstructured) (health, message string, err error) {
	state := lua.NewState(lua.Options{SkipOpenLibs: true})
	defer state.Close()
	for _, library := range []struct {
		name string
		open lua.LGFunction
	}{{lua.LoadLibName, lua.OpenPackage}, {lua.BaseLibName, lua.OpenBase}, {lua.TabLibName, lua.OpenTable}} {
		call := lua.P{Fn: state.NewFunction(library.open), NRet: 0, Protect: true}
		if err := state.CallByParam(call, lua.LString(library.name)); err != nil {
			return "", "", err
		}
	}
	bounded, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	state.SetContext(bounded)
	state.SetGlobal("obj", luaValue(state, object.Object))
	if err := state.DoString(script); err != nil {
		return "", "", err
	}
	result, ok := state.Get(-1).(*lua.LTable)
	if !ok {
		return "", "", fmt.Errorf("the script returns a %s", state.Get(-1).Type())
	}
	return result.RawGetString("status").String(), result.RawGetString("message").String(), nil
}

// luaValue is a value of JSON in Lua.
func luaValue(state *lua.LState, value any) lua.LValue {
	switch v := value.(type) {
	case bool:
		return lua.LBool(v)
	case int64:
		return lua.LNumber(v)
	case float64:
		return lua.LNumber(v)
	case string:
		return lua.LString(v)
	case []any:
		table := state.NewTable()
		for _, element := range v {
			table.Append(luaValue(state, element))
		}
		return table
	case map[string]any:
		table := state.NewTable()
		for name, member := range v {
			table.RawSetString(name, luaValue(state, member))
		}
		return table
	}
	return lua.LNil
}
