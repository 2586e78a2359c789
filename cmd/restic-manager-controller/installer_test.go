package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestTheChecksumOfTheInstallerIsThatOfItsFile(t *testing.T) {
	dir := t.TempDir()
	write := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for name, c := range map[string]struct{ file, want, wrong string }{
		"no file":          {},
		"the installer":    {file: write("install.sh", "#!/bin/sh\n"), want: "a8076d3d28d21e02012b20eaf7dbf75409a6277134439025f282e368e3305abf"},
		"something else":   {file: write("x", "html"), wrong: "is no script"},
		"one that is gone": {file: filepath.Join(dir, "gone"), wrong: "no such file"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := installSumOf(c.file)
			if c.wrong != "" {
				if err == nil || !strings.Contains(err.Error(), c.wrong) {
					t.Errorf("%v, want %q", err, c.wrong)
				}
				return
			}
			if err != nil || got != c.want {
				t.Errorf("%q, %v, want %q", got, err, c.want)
			}
		})
	}
}
