package selecting

import (
	"maps"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
)

// everyHost is the anchor of a selector that is not tied to a name or a label.
const everyHost = "*"

func nameKey(name string) string          { return "name:" + name }
func labelKey(label, value string) string { return "label:" + label + "=" + value }
func presentKey(label string) string      { return "has:" + label }

// keysOf are a Host's own.
func keysOf(host *v1alpha1.Host) []string {
	keys := make([]string, 0, 1+2*len(host.Labels))
	keys = append(keys, nameKey(host.Name))
	for label, value := range host.Labels {
		keys = append(keys, labelKey(label, value), presentKey(label))
	}
	return keys
}

// anchorsOf are keys of which each Host that the selector chooses has at least one; everyHost alone stands for any Host.
func anchorsOf(selector v1alpha1.Selector) []string {
	if ref := selector.HostRef; ref != nil {
		return []string{nameKey(ref.Name)}
	}
	if selector.HostSelector == nil {
		return nil // it chooses none
	}
	for _, label := range slices.Sorted(maps.Keys(selector.HostSelector.MatchLabels)) {
		return []string{labelKey(label, selector.HostSelector.MatchLabels[label])}
	}
	for _, r := range selector.HostSelector.MatchExpressions {
		if r.Operator == metav1.LabelSelectorOpIn && len(r.Values) > 0 {
			var anchors []string
			for _, value := range r.Values {
				anchors = append(anchors, labelKey(r.Key, value))
			}
			return anchors
		}
	}
	for _, r := range selector.HostSelector.MatchExpressions {
		if r.Operator == metav1.LabelSelectorOpExists {
			return []string{presentKey(r.Key)}
		}
	}
	return []string{everyHost}
}
