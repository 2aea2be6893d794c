package drivers

import (
	"cmp"
	"fmt"
	"slices"
)

// mostShown limits how many drivers and skipped files a log shows. An app has one or two drivers,
// but a lock file may have anything.
const mostShown = 50

// Lines describes the drivers for people: one line each, and a warning for each one that the app
// asks for and that does not do as the mode says. They have the app's own words, so print them with
// plain.Line.
func Lines(found []Found, skipped []Skipped, app App) (lines, warnings []string) {
	if len(found) == 0 {
		lines = append(lines, "none recognised; postgres-ssl verify shows who is connected in plain text")
	}
	// If there are too many to show, those with a warning come first.
	more := max(len(found)-mostShown, 0)
	if more > 0 {
		found = slices.Clone(found)
		slices.SortStableFunc(found, func(a, b Found) int {
			return cmp.Compare(min(len(Judge(b, app).Warning), 1), min(len(Judge(a, app).Warning), 1))
		})
	}
	found = found[:len(found)-more]
	rows := make([][3]string, len(found))
	widths := [2]int{19, 20}
	unreached := false
	for i, f := range found {
		verdict := Judge(f, app)
		rows[i] = [3]string{f.Title(), f.File, verdict.Says}
		for column := range widths {
			widths[column] = max(widths[column], len([]rune(rows[i][column])))
		}
		if verdict.Warning != "" {
			warnings = append(warnings, verdict.Warning)
			unreached = unreached || !f.Driver.Answer.CanBeTold()
		}
	}
	if unreached {
		warnings = append(warnings, "POSTGRES_SSL_TUNNEL=yes encrypts and verifies for each driver that reads no variable, with no change to the app")
	}
	for _, row := range rows {
		lines = append(lines, fmt.Sprintf("%-*s  %-*s  %s", widths[0], row[0], widths[1], row[1], row[2]))
	}
	if more > 0 {
		lines = append(lines, fmt.Sprintf("and %d more", more))
	}
	for _, s := range skipped[:min(len(skipped), mostShown)] {
		lines = append(lines, s.File+" is skipped: "+s.Why)
	}
	return lines, warnings
}
