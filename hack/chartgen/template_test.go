package main

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestTemplate(t *testing.T) {
	tests := []struct {
		name, source string
		o            options
		want         string
	}{
		{
			"the namespace is that of the release, and labels are added",
			"# Why.\nkind: Role\nmetadata:\n  name: a\n  namespace: restic-manager-system\nrules: []\n", options{},
			"# Why.\nkind: Role\nmetadata:\n  name: a\n  namespace: {{ .Release.Namespace }}\n  labels:\n    {{- include \"restic-manager.labels\" . | nindent 4 }}\nrules: []\n",
		},
		{
			"labels join those that are there, without the one that all have",
			"kind: Service\nmetadata:\n  labels:\n    app.kubernetes.io/name: restic-manager\n    app.kubernetes.io/component: gateway\n  name: a\nspec: {}\n", options{labels: "more"},
			"kind: Service\nmetadata:\n  labels:\n    {{- include \"restic-manager.labels\" . | nindent 4 }}\n    {{- include \"more\" . | nindent 4 }}\n" +
				"    app.kubernetes.io/component: gateway\n  name: a\nspec: {}\n",
		},
		{
			"a condition stands around all objects, another around those of a kind",
			"kind: A\nmetadata:\n  name: a\n---\nkind: B\nmetadata:\n  name: b\n", options{when: ".Values.all", whenKind: map[string]string{"B": ".Values.b"}},
			"{{- if .Values.all }}\nkind: A\nmetadata:\n  name: a\n  labels:\n    {{- include \"restic-manager.labels\" . | nindent 4 }}\n---\n" +
				"{{- if .Values.b }}\nkind: B\nmetadata:\n  name: b\n  labels:\n    {{- include \"restic-manager.labels\" . | nindent 4 }}\n{{- end }}\n{{- end }}\n",
		},
		{
			"annotations join those that are there",
			"kind: A\nmetadata:\n  annotations:\n    a: b\n  name: a\n", options{annotations: "why"},
			"kind: A\nmetadata:\n  annotations:\n    {{- include \"why\" . | nindent 4 }}\n    a: b\n  name: a\n  labels:\n    {{- include \"restic-manager.labels\" . | nindent 4 }}\n",
		},
		{
			"annotations that may be none have no empty key",
			"kind: A\nmetadata:\n  name: a\n", options{annotations: "why"},
			"kind: A\nmetadata:\n  name: a\n  labels:\n    {{- include \"restic-manager.labels\" . | nindent 4 }}\n" +
				"  {{- with include \"why\" . }}\n  annotations:\n    {{- . | nindent 4 }}\n  {{- end }}\n",
		},
		{
			"what only looks like an action stays text",
			"kind: A\nmetadata:\n  name: a\nspec: '{{ $labels.host }}'\n", options{},
			"kind: A\nmetadata:\n  name: a\n  labels:\n    {{- include \"restic-manager.labels\" . | nindent 4 }}\nspec: '{{ \"{{\" }} $labels.host }}'\n",
		},
		{
			"a line has a condition of its own, and something after it",
			"kind: A\nmetadata:\n  name: a\nspec:\n  - port: metrics\n    optional: true\n",
			options{lines: map[string]string{"optional:": ".Values.o"}, after: map[string]string{"  - port: metrics": "more"}},
			"kind: A\nmetadata:\n  name: a\n  labels:\n    {{- include \"restic-manager.labels\" . | nindent 4 }}\nspec:\n  - port: metrics\n" +
				"    {{- include \"more\" . | nindent 4 }}\n    {{- if .Values.o }}\n    optional: true\n    {{- end }}\n",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := template(tt.source, tt.o)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(header+tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestWhatIsNoObjectIsAnError(t *testing.T) {
	if _, err := template("a: b\n", options{}); err == nil {
		t.Error("an object without metadata is taken")
	}
}
