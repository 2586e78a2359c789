package monitoring

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/cog/plugins"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"

	"github.com/restic-manager/restic-manager/test/env"
)

// The schema knows the kinds of panels and of queries, so the options of each panel are looked at too.
func TestTheDashboardKeepsToGrafanasSchema(t *testing.T) {
	plugins.RegisterDefaultPlugins()
	//lint:ignore SA1019 the classic schema is the one that every Grafana since 10 imports; the next one needs 12
	var d dashboard.Dashboard
	err := d.UnmarshalJSONStrict([]byte(read(t, dashboardFile(t))))
	// Without any error it is an empty list of errors, which is not nil.
	if list, isList := errors.AsType[cog.BuildErrors](err); err != nil && (!isList || len(list) > 0) {
		t.Fatal(err)
	}
	if err := d.Validate(); err != nil {
		t.Error(err)
	}
}

func TestPanelsDoNotOverlap(t *testing.T) {
	const width = 24
	type cell struct{ x, y int }
	taken := map[cell]string{}
	ids := map[int]string{}
	for _, panel := range readBoard(t).Panels {
		if other, found := ids[panel.ID]; found {
			t.Errorf("panels %q and %q have the same id %d", other, panel.Title, panel.ID)
		}
		ids[panel.ID] = panel.Title
		at := panel.GridPos
		if at.W <= 0 || at.H <= 0 || at.X+at.W > width {
			t.Errorf("panel %q does not fit: %+v", panel.Title, at)
		}
		for x := at.X; x < at.X+at.W; x++ {
			for y := at.Y; y < at.Y+at.H; y++ {
				if other, found := taken[cell{x, y}]; found {
					t.Fatalf("panels %q and %q overlap", other, panel.Title)
				}
				taken[cell{x, y}] = panel.Title
			}
		}
		if panel.Type != "row" && len(panel.Targets) == 0 {
			t.Errorf("panel %q asks for nothing", panel.Title)
		}
	}
}

// Each expression has an answer where there is trouble to show: an empty panel hides a mistake in a label.
func TestEveryPanelShowsSomething(t *testing.T) {
	e := newExporter(t)
	e.become("ill")
	p := startPrometheus(t, e, nil)
	for _, expression := range readBoard(t).expressions() {
		env.Eventually(t, time.Minute, expression.of+" shows something", func(ctx context.Context) error {
			samples, err := p.Query(ctx, expression.text)
			if err == nil && len(samples) == 0 {
				err = errors.New("no series for " + expression.text)
			}
			return err
		})
	}
	checkExported(t, p, scrapedInventory(t))
}
