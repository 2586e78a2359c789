package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/restic-manager/restic-manager/test/swarm"
)

const (
	stored   = 10 // Hosts that are looked at
	storeRun = 100
)

// store measures what etcd holds of a Host and its ScheduleSet, with ten groups, and whether it grows with the number of backups.
func store(w *world) ([]row, error) {
	if err := w.storeBackups(0, groups); err != nil { // each group once
		return nil, err
	}
	before, err := w.storedBytes()
	if err != nil {
		return nil, err
	}
	if err := w.storeBackups(groups, storeRun); err != nil {
		return nil, err
	}
	after, err := w.storedBytes()
	if err != nil {
		return nil, err
	}
	const limit = 24 << 10
	growth := float64(after)/float64(before) - 1
	r := below("etcd bytes per host: Host and ScheduleSet, 10 groups, 100 backups", after.String(), after, limit, "≤ 24 KiB")
	r.note = fmt.Sprintf("%s after one backup of each group", before)
	return []row{r, below("its growth from 10 to 100 backups", fmt.Sprintf("%.1f %%", growth*100), growth, 0.02, "flat (≤ 2 %)")}, nil
}

// storeBackups lets the first Hosts run backups, one group after the other, each at another nominal minute.
func (w *world) storeBackups(from, to int) error {
	ctx, cancel := context.WithTimeout(w.ctx, patience)
	defer cancel()
	agents := w.fleet.Agents()[:min(stored, w.count)]
	for i := from; i < to; i++ {
		g := i % groups
		nominal := time.Date(2026, 3, 2, 0, i, 0, 0, time.UTC).Format("2006-01-02T15:04")
		for _, a := range agents {
			if err := a.Fire(scheduleName(g%schedules), groupName(g), nominal); err != nil {
				return err
			}
		}
		if err := w.fleet.WaitFor(ctx, "the results are stored", agents, swarm.Idle); err != nil {
			return err
		}
	}
	return nil
}

// storedBytes is the mean size of keys and values in etcd.
func (w *world) storedBytes() (size, error) {
	hosts := min(stored, w.count)
	var sum size
	for i := range hosts {
		for _, kind := range []string{"hosts", "schedulesets"} {
			n, err := w.storedObject(kind, w.fleet.Agent(i).Name())
			if err != nil {
				return 0, err
			}
			sum += n
		}
	}
	return sum / size(hosts), nil
}

func (w *world) storedObject(kind, name string) (size, error) {
	key := fmt.Sprintf("/registry/backup.restic-manager.io/%s/%s/%s", kind, namespace, name)
	question, err := json.Marshal(map[string]string{"key": base64.StdEncoding.EncodeToString([]byte(key))})
	if err != nil {
		return 0, err
	}
	request, err := http.NewRequestWithContext(w.ctx, http.MethodPost, w.CP.EtcdURL()+"/v3/kv/range", bytes.NewReader(question))
	if err != nil {
		return 0, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	var answer struct{ KVs []struct{ Key, Value []byte } }
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
		return 0, err
	}
	if len(answer.KVs) != 1 {
		return 0, fmt.Errorf("etcd has %d values of %s", len(answer.KVs), key)
	}
	return size(len(answer.KVs[0].Key) + len(answer.KVs[0].Value)), nil
}
