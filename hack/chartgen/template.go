package main

import (
	"errors"
	"fmt"
	"strings"
)

const (
	header    = "{{- /* Written by make generate from config/: change it there. */}}\n"
	namespace = "restic-manager-system"
	// ours is the label that the named template of labels has already.
	ours = "    app.kubernetes.io/name: restic-manager"
)

// options say what a template has beside what its source says.
type options struct {
	// when is a condition for the whole file, whenKind one for the objects of a kind, lines one for the lines that begin with a text.
	when     string
	whenKind map[string]string
	lines    map[string]string
	// labels and annotations are named templates for the metadata of each object; labels come beside those that every object has.
	labels      string
	annotations string
	// after are named templates for what follows a line; their indentation is that of the line's text.
	after map[string]string
}

// template makes a template of a file of manifests. It works on lines, so that comments stay, and on the form that the files in config have: two spaces, block style.
func template(source string, o options) (string, error) {
	var out strings.Builder
	out.WriteString(header)
	if o.when != "" {
		fmt.Fprintf(&out, "{{- if %s }}\n", o.when)
	}
	for i, document := range strings.Split(strings.TrimPrefix(source, "---\n"), "\n---\n") {
		if i > 0 {
			out.WriteString("---\n")
		}
		text, err := object(strings.TrimSuffix(document, "\n"), o)
		if err != nil {
			return "", fmt.Errorf("object %d: %w", i+1, err)
		}
		out.WriteString(text)
	}
	if o.when != "" {
		out.WriteString("{{- end }}\n")
	}
	return out.String(), nil
}

func object(document string, o options) (string, error) {
	lines := strings.Split(strings.ReplaceAll(document, namespace, "\x00"), "\n")
	begin, end := metadata(lines)
	if begin < 0 {
		return "", errors.New("it has no metadata")
	}
	var out strings.Builder
	condition := o.whenKind[kind(lines)]
	if condition != "" {
		fmt.Fprintf(&out, "{{- if %s }}\n", condition)
	}
	for _, line := range lines[:begin+1] {
		out.WriteString(escaped(line) + "\n")
	}
	o.metadata(&out, lines[begin+1:end])
	for _, line := range lines[end:] {
		o.line(&out, line)
	}
	if condition != "" {
		out.WriteString("{{- end }}\n")
	}
	return out.String(), nil
}

// metadata writes an object's metadata with the labels and annotations of the chart.
func (o options) metadata(out *strings.Builder, lines []string) {
	labels := "{{- include \"restic-manager.labels\" . | nindent 4 }}\n"
	if o.labels != "" {
		labels += fmt.Sprintf("    {{- include %q . | nindent 4 }}\n", o.labels)
	}
	annotations := ""
	if o.annotations != "" {
		annotations = fmt.Sprintf("{{- include %q . | nindent 4 }}\n", o.annotations)
	}
	for _, line := range lines {
		switch line {
		case "  labels:":
			out.WriteString(line + "\n    " + labels)
			labels = ""
		case "  annotations:":
			out.WriteString(line + "\n")
			if annotations != "" {
				out.WriteString("    " + annotations)
				annotations = ""
			}
		case ours:
		default:
			o.line(out, line)
		}
	}
	if labels != "" {
		out.WriteString("  labels:\n    " + labels)
	}
	if annotations != "" {
		fmt.Fprintf(out, "  {{- with include %q . }}\n  annotations:\n    {{- . | nindent 4 }}\n  {{- end }}\n", o.annotations)
	}
}

func (o options) line(out *strings.Builder, line string) {
	text := escaped(line) + "\n"
	for begin, condition := range o.lines {
		if strings.HasPrefix(strings.TrimSpace(line), begin) {
			text = fmt.Sprintf("    {{- if %s }}\n%s    {{- end }}\n", condition, text)
		}
	}
	out.WriteString(text)
	if name := o.after[line]; name != "" {
		fmt.Fprintf(out, "    {{- include %q . | nindent 4 }}\n", name)
	}
}

// metadata finds the lines of an object's metadata: that with the key, and the first that does not belong to it.
func metadata(lines []string) (begin, end int) {
	begin = -1
	for i, line := range lines {
		switch {
		case line == "metadata:":
			begin = i
		case begin >= 0 && !strings.HasPrefix(line, " "):
			return begin, i
		}
	}
	return begin, len(lines)
}

func kind(lines []string) string {
	for _, line := range lines {
		if kind, found := strings.CutPrefix(line, "kind: "); found {
			return kind
		}
	}
	return ""
}

// escaped keeps what looks like an action from being one, and puts the namespace of the release in.
func escaped(line string) string {
	line = strings.ReplaceAll(line, "{{", `{{ "{{" }}`)
	return strings.ReplaceAll(line, "\x00", "{{ .Release.Namespace }}")
}
