package gitops

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	lua "github.com/yuin/gopher-lua"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/test/env"
)

const (
	argoFile      = "config/argocd/health.yaml"
	argoKeyPrefix = "resource.customizations.health.backup.restic-manager.io_"
)

var argoConfig = sync.OnceValues(func() (map[string]string, error) {
	dir, err := env.Root()
	if err != nil {
		return nil, err
	}
	data, err := os.ReadFile(filepath.Join(dir, argoFile))
	if err != nil {
		return nil, err
	}
	config := &corev1.ConfigMap{}
	return config.Data, yaml.UnmarshalStrict(data, config)
})

type health struct{ status, message string }

// argoHealth runs the script for the object's kind as Argo CD does: with no library but the basic ones, and the object as the global obj.
func argoHealth(t *testing.T, u *unstructured.Unstructured) health {
	t.Helper()
	config, err := argoConfig()
	if err != nil {
		t.Fatal(err)
	}
	script, found := config[argoKeyPrefix+u.GetKind()]
	if !found {
		t.Fatalf("%s has no script for %s", argoFile, u.GetKind())
	}
	l := lua.NewState(lua.Options{SkipOpenLibs: true})
	defer l.Close()
	l.SetContext(t.Context())
	for name, open := range map[string]lua.LGFunction{lua.BaseLibName: lua.OpenBase, lua.TabLibName: lua.OpenTable} {
		if err := l.CallByParam(lua.P{Fn: l.NewFunction(open), Protect: true}, lua.LString(name)); err != nil {
			t.Fatal(err)
		}
	}
	l.SetGlobal("obj", toLua(l, u.Object))
	if err := l.DoString(script); err != nil {
		t.Fatalf("%s: %v", argoFile, err)
	}
	answer, ok := l.Get(-1).(*lua.LTable)
	if !ok {
		t.Fatalf("the script returned %v, expected a table", l.Get(-1))
	}
	return health{lua.LVAsString(answer.RawGetString("status")), lua.LVAsString(answer.RawGetString("message"))}
}

func toLua(l *lua.LState, value any) lua.LValue {
	switch v := value.(type) {
	case bool:
		return lua.LBool(v)
	case string:
		return lua.LString(v)
	case int64:
		return lua.LNumber(v)
	case float64:
		return lua.LNumber(v)
	case []any:
		table := l.NewTable()
		for _, item := range v {
			table.Append(toLua(l, item))
		}
		return table
	case map[string]any:
		table := l.NewTable()
		for key, item := range v {
			table.RawSetString(key, toLua(l, item))
		}
		return table
	}
	return lua.LNil
}

func TestArgoCDHasAScriptForEachKind(t *testing.T) {
	config, err := argoConfig()
	if err != nil {
		t.Fatal(err)
	}
	crds, err := filepath.Glob(filepath.Join(root(t), "config", "crd", "bases", "*.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for _, file := range crds {
		var crd struct {
			Spec struct{ Names struct{ Kind string } }
		}
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := yaml.Unmarshal(data, &crd); err != nil {
			t.Fatal(err)
		}
		want = append(want, argoKeyPrefix+crd.Spec.Names.Kind)
	}
	slices.Sort(want)
	if diff := cmp.Diff(want, slices.Sorted(maps.Keys(config))); diff != "" || len(want) == 0 {
		t.Errorf("keys (-want +got):\n%s", diff)
	}
}

// The ConfigMap holds what others have set.
func TestTheScriptsAreAddedToWhatArgoCDHas(t *testing.T) {
	cp := installed(t)
	c := adminClient(t, cp)
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "argocd"}}
	config := &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: "argocd", Name: "argocd-cm", Labels: map[string]string{"app.kubernetes.io/part-of": "argocd"}},
		Data:       map[string]string{"url": "https://argocd.example.com"},
	}
	for _, o := range []client.Object{namespace, config} {
		if err := c.Create(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := cp.Kubectl(t.Context(), "apply", "--server-side", "--field-manager=restic-manager", "-f", filepath.Join(root(t), argoFile)); err != nil {
		t.Fatal(err)
	}
	if err := c.Get(t.Context(), client.ObjectKeyFromObject(config), config); err != nil {
		t.Fatal(err)
	}
	if config.Data["url"] == "" || config.Labels["app.kubernetes.io/part-of"] != "argocd" {
		t.Errorf("what was there is gone: %v, labels %v", slices.Sorted(maps.Keys(config.Data)), config.Labels)
	}
	for _, kind := range []string{"Host", "ScheduleSet"} {
		if script := config.Data[argoKeyPrefix+kind]; !strings.Contains(script, v1alpha1.ConditionStalled) {
			t.Errorf("the script for %s is %q", kind, script)
		}
	}
}
