package compile

import (
	"cmp"
	"time"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/api/wire"
)

// defaultHookTimeout is that of the schema, for a hook which was stored without it.
const defaultHookTimeout = 10 * time.Minute

// Bandwidth is the host's caps as the agent gets them. Windows in a time zone that does not exist count in UTC; CheckHost tells it.
func Bandwidth(host *v1alpha1.Host) wire.Bandwidth {
	compiled := bandwidth(host.Spec.Bandwidth)
	if checkZone(compiled.TimeZone) != nil {
		compiled.TimeZone = ""
	}
	return compiled
}

func bandwidth(b *v1alpha1.Bandwidth) wire.Bandwidth {
	if b == nil {
		return wire.Bandwidth{}
	}
	compiled := wire.Bandwidth{UploadKBps: int(b.UploadKBps), DownloadKBps: int(b.DownloadKBps), TimeZone: b.TimeZone}
	for _, w := range b.Windows {
		compiled.Windows = append(compiled.Windows, wire.BandwidthWindow{
			From: w.From, To: w.To, UploadKBps: int(w.UploadKBps), DownloadKBps: int(w.DownloadKBps),
		})
	}
	return compiled
}

// Hooks are as the agent gets them; nil for none.
func Hooks(h *v1alpha1.Hooks) *wire.Hooks {
	if h == nil {
		return nil
	}
	compiled := &wire.Hooks{PreBackup: hooks(h.PreBackup), PostBackup: hooks(h.PostBackup), OnFailure: hooks(h.OnFailure)}
	if !compiled.Any() {
		return nil
	}
	return compiled
}

func hooks(list []v1alpha1.Hook) []wire.Hook {
	var compiled []wire.Hook
	for _, h := range list {
		timeout := defaultHookTimeout
		if h.Timeout != nil {
			timeout = h.Timeout.Duration
		}
		compiled = append(compiled, wire.Hook{
			Command: h.Command,
			// What is left of a second counts as one: 0 would be refused.
			TimeoutSeconds: int64((timeout + time.Second - 1) / time.Second),
			OnError:        cmp.Or(string(h.OnError), wire.HookOnErrorFail),
		})
	}
	return compiled
}
