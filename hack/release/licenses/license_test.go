package main

import (
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
)

func TestATextIsJudged(t *testing.T) {
	apache, err := os.ReadFile("../../../LICENSE")
	if err != nil {
		t.Fatal(err)
	}
	bsd, err := os.ReadFile(filepath.Join(runtime.GOROOT(), "LICENSE"))
	if err != nil {
		t.Fatal(err)
	}
	const copyleft = "GNU GENERAL PUBLIC LICENSE Version 3, 29 June 2007\n\nThis program is free software: you can redistribute it and/or modify it under the terms of the " +
		"GNU General Public License as published by the Free Software Foundation, either version 3 of the License, or (at your option) any later version.\n"
	for _, tt := range []struct {
		name  string
		texts []text
		want  []string
		err   string
	}{
		{"one that is fit", []text{{"LICENSE", string(apache)}}, []string{"Apache-2.0"}, ""},
		{"two", []text{{"LICENSE", string(apache)}, {"LICENSE-bsd", string(bsd)}}, []string{"Apache-2.0", "BSD-3-Clause"}, ""},
		{"a notice does not count", []text{{"LICENSE", string(bsd)}, {"NOTICE", "by somebody"}}, []string{"BSD-3-Clause"}, ""},
		{"one that is not fit", []text{{"COPYING", copyleft}}, nil, "not among those that are fit"},
		{"terms that are added", []text{{"LICENSE", string(bsd) + strings.Repeat("You must sing on Sundays, loudly. ", 60)}}, nil, "read it"},
		{"nothing that is known", []text{{"LICENSE", "all rights reserved"}}, nil, "no text of a licence"},
		{"no text", nil, nil, "no text of a licence"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := judge(tt.texts)
			if tt.err == "" && err != nil || tt.err != "" && (err == nil || !strings.Contains(err.Error(), tt.err)) {
				t.Fatalf("error is %v, want %q", err, tt.err)
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("licences are %v, want %v", got, tt.want)
			}
		})
	}
}

func TestWhatIsLinkedIntoAProgramIsListed(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	modules, err := linked([]string{self, self})
	if err != nil || len(modules) < 2 || modules[0].path != goItself || modules[1].path != "github.com/google/licensecheck" || len(modules) != 2 {
		t.Fatalf("modules are %v, %v", modules, err)
	}
	var all []license
	for _, m := range modules {
		l, err := of(m)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, l)
	}
	out := render(all)
	if !strings.Contains(out, "github.com/google/licensecheck "+modules[1].version+"  BSD-3-Clause") || strings.Count(out, "Redistribution and use in source and binary forms") != 2 {
		t.Errorf("the file is %s", out)
	}
}
