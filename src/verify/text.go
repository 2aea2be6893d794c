package verify

import (
	"cmp"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/plain"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/sslmode"
)

// page is the report for people: aligned, one block per database.
type page struct {
	strings.Builder
	coloured bool
}

const red, green, yellow = "31", "32", "33" // in ECMA-48

// paint wraps a text in the sequences for a colour, or leaves it as it is.
func (p *page) paint(colour, text string) string {
	if !p.coloured || colour == "" {
		return text
	}
	return "\x1b[" + colour + "m" + text + "\x1b[0m"
}

func (p *page) row(colour, label, format string, args ...any) {
	pad := strings.Repeat(" ", 13-len(label)) // Fprintf would count the bytes of a colour
	fmt.Fprintf(p, "  %s%s\n", p.paint(colour, label)+pad, fmt.Sprintf(format, args...))
}

// Write writes the report for people, with colours if coloured is set.
func (r Report) Write(out io.Writer, coloured bool) error {
	p := &page{coloured: coloured}
	for i, db := range r.Databases {
		if i > 0 {
			p.WriteString("\n")
		}
		p.database(db)
	}
	if len(r.Drivers) > 0 {
		p.WriteString("\nPostgres drivers in the app's files; what each of them verifies is not seen from here\n  " +
			strings.Join(r.Drivers, "\n  ") + "\n")
	}
	if len(r.Warnings) > 0 {
		p.WriteString("\n")
	}
	for _, w := range r.Warnings {
		p.WriteString(p.paint(yellow, "warning") + ": " + w + "\n")
	}
	_, err := io.WriteString(out, p.String())
	return err
}

func (p *page) database(db Database) {
	verdict := p.paint(green, "ok")
	mode, _ := sslmode.Parse(db.Mode) // None, if none is in force
	switch {
	case !db.OK:
		verdict = p.paint(red, "FAILED")
	case db.TLS == nil && mode.Encrypts(): // nobody is there, and nobody need be
		verdict = p.paint(yellow, "not verified")
	case db.Mode == "":
		verdict = p.paint(yellow, "no sslmode is in force")
	}
	fmt.Fprintf(p, "%s: %s\n", db.Name, verdict)
	if db.Host != "" {
		p.row("", "server", "%s port %d, database %s, user %s", db.Host, db.Port, cmp.Or(db.Database, "(the user's)"), cmp.Or(db.User, "(none)"))
	}
	if db.Mode == "" {
		p.row("", "sslmode", "none: %s", db.ModeSource)
	} else {
		p.row("", "sslmode", "%s, from %s", db.Mode, db.ModeSource)
	}
	if c := db.TLS; c != nil {
		p.row("", "connection", "%s, %s, %s", c.Version, c.Cipher, cmp.Or(c.Group, "RSA key exchange"))
	}
	if c := db.Certificate; c != nil {
		p.row("", "certificate", "%s, %s, %s", c.Subject, c.Key, c.expiry())
		p.row("", "  names", "%s", cmp.Or(plain.List(c.Names, 10), "none"))
		p.row("", "  issuer", "%s", c.Issuer)
		p.row("", "  SHA-256", "%s", c.Fingerprint)
	}
	if r := db.Root; r != nil {
		p.row("", "verified to", "%s, %s", r.Subject, r.expiry())
		p.row("", "  from", "%s", r.Origin)
	}
	label := "modes"
	for _, o := range db.Modes {
		result := p.paint(colourOf[o.Result], o.Result)
		if o.Why != "" {
			result += ": " + o.Why
		}
		if o.Mode == db.Mode {
			result += "  <- in force"
		}
		p.row("", label, "%-12s %s", o.Mode, result)
		label = ""
	}
	if db.Sessions != nil {
		p.row("", "sessions", "%d of user %s", len(db.Sessions), db.User)
		p.sessions(db.Sessions)
	}
	for _, o := range db.OtherHosts {
		state := p.paint(green, "ok")
		if o.Problem != nil {
			state = p.paint(red, o.Problem.Code)
		}
		p.row("", "further host", "%s port %d: %s", o.Host, o.Port, state)
	}
	for _, w := range db.Warnings {
		p.row(yellow, "warning", "%s", w)
	}
	for _, problem := range db.Problems {
		p.row(red, "problem", "%s", problem.What)
		p.row("", "  what to do", "%s", problem.Do)
	}
}

func (c Issued) expiry() string {
	if c.DaysLeft < 0 {
		return "expired " + c.NotAfter
	}
	return fmt.Sprintf("expires %s, in %s", c.NotAfter, plain.Count(c.DaysLeft, "day"))
}

var colourOf = map[string]string{Works: green, Refused: green, Accepted: yellow, Unknown: yellow, Fails: red}

// inTable is how the table of sessions shows a transport.
var inTable = map[string]string{OverTLS: "yes", OverPlain: "NO", OverSocket: "socket", Hidden: "?"}

func (p *page) sessions(sessions []Session) {
	var table strings.Builder
	w := tabwriter.NewWriter(&table, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "database\tpid\tapplication\taddress\tTLS\tversion\tcipher\tbits")
	for _, s := range sessions {
		bits := strings.TrimPrefix(strconv.Itoa(s.Bits), "0")
		fmt.Fprintf(w, "%s\t%d\t%s\t%s\t%s\t%s\t%s\t%s\n",
			s.Database, s.PID, s.Application, s.Address, inTable[s.Transport], s.Version, s.Cipher, bits)
	}
	w.Flush() // a Builder takes everything
	for line := range strings.Lines(table.String()) {
		p.WriteString("    " + strings.TrimRight(line, " \n") + "\n")
	}
}
