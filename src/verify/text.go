package verify

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/plain"
)

// Write writes the report for people: aligned, one block per database, with colours if colour is
// set.
func (r Report) Write(out io.Writer, colour bool) error {
	paint := painter(colour)
	var b strings.Builder
	for i, db := range r.Databases {
		if i > 0 {
			b.WriteString("\n")
		}
		db.write(&b, paint)
	}
	if len(r.Drivers) > 0 {
		b.WriteString("\nPostgres drivers in the app's files; what each of them verifies is not seen from here\n")
	}
	for _, d := range r.Drivers {
		b.WriteString("  " + d + "\n")
	}
	if len(r.Warnings) > 0 {
		b.WriteString("\n")
	}
	for _, w := range r.Warnings {
		b.WriteString(paint(yellow, "warning") + ": " + w + "\n")
	}
	_, err := io.WriteString(out, b.String())
	return err
}

const (
	red    = "31"
	green  = "32"
	yellow = "33"
)

// painter returns a function that wraps a text in ECMA-48's sequences for a colour, or leaves it as
// it is.
func painter(colour bool) func(code, text string) string {
	return func(code, text string) string {
		if !colour || text == "" {
			return text
		}
		return "\x1b[" + code + "m" + text + "\x1b[0m"
	}
}

func (db Database) write(b *strings.Builder, paint func(code, text string) string) {
	verdict := paint(green, "ok")
	if !db.OK {
		verdict = paint(red, "FAILED")
	}
	fmt.Fprintf(b, "%s: %s\n", db.Name, verdict)

	row := func(label, format string, args ...any) {
		fmt.Fprintf(b, "  %-12s %s\n", label, fmt.Sprintf(format, args...))
	}
	if db.Host != "" {
		row("server", "%s port %d, database %s, user %s", db.Host, db.Port, orNone(db.Database, "(the user's)"), orNone(db.User, "(none)"))
	}
	if db.Mode == "" {
		row("sslmode", "none: %s", db.ModeSource)
	} else {
		row("sslmode", "%s, from %s", db.Mode, db.ModeSource)
	}
	if db.TLS != nil {
		row("connection", "%s, %s, %s", db.TLS.Version, db.TLS.Cipher, orNone(db.TLS.Group, "RSA key exchange"))
	}
	if c := db.Certificate; c != nil {
		row("certificate", "%s, %s, %s", c.Subject, c.Key, expiry(c.NotAfter, c.DaysLeft))
		row("  names", "%s", orNone(plain.List(c.Names, 10), "none"))
		row("  issuer", "%s", c.Issuer)
		row("  SHA-256", "%s", c.Fingerprint)
	}
	if r := db.Root; r != nil {
		row("verified to", "%s, %s", r.Subject, expiry(r.NotAfter, r.DaysLeft))
		row("  from", "%s", r.Origin)
	}
	for i, o := range db.Modes {
		db.writeOutcome(row, i, o, paint)
	}
	db.writeSessions(b, paint)
	for _, o := range db.OtherHosts {
		state := paint(green, "ok")
		if o.Problem != nil {
			state = paint(red, o.Problem.Code)
		}
		row("further host", "%s port %d: %s", o.Host, o.Port, state)
	}
	for _, w := range db.Warnings {
		row(pad(paint, yellow, "warning"), "%s", w)
	}
	for _, p := range db.Problems {
		row(pad(paint, red, "problem"), "%s", p.What)
		row("  what to do", "%s", p.Do)
	}
}

func expiry(day string, left int) string {
	if left < 0 {
		return "expired " + day
	}
	return fmt.Sprintf("expires %s, in %s", day, plain.Count(left, "day"))
}

// pad paints a label and pads it. Fprintf's padding would count the colour's bytes.
func pad(paint func(code, text string) string, code, label string) string {
	const width = 12
	return paint(code, label) + strings.Repeat(" ", width-len(label))
}

func (db Database) writeOutcome(row func(label, format string, args ...any), i int, o Outcome, paint func(code, text string) string) {
	label := ""
	if i == 0 {
		label = "modes"
	}
	code := green
	switch o.Result {
	case Accepted, Unknown:
		code = yellow
	case Fails:
		code = red
	}
	line := fmt.Sprintf("%-12s %s", o.Mode, paint(code, o.Result))
	if o.Why != "" {
		line += ": " + o.Why
	}
	if o.Mode == db.Mode {
		line += "  <- in force"
	}
	row(label, "%s", line)
}

// writeSessions writes the table of sessions.
func (db Database) writeSessions(b *strings.Builder, paint func(code, text string) string) {
	if db.Sessions == nil {
		return
	}
	fmt.Fprintf(b, "  %-12s %s\n", "sessions", fmt.Sprintf("%d of user %s", len(db.Sessions), db.User))
	table := [][]string{{"database", "pid", "application", "address", "TLS", "version", "cipher", "bits"}}
	for _, s := range db.Sessions {
		bits, shown := "", ""
		if s.Bits > 0 {
			bits = strconv.Itoa(s.Bits)
		}
		switch s.Transport {
		case OverTLS:
			shown = "yes"
		case OverPlain:
			shown = "NO"
		case OverSocket:
			shown = "socket"
		default:
			shown = "?"
		}
		table = append(table, []string{s.Database, strconv.Itoa(s.PID), s.Application, s.Address, shown, s.Version, s.Cipher, bits})
	}
	widths := make([]int, len(table[0]))
	for _, cells := range table {
		for i, cell := range cells {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	for n, cells := range table {
		line := ""
		for i, cell := range cells {
			line += cell + strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell)+2)
		}
		line = strings.TrimRight(line, " ")
		if n > 0 && (db.Sessions[n-1].Transport == OverPlain || db.Sessions[n-1].Transport == Hidden) {
			line = paint(red, line)
		}
		b.WriteString("    " + line + "\n")
	}
}

func orNone(text, none string) string {
	if text == "" {
		return none
	}
	return text
}
