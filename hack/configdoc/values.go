package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"
)

// row is one value: its path, its default as YAML on one line (empty for what holds values of its own), and what the comment says.
type row struct{ path, preset, text string }

// values returns the values of a chart in the order of the file. A comment that begins with "--" makes what follows it one value, also when it is a map. Every
// value must have one.
func values(data []byte) ([]row, error) {
	var document yaml.Node
	if err := yaml.Unmarshal(data, &document); err != nil {
		return nil, err
	}
	if len(document.Content) != 1 || document.Content[0].Kind != yaml.MappingNode {
		return nil, errors.New("it is no map")
	}
	return below("", document.Content[0])
}

func below(prefix string, node *yaml.Node) ([]row, error) {
	var rows []row
	for i := 0; i+1 < len(node.Content); i += 2 {
		name, value := node.Content[i], node.Content[i+1]
		path := prefix + name.Value
		text, marked := comment(name.HeadComment)
		if value.Kind == yaml.MappingNode && len(value.Content) > 0 && !marked {
			if text != "" {
				rows = append(rows, row{path: path, text: text})
			}
			more, err := below(path+".", value)
			if err != nil {
				return nil, err
			}
			rows = append(rows, more...)
			continue
		}
		if !marked {
			return nil, fmt.Errorf("%s has no comment that begins with # --", path)
		}
		preset, err := inline(value)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		// What lies in a value that is a map may have comments too; it is shown as a whole.
		rows = append(rows, row{path, preset, text})
	}
	return rows, nil
}

// comment returns the text of a comment with its paragraphs, and whether it is marked as that of a value.
func comment(raw string) (text string, marked bool) {
	// What stands above an empty line belongs to something else.
	if i := strings.LastIndex(raw, "\n\n"); i >= 0 {
		raw = raw[i+2:]
	}
	var paragraphs []string
	paragraph := ""
	for line := range strings.Lines(raw) {
		line = strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(line), "#"))
		if line == "" {
			paragraphs, paragraph = append(paragraphs, paragraph, ""), ""
			continue
		}
		paragraph = strings.TrimSpace(paragraph + " " + line)
	}
	text = strings.TrimSpace(strings.Join(append(paragraphs, paragraph), "\n"))
	text, marked = strings.CutPrefix(text, "-- ")
	return text, marked
}

func inline(node *yaml.Node) (string, error) {
	var value any
	if err := node.Decode(&value); err != nil {
		return "", err
	}
	out, err := json.Marshal(value) // is YAML, on one line
	return string(out), err
}

// table is for Markdown.
func table(rows []row) string {
	var out strings.Builder
	out.WriteString("| value | default | meaning |\n|---|---|---|\n")
	for _, r := range rows {
		preset := ""
		if r.preset != "" {
			preset = "`" + cell(r.preset) + "`"
		}
		fmt.Fprintf(&out, "| `%s` | %s | %s |\n", r.path, preset, cell(r.text))
	}
	return out.String()
}

func cell(text string) string {
	return strings.NewReplacer("|", "\\|", "\n", "<br>", "<", "&lt;", ">", "&gt;").Replace(text)
}
