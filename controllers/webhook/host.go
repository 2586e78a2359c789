package webhook

import (
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/restic-manager/restic-manager/api/resticenv"
	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/controllers/compile"
	"github.com/restic-manager/restic-manager/controllers/internal/convert"
)

var hosts = judge[*v1alpha1.Host]{refuse: refuseHost}

func refuseHost(host *v1alpha1.Host) field.ErrorList {
	var errs field.ErrorList
	add := func(path string, err error) {
		if err != nil {
			errs = append(errs, invalid(path, err.Error()))
		}
	}
	_, err := resticenv.Backend(host.Spec.Repository.URL)
	add("spec.repository.url", err)
	add("spec.bandwidth", compile.Bandwidth(host).Validate())
	if hooks := compile.Hooks(host.Spec.Hooks); hooks != nil {
		add("spec.hooks", hooks.Validate())
	}
	if keys := host.Spec.Identity; keys != nil {
		_, err := convert.Identity(keys)
		add("spec.identity", err)
	}
	return append(errs, fieldErrors(compile.CheckHost(host))...)
}
