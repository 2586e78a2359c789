package node

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// sandboxOf says how a Pod's program is started. What the spec wants and this node cannot do is an error.
func sandboxOf(pod *corev1.Pod, image *ImageConfig, ip string, volumeFolder func(string) string) (*sandbox, error) {
	if len(pod.Spec.Containers) != 1 || len(pod.Spec.InitContainers) > 0 {
		return nil, fmt.Errorf("this node runs Pods with one container and no init containers")
	}
	c := &pod.Spec.Containers[0]
	s := &sandbox{Hostname: pod.Name, WorkingDir: "/", Command: append(append([]string{}, or(c.Command, image.Entrypoint)...), args(c, image)...)}
	if len(s.Command) == 0 {
		return nil, fmt.Errorf("neither the container nor its image names a command")
	}
	if c.WorkingDir != "" {
		s.WorkingDir = c.WorkingDir
	}
	if c.Lifecycle != nil {
		return nil, fmt.Errorf("this node knows no lifecycle hooks")
	}
	if err := s.user(pod, c, image); err != nil {
		return nil, err
	}
	if err := s.environment(pod, c, image, ip); err != nil {
		return nil, err
	}
	for _, m := range c.VolumeMounts {
		if m.SubPath != "" || m.SubPathExpr != "" {
			return nil, fmt.Errorf("volumeMounts %s: this node knows no subPath", m.Name)
		}
		s.Mounts = append(s.Mounts, mount{Source: volumeFolder(m.Name), Path: filepath.Clean(m.MountPath), ReadOnly: m.ReadOnly})
	}
	return s, nil
}

func or(first, second []string) []string {
	if len(first) > 0 {
		return first
	}
	return second
}

// args are the container's own; the image's count only with the image's command.
func args(c *corev1.Container, image *ImageConfig) []string {
	if len(c.Args) > 0 || len(c.Command) > 0 {
		return c.Args
	}
	return image.Cmd
}

func (s *sandbox) user(pod *corev1.Pod, c *corev1.Container, image *ImageConfig) error {
	uid, gid, _ := strings.Cut(image.User, ":")
	s.UID, _ = strconv.Atoi(uid)
	s.GID, _ = strconv.Atoi(gid)
	nonRoot := false
	if p := pod.Spec.SecurityContext; p != nil {
		set(&s.UID, p.RunAsUser)
		set(&s.GID, p.RunAsGroup)
		if p.FSGroup != nil {
			s.Groups = append(s.Groups, int(*p.FSGroup))
		}
		for _, g := range p.SupplementalGroups {
			s.Groups = append(s.Groups, int(g))
		}
		nonRoot = p.RunAsNonRoot != nil && *p.RunAsNonRoot
	}
	s.KeepCapabilities = true
	if p := c.SecurityContext; p != nil {
		set(&s.UID, p.RunAsUser)
		set(&s.GID, p.RunAsGroup)
		if p.RunAsNonRoot != nil {
			nonRoot = *p.RunAsNonRoot
		}
		s.ReadOnlyRoot = p.ReadOnlyRootFilesystem != nil && *p.ReadOnlyRootFilesystem
		s.NoNewPrivileges = p.AllowPrivilegeEscalation != nil && !*p.AllowPrivilegeEscalation
		if p.Capabilities != nil {
			if len(p.Capabilities.Add) > 0 || len(p.Capabilities.Drop) != 1 || p.Capabilities.Drop[0] != "ALL" {
				return fmt.Errorf("securityContext.capabilities: this node knows drop: [ALL] alone")
			}
			s.KeepCapabilities = false
		}
	}
	if nonRoot && s.UID == 0 {
		return fmt.Errorf("container has runAsNonRoot and image will run as root")
	}
	return nil
}

func set(to *int, from *int64) {
	if from != nil {
		*to = int(*from)
	}
}

func (s *sandbox) environment(pod *corev1.Pod, c *corev1.Container, image *ImageConfig, ip string) error {
	s.Env = append([]string{
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOSTNAME=" + pod.Name,
		"KUBERNETES_SERVICE_HOST=" + apiServerName, "KUBERNETES_SERVICE_PORT=443", "KUBERNETES_SERVICE_PORT_HTTPS=443",
	}, image.Env...)
	if len(c.EnvFrom) > 0 {
		return fmt.Errorf("this node knows no envFrom")
	}
	with := pod.DeepCopy()
	with.Status.PodIP = ip // known here before the API server knows it
	for _, e := range c.Env {
		value := e.Value
		if e.ValueFrom != nil {
			var err error
			if value, err = variable(with, c, e.ValueFrom); err != nil {
				return fmt.Errorf("env %s: %w", e.Name, err)
			}
		}
		s.Env = append(s.Env, e.Name+"="+value)
	}
	return nil
}

func variable(pod *corev1.Pod, c *corev1.Container, from *corev1.EnvVarSource) (string, error) {
	if r := from.ResourceFieldRef; r != nil && r.Resource == "limits.memory" && r.Divisor.IsZero() {
		return strconv.FormatInt(c.Resources.Limits.Memory().Value(), 10), nil
	}
	return field(pod, from.FieldRef)
}

// field is what a downward API reference stands for.
func field(pod *corev1.Pod, ref *corev1.ObjectFieldSelector) (string, error) {
	if ref == nil {
		return "", fmt.Errorf("this node knows fieldRef alone")
	}
	switch ref.FieldPath {
	case "metadata.name":
		return pod.Name, nil
	case "metadata.namespace":
		return pod.Namespace, nil
	case "metadata.uid":
		return string(pod.UID), nil
	case "spec.nodeName":
		return pod.Spec.NodeName, nil
	case "spec.serviceAccountName":
		return pod.Spec.ServiceAccountName, nil
	case "status.podIP":
		return pod.Status.PodIP, nil
	}
	return "", fmt.Errorf("this node does not know the field %s", ref.FieldPath)
}
