package query

import (
	"fmt"
	"time"

	"github.com/restic-manager/restic-manager/api/wire"
)

// maxOpens is how often one query is answered: again when a connection broke, and not for as long as a gateway likes to repeat it.
const maxOpens = 20

// opens counts the openings of queries that are valid still, by uid. Each was signed by the controllers, which bounds it.
type opens map[string]opened

type opened struct {
	times    int
	notAfter time.Time
}

// take counts one more.
func (o opens) take(q *wire.HostQuery, now time.Time) (wire.RefusalReason, error) {
	for uid, x := range o {
		if now.After(x.notAfter) {
			delete(o, uid)
		}
	}
	x := o[q.UID]
	if x.times == maxOpens {
		return wire.RefusalAlreadyRun, fmt.Errorf("the query was answered %d times; make a new one", maxOpens)
	}
	o[q.UID] = opened{x.times + 1, q.NotAfter}
	return "", nil
}

const (
	quotaSize   = 100
	quotaPeriod = time.Hour
)

// quota lets so many through in each period.
type quota struct {
	since time.Time
	taken int
}

func (q *quota) take(now time.Time) bool {
	if now.Sub(q.since) > quotaPeriod || now.Before(q.since) {
		q.since, q.taken = now, 0
	}
	q.taken++
	return q.taken <= quotaSize
}
