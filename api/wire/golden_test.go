package wire_test

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/restic-manager/restic-manager/api/wire"
)

var update = flag.Bool("update", false, "write the golden files and the generated part of docs/wire.md anew")

const goldenDir = "testdata/golden"

func goldenPath(name string) string { return filepath.Join(goldenDir, name+".json") }

// checkGolden compares with a golden file, or writes it with -update.
func checkGolden(t *testing.T, name string, raw []byte) []byte {
	t.Helper()
	got := indent(t, raw)
	if *update {
		if err := os.WriteFile(goldenPath(name), got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(goldenPath(name))
	if err != nil {
		t.Fatalf("%v (run go test ./api/wire -update after a change that is meant)", err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("what goes over the wire has changed (-golden +got); older agents and gateways are out there. If it is meant: go test ./api/wire -update\n%s", diff)
	}
	return want
}

func TestEveryMessageIsWrittenAndReadAsItsGoldenFile(t *testing.T) {
	samples := sampleVariants(t)
	for typ, m := range sampleMessages(t) {
		samples[string(typ)] = m
	}
	for _, typ := range wire.Types() {
		if samples[string(typ)] == nil {
			t.Errorf("there is no sample of type %s", typ)
		}
	}
	for name, m := range samples {
		t.Run(name, func(t *testing.T) {
			frame, err := wire.Encode("17", m)
			if err != nil {
				t.Fatal(err)
			}
			envelope, err := wire.Decode(checkGolden(t, name, frame))
			if err != nil {
				t.Fatal(err)
			}
			if !strings.HasPrefix(name, string(envelope.Type)) || envelope.ID != "17" {
				t.Errorf("envelope is of type %q with id %q", envelope.Type, envelope.ID)
			}
			got, err := envelope.Open()
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(m, got); diff != "" {
				t.Errorf("message (-sent +read):\n%s", diff)
			}
		})
	}
}

func TestEveryDocumentIsWrittenAndReadAsItsGoldenFile(t *testing.T) {
	for name, v := range sampleDocuments(t) {
		t.Run(name, func(t *testing.T) {
			golden := checkGolden(t, name, []byte(encodeDocument(t, v)))
			got := newDocument(v)
			if err := json.Unmarshal(golden, got); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(v, got); diff != "" {
				t.Errorf("document (-written +read):\n%s", diff)
			}
			if err := got.Validate(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestEveryGoldenFileBelongsToASample(t *testing.T) {
	files, err := filepath.Glob(goldenPath("*"))
	if err != nil {
		t.Fatal(err)
	}
	documents, variants := sampleDocuments(t), sampleVariants(t)
	for _, f := range files {
		name := strings.TrimSuffix(filepath.Base(f), ".json")
		if documents[name] == nil && variants[name] == nil && wire.New(wire.Type(name)) == nil {
			t.Errorf("%s belongs to nothing; remove it", f)
		}
	}
	if want := len(wire.Types()) + len(documents) + len(variants); len(files) != want {
		t.Errorf("there are %d golden files, want %d", len(files), want)
	}
}

func TestEveryTypeHasItsMessage(t *testing.T) {
	seen := map[wire.Type]bool{}
	for _, typ := range wire.Types() {
		m := wire.New(typ)
		if m == nil {
			t.Fatalf("New knows no %s", typ)
		}
		if m.MessageType() != typ {
			t.Errorf("New(%s) is of type %s", typ, m.MessageType())
		}
		if seen[typ] {
			t.Errorf("%s stands twice", typ)
		}
		seen[typ] = true
	}
	if wire.New("no.such.type") != nil {
		t.Error("New knows a type that does not exist")
	}
}
