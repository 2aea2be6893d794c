// Package explain says in words what a launch decides and gives.
package explain

import (
	"cmp"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/client"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/current"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/launch"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/plain"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/sslmode"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/truststore"
)

// Section is a heading with its lines and warnings. A line may contain anything that is in a binding.
type Section struct {
	Title           string
	Lines, Warnings []string
}

// Add and Warn add a line and a warning.
func (s *Section) Add(format string, args ...any) {
	s.Lines = append(s.Lines, fmt.Sprintf(format, args...))
}

func (s *Section) Warn(format string, args ...any) {
	s.Warnings = append(s.Warnings, fmt.Sprintf(format, args...))
}

// Say hands the sections that have something to say, made printable, to those who print them.
func Say(sections []Section, title, line, warning func(format string, args ...any)) {
	for _, s := range sections {
		if len(s.Lines)+len(s.Warnings) > 0 {
			title("%s", s.Title)
		}
		for _, l := range s.Lines {
			line("%s", plain.Line(l))
		}
		for _, w := range s.Warnings {
			warning("%s", plain.Line(w))
		}
	}
}

// Plan explains a plan and what the app is given under it, with all warnings at the end. It fails if
// the trust store cannot be read.
func Plan(app current.App, handout *client.Handout, now time.Time) ([]Section, error) {
	bound, gives := Section{Title: "Postgres databases"}, given(app, handout)
	gives.Warnings = slices.Clone(app.Plan.Warnings)
	if len(app.Plan.Databases) == 0 {
		bound.Add("no Postgres database is bound yet; bind one later and restart the app, no restage is needed")
	}
	if len(app.Plan.Others) > 0 {
		bound.Add("not Postgres: %s", strings.Join(app.Plan.Others, ", "))
	}
	for _, db := range app.Plan.Databases {
		title, mode, expiry := db.Title(), "none: ", ""
		if !db.Main {
			title += ", which decides nothing: the service has another main database"
		}
		if db.Mode != sslmode.None {
			mode = db.Mode.String() + ", from "
		}
		certs, err := app.Store.Certificates(db.Trust.Sets...)
		if err != nil {
			return nil, err
		}
		if end := truststore.EarliestExpiry(append(certs, db.Trust.Own...)); !end.IsZero() {
			expiry = ", first root expires " + plain.Day(end)
			if end.Before(now.AddDate(0, 0, 90)) {
				gives.Warn("%s: a root certificate in use expires on %s; renew it before that day", db.Name, plain.Day(end))
			}
		}
		bound.Add("%s", title)
		bound.Add("  host     %s", cmp.Or(strings.Join(db.Hosts, ", "), "none in the credentials"))
		bound.Add("  sslmode  %s%s", mode, db.Source)
		bound.Add("  trusts   %s%s", trusted(db.Trust, len(certs)), expiry)
		if db.Trust.Unseen {
			gives.Warn("%s: its CA cannot be seen from here, so the variables that name it are not shown: %s", db.Title(), db.Trust.Why)
		}
		for _, host := range db.Hosts { // many people copy this from a blog post
			if name, typo := strings.CutSuffix(host, ".rds.amazon.com"); typo {
				gives.Warn("%s: the host %s is not an RDS endpoint; did you mean %s.rds.amazonaws.com?", db.Title(), host, name)
			}
		}
	}
	gives.Warnings = append(gives.Warnings, handout.Warnings...)
	return []Section{bound, gives}, nil
}

// trusted says which CAs are trusted, and why. n are in this buildpack.
func trusted(t launch.Trust, n int) string {
	if t.Unseen {
		return t.Why
	}
	var who []string
	if len(t.Own) > 0 {
		who = append(who, "its own "+plain.Count(len(t.Own), "CA"))
	}
	if n > 0 {
		who = append(who, plain.Count(n, "CA")+" in this buildpack")
	}
	if t.Everyone {
		who = append(who, "the stack's store", "the platform's store")
	}
	return strings.Join(who, ", ") + " (" + t.Why + ")"
}

func given(app current.App, handout *client.Handout) Section {
	s := Section{Title: "At launch, with these bindings"}
	for _, v := range handout.Variables {
		// In the app's shell, $DEPS_DIR is the folder of all buildpacks.
		line := strings.ReplaceAll(v.String(), filepath.Dir(filepath.Dir(app.Store.Dir))+"/", "$DEPS_DIR/")
		if v.Kept {
			line += " stays"
		}
		if v.Why != "" {
			line += ", " + v.Why
		}
		s.Add("%s", line)
	}
	if why := app.Seen.PGSSLSays; why != "" && app.Plan.Mode.Encrypts() && !handout.Gives("PGSSL") {
		s.Add("PGSSL is not given, since %s", why)
	}
	if tunnel, _ := app.Plan.DescribeTunnel(); tunnel != "" {
		s.Add("%s", tunnel)
	} else if app.Elsewhere && len(app.Plan.Databases) > 0 {
		s.Add("the app's files are not seen from here: postgres-ssl drivers DIR says whether they bring the tunnel")
	}
	if len(app.Plan.Databases) > 0 && !handout.Gives("PGSSLMODE") && !handout.Gives("DB_SSL_MODE") {
		s.Add("DB_SSL_MODE and PGSSLMODE are not set: put an sslmode into the binding, or set POSTGRES_SSL_MODE")
	}
	return s
}
