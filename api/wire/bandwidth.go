package wire

import (
	"fmt"
	"time"
)

// MaxWindows bounds the windows of a Bandwidth.
const MaxWindows = 24

// Bandwidth caps restic; 0 means no cap. Unit: KiB per second, as restic's --limit-upload.
type Bandwidth struct {
	UploadKBps   int `json:"uploadKBps,omitempty"`
	DownloadKBps int `json:"downloadKBps,omitempty"`
	// Windows hold other caps by the time of day; the first that holds the time counts. What a window leaves at 0 is not capped in it.
	Windows []BandwidthWindow `json:"windows,omitempty"`
	// TimeZone of the windows, an IANA name; empty means UTC.
	TimeZone string `json:"timeZone,omitempty"`
}

// BandwidthWindow is a part of each day, From inclusive, To exclusive; it may go over midnight.
type BandwidthWindow struct {
	// From and To are "15:04"; To may be "24:00".
	From         string `json:"from"`
	To           string `json:"to"`
	UploadKBps   int    `json:"uploadKBps,omitempty"`
	DownloadKBps int    `json:"downloadKBps,omitempty"`
}

// IsZero says that nothing is set: another Bandwidth may count instead.
func (b Bandwidth) IsZero() bool {
	return b.UploadKBps == 0 && b.DownloadKBps == 0 && len(b.Windows) == 0 && b.TimeZone == ""
}

// At returns the caps that hold at an instant; 0 means no cap. A time zone that this machine does not know counts as UTC.
func (b Bandwidth) At(t time.Time) (uploadKBps, downloadKBps int) {
	zone, err := time.LoadLocation(b.TimeZone)
	if err != nil {
		zone = time.UTC
	}
	local := t.In(zone)
	now := local.Hour()*60 + local.Minute()
	for _, w := range b.Windows {
		from, errFrom := minuteOf(w.From)
		to, errTo := minuteOf(w.To)
		if errFrom != nil || errTo != nil {
			continue
		}
		if from < to && now >= from && now < to || from >= to && (now >= from || now < to) {
			return w.UploadKBps, w.DownloadKBps
		}
	}
	return b.UploadKBps, b.DownloadKBps
}

// minuteOf parses "15:04" or "24:00" to the minute of the day.
func minuteOf(text string) (int, error) {
	if text == "24:00" {
		return 24 * 60, nil
	}
	t, err := time.Parse("15:04", text)
	if err != nil || len(text) != len("15:04") {
		return 0, fmt.Errorf("%q is not a time of day: write it as 15:04", text)
	}
	return t.Hour()*60 + t.Minute(), nil
}

// Validate checks caps and windows.
func (b Bandwidth) Validate() error {
	var c checks
	c.that(b.UploadKBps >= 0 && b.DownloadKBps >= 0, "a cap is negative")
	c.count("windows", len(b.Windows), MaxWindows)
	c.optionalName("timeZone", b.TimeZone)
	for i, w := range b.Windows {
		field := fmt.Sprintf("windows[%d]", i)
		_, err := minuteOf(w.From)
		c.nested(field+".from", err)
		_, err = minuteOf(w.To)
		c.nested(field+".to", err)
		c.that(w.From != w.To, "%s: from and to are equal; leave the window out, or write 00:00 to 24:00", field)
		c.that(w.UploadKBps >= 0 && w.DownloadKBps >= 0, "%s: a cap is negative", field)
	}
	return c.err
}
