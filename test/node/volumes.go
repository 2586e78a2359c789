package node

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// volumes are those of one Pod, each a folder.
type volumes struct {
	client kubernetes.Interface
	pod    *corev1.Pod
	dir    string
	token  string // asked for once
}

// payload is the content of a volume: what each file holds.
type payload struct {
	files map[string][]byte
	mode  os.FileMode
}

// folder is where a volume is on the node.
func (v *volumes) folder(name string) string { return filepath.Join(v.dir, name) }

// sync writes all volumes, or what has changed in them. An error is what a kubelet would wait for, such as a Secret that is not there.
func (v *volumes) sync(ctx context.Context) error {
	for _, volume := range v.pod.Spec.Volumes {
		if volume.EmptyDir != nil {
			if err := v.empty(volume.Name); err != nil {
				return err
			}
			continue
		}
		content, err := v.content(ctx, volume)
		if err != nil {
			return fmt.Errorf("volume %s: %w", volume.Name, err)
		}
		if err := v.write(volume.Name, content); err != nil {
			return fmt.Errorf("volume %s: %w", volume.Name, err)
		}
	}
	return nil
}

func (v *volumes) empty(name string) error {
	folder := v.folder(name)
	if err := os.MkdirAll(folder, 0o777); err != nil {
		return err
	}
	if err := os.Chmod(folder, 0o777); err != nil {
		return err
	}
	return v.own(folder)
}

// own gives a path to the group of the Pod's volumes.
func (v *volumes) own(path string) error {
	if s := v.pod.Spec.SecurityContext; s != nil && s.FSGroup != nil {
		return os.Chown(path, 0, int(*s.FSGroup))
	}
	return nil
}

func (v *volumes) content(ctx context.Context, volume corev1.Volume) (*payload, error) {
	switch {
	case volume.Secret != nil:
		return v.secret(ctx, volume.Secret.SecretName, volume.Secret.Items, volume.Secret.DefaultMode, volume.Secret.Optional)
	case volume.ConfigMap != nil:
		return v.configMap(ctx, volume.ConfigMap.Name, volume.ConfigMap.Items, volume.ConfigMap.DefaultMode, volume.ConfigMap.Optional)
	case volume.DownwardAPI != nil:
		return v.downward(volume.DownwardAPI.Items, volume.DownwardAPI.DefaultMode)
	case volume.Projected != nil:
		return v.projected(ctx, volume.Projected)
	}
	return nil, fmt.Errorf("this node does not know its type")
}

func (v *volumes) secret(ctx context.Context, name string, items []corev1.KeyToPath, mode *int32, optional *bool) (*payload, error) {
	secret, err := v.client.CoreV1().Secrets(v.pod.Namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return missing(mode, optional, err)
	}
	return pick(secret.Data, items, mode)
}

func (v *volumes) configMap(ctx context.Context, name string, items []corev1.KeyToPath, mode *int32, optional *bool) (*payload, error) {
	configMap, err := v.client.CoreV1().ConfigMaps(v.pod.Namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return missing(mode, optional, err)
	}
	data := map[string][]byte{}
	for key, value := range configMap.Data {
		data[key] = []byte(value)
	}
	return pick(data, items, mode)
}

func missing(mode *int32, optional *bool, err error) (*payload, error) {
	if optional != nil && *optional {
		return pick(nil, nil, mode)
	}
	return nil, err
}

func pick(data map[string][]byte, items []corev1.KeyToPath, mode *int32) (*payload, error) {
	p := &payload{files: map[string][]byte{}, mode: 0o644}
	if mode != nil {
		p.mode = os.FileMode(*mode)
	}
	if len(items) == 0 {
		p.files = data
		return p, nil
	}
	for _, item := range items {
		value, ok := data[item.Key]
		if !ok {
			return nil, fmt.Errorf("there is no key %s", item.Key)
		}
		p.files[item.Path] = value
	}
	return p, nil
}

func (v *volumes) downward(items []corev1.DownwardAPIVolumeFile, mode *int32) (*payload, error) {
	p, err := pick(map[string][]byte{}, nil, mode)
	if err != nil {
		return nil, err
	}
	for _, item := range items {
		value, err := field(v.pod, item.FieldRef)
		if err != nil {
			return nil, err
		}
		p.files[item.Path] = []byte(value)
	}
	return p, nil
}

func (v *volumes) projected(ctx context.Context, source *corev1.ProjectedVolumeSource) (*payload, error) {
	all, err := pick(map[string][]byte{}, nil, source.DefaultMode)
	if err != nil {
		return nil, err
	}
	for _, s := range source.Sources {
		var part *payload
		switch {
		case s.ServiceAccountToken != nil:
			token, err := v.serviceAccountToken(ctx, s.ServiceAccountToken)
			if err != nil {
				return nil, err
			}
			part = &payload{files: map[string][]byte{s.ServiceAccountToken.Path: []byte(token)}}
		case s.Secret != nil:
			part, err = v.secret(ctx, s.Secret.Name, s.Secret.Items, nil, s.Secret.Optional)
		case s.ConfigMap != nil:
			part, err = v.configMap(ctx, s.ConfigMap.Name, s.ConfigMap.Items, nil, s.ConfigMap.Optional)
		case s.DownwardAPI != nil:
			part, err = v.downward(s.DownwardAPI.Items, nil)
		default:
			err = fmt.Errorf("this node does not know a projected source of it")
		}
		if err != nil {
			return nil, err
		}
		maps.Copy(all.files, part.files)
	}
	return all, nil
}

func (v *volumes) serviceAccountToken(ctx context.Context, p *corev1.ServiceAccountTokenProjection) (string, error) {
	if v.token != "" {
		return v.token, nil
	}
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{
		ExpirationSeconds: p.ExpirationSeconds,
		BoundObjectRef:    &authenticationv1.BoundObjectReference{APIVersion: "v1", Kind: "Pod", Name: v.pod.Name, UID: v.pod.UID},
	}}
	if p.Audience != "" {
		request.Spec.Audiences = []string{p.Audience}
	}
	answer, err := v.client.CoreV1().ServiceAccounts(v.pod.Namespace).CreateToken(ctx, v.pod.Spec.ServiceAccountName, request, metav1.CreateOptions{})
	if err != nil {
		return "", err
	}
	v.token = answer.Status.Token
	return v.token, nil
}

// write puts the files into a fresh folder and turns a link to it, so that a program never sees half of a change.
func (v *volumes) write(name string, p *payload) error {
	folder := v.folder(name)
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	link := filepath.Join(folder, "..data")
	if same(link, p.files) {
		return nil
	}
	fresh, err := os.MkdirTemp(folder, "..version-")
	if err != nil {
		return err
	}
	if err := os.Chmod(fresh, 0o755); err != nil {
		return err
	}
	old, _ := os.Readlink(link)
	for _, key := range slices.Sorted(maps.Keys(p.files)) {
		file := filepath.Join(fresh, key)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(file, p.files[key], 0o600); err != nil {
			return err
		}
		if err := v.own(file); err != nil {
			return err
		}
		if err := os.Chmod(file, v.mode(p.mode)); err != nil {
			return err
		}
		if err := os.Symlink(filepath.Join("..data", key), filepath.Join(folder, key)); err != nil && !os.IsExist(err) {
			return err
		}
	}
	next := filepath.Join(folder, "..next")
	if err := os.Symlink(filepath.Base(fresh), next); err != nil {
		return err
	}
	if err := os.Rename(next, link); err != nil {
		return err
	}
	if old != "" {
		return os.RemoveAll(filepath.Join(folder, old))
	}
	return nil
}

// mode lets the group of the Pod's volumes read what the owner may read, as a kubelet does.
func (v *volumes) mode(m os.FileMode) os.FileMode {
	if s := v.pod.Spec.SecurityContext; s != nil && s.FSGroup != nil {
		return m | 0o440
	}
	return m
}

func same(folder string, files map[string][]byte) bool {
	if _, err := os.Stat(folder); err != nil {
		return false
	}
	for key, want := range files {
		if got, err := os.ReadFile(filepath.Join(folder, key)); err != nil || string(got) != string(want) {
			return false
		}
	}
	return true
}
