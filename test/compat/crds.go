package compat

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"sigs.k8s.io/crdify/pkg/config"
	"sigs.k8s.io/crdify/pkg/runner"
	"sigs.k8s.io/crdify/pkg/validations"
	"sigs.k8s.io/yaml"
)

// Change is an incompatible change of a CRD.
type Change struct {
	// CRD is its file's name, and Version that of the API.
	CRD     string `json:"crd"`
	Version string `json:"version,omitempty"`
	// Path of the property, for instance ^.spec.cron.
	Path string `json:"path,omitempty"`
	// Check that found it: a validation of crdify, or CRDRemoved, VersionRemoved.
	Check string `json:"check"`
	// Why it is right all the same; in accepted.yaml.
	Why string `json:"why,omitempty"`

	problem string
}

// String tells where, and what.
func (c Change) String() string {
	return fmt.Sprintf("%s %s %s (%s): %s", c.CRD, c.Version, c.Path, c.Check, c.problem)
}

// covers tells whether an accepted change is this one.
func (c Change) covers(found Change) bool {
	return c.CRD == found.CRD && c.Version == found.Version && c.Path == found.Path && c.Check == found.Check && c.Why != ""
}

// Compare returns the incompatible changes between two folders of CRDs.
func Compare(before, after string) ([]Change, error) {
	olds, err := load(before)
	if err != nil {
		return nil, err
	}
	news, err := load(after)
	if err != nil {
		return nil, err
	}
	judge, err := newJudge()
	if err != nil {
		return nil, err
	}
	var changes []Change
	for file, old := range olds {
		now, ok := news[file]
		if !ok {
			changes = append(changes, Change{CRD: file, Check: "CRDRemoved", problem: "the kind is gone"})
			continue
		}
		changes = append(changes, removedVersions(file, old, now)...)
		changes = append(changes, incompatible(file, judge.Run(old, now))...)
	}
	slices.SortFunc(changes, func(a, b Change) int { return strings.Compare(a.String(), b.String()) })
	return changes, nil
}

// newJudge lets an enum grow and descriptions change.
func newJudge() (*runner.Runner, error) {
	c := &config.Config{Validations: []config.ValidationConfig{
		{Name: "description", Enforcement: config.EnforcementPolicyNone},
		{Name: "enum", Enforcement: config.EnforcementPolicyError, Configuration: map[string]any{"additionPolicy": "Allow"}},
	}}
	if err := config.ValidateConfig(c); err != nil {
		return nil, err
	}
	return runner.New(c, runner.DefaultRegistry())
}

func load(folder string) (map[string]*apiextensionsv1.CustomResourceDefinition, error) {
	files, err := filepath.Glob(filepath.Join(folder, "*.yaml"))
	if err != nil {
		return nil, err
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("%s holds no CRDs", folder)
	}
	all := make(map[string]*apiextensionsv1.CustomResourceDefinition, len(files))
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		crd := &apiextensionsv1.CustomResourceDefinition{}
		if err := yaml.UnmarshalStrict(raw, crd); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		all[filepath.Base(file)] = crd
	}
	return all, nil
}

// removedVersions finds versions that are not served any more: crdify asks the cluster which are stored, and there is none here.
func removedVersions(file string, before, after *apiextensionsv1.CustomResourceDefinition) []Change {
	var changes []Change
	for _, v := range before.Spec.Versions {
		if v.Served && !slices.ContainsFunc(after.Spec.Versions, func(now apiextensionsv1.CustomResourceDefinitionVersion) bool {
			return now.Name == v.Name && now.Served
		}) {
			changes = append(changes, Change{CRD: file, Version: v.Name, Check: "VersionRemoved", problem: "the version is not served any more"})
		}
	}
	return changes
}

func incompatible(file string, results *runner.Results) []Change {
	var changes []Change
	add := func(version, path string, found []validations.ComparisonResult) {
		for _, f := range found {
			for _, problem := range f.Errors {
				changes = append(changes, Change{CRD: file, Version: version, Path: path, Check: f.Name, problem: problem})
			}
		}
	}
	add("", "", results.CRDValidation)
	for _, versions := range []map[string]map[string][]validations.ComparisonResult{results.SameVersionValidation, results.ServedVersionValidation} {
		for version, paths := range versions {
			for path, found := range paths {
				add(version, path, found)
			}
		}
	}
	return changes
}

// Judge returns the changes that nobody accepted, and the acceptances that are for no change.
func Judge(found, accepted []Change) (refused, idle []Change) {
	for _, f := range found {
		if !slices.ContainsFunc(accepted, func(a Change) bool { return a.covers(f) }) {
			refused = append(refused, f)
		}
	}
	for _, a := range accepted {
		if !slices.ContainsFunc(found, a.covers) {
			idle = append(idle, a)
		}
	}
	return refused, idle
}
