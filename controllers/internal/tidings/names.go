package tidings

import (
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

func namesIn(list client.ObjectList) []types.NamespacedName {
	var names []types.NamespacedName
	_ = meta.EachListItem(list, func(item runtime.Object) error { // the lists of this project all have items
		if object, ok := item.(client.Object); ok {
			names = append(names, client.ObjectKeyFromObject(object))
		}
		return nil
	})
	return names
}
