// Package explain says in words what a launch decides and gives, for the staging log and for
// env --explain.
package explain

import (
	"crypto/x509"
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

// Section is a heading with its lines.
type Section struct {
	Title string
	Lines []string
}

func (s *Section) add(format string, args ...any) {
	s.Lines = append(s.Lines, fmt.Sprintf(format, args...))
}

// Plan explains a plan and what the app is given under it. A line may contain anything that is in a
// binding. An error means that the trust store cannot be read.
func Plan(app current.App, handout *client.Handout, now time.Time) (sections []Section, warnings []string, err error) {
	bound, warned, err := databases(app, now)
	return []Section{bound, given(app, handout)}, slices.Concat(app.Plan.Warnings, warned, handout.Warnings), err
}

func databases(app current.App, now time.Time) (s Section, warnings []string, err error) {
	s.Title = "Postgres databases"
	if len(app.Plan.Databases) == 0 {
		s.add("no Postgres database is bound yet; bind one later and restart the app, no restage is needed")
	}
	if len(app.Plan.Others) > 0 {
		s.add("not Postgres: %s", strings.Join(app.Plan.Others, ", "))
	}
	for _, db := range app.Plan.Databases {
		title := db.Title()
		if !db.Main {
			title += ", which decides nothing: the service has another main database"
		}
		mode := "none: " + db.Source.String()
		if db.Mode != sslmode.None {
			mode = db.Mode.String() + ", from " + db.Source.String()
		}
		host := "none in the credentials"
		if len(db.Hosts) > 0 {
			host = strings.Join(db.Hosts, ", ")
		}
		certs, err := app.Store.Certificates(db.Trust.Sets...)
		if err != nil {
			return s, nil, err
		}
		expiry, soon := first(append(certs, db.Trust.Own...), now)
		s.add("%s", title)
		s.add("  host     %s", host)
		s.add("  sslmode  %s", mode)
		s.add("  trusts   %s%s", trusted(db.Trust, len(certs)), expiry)
		if soon != "" {
			warnings = append(warnings, db.Name+": "+soon)
		}
		if db.Trust.Unseen {
			warnings = append(warnings, db.Title()+": its CA cannot be seen from here, so the variables that name it are not shown: "+db.Trust.Why)
		}
		for _, host := range db.Hosts {
			if meant, typo := typoOfRDS(host); typo {
				warnings = append(warnings, fmt.Sprintf("%s: the host %s is not an RDS endpoint; did you mean %s?", db.Title(), host, meant))
				break
			}
		}
	}
	return s, warnings, nil
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

// expiryWarning is how long before its end a root certificate gets a warning.
const expiryWarning = 90 * 24 * time.Hour

// first says when the first root expires, and warns if that is soon.
func first(roots []*x509.Certificate, now time.Time) (expiry, warning string) {
	end := truststore.EarliestExpiry(roots)
	if end.IsZero() {
		return "", ""
	}
	day := end.Format(time.DateOnly)
	if end.Before(now.Add(expiryWarning)) {
		warning = "a root certificate in use expires on " + day + "; renew it before that day"
	}
	return ", first root expires " + day, warning
}

// typoOfRDS says whether a host ends like an RDS endpoint without the "aws" in amazonaws.com, and
// which is meant. Many people copy this from a blog post.
func typoOfRDS(host string) (meant string, typo bool) {
	name, typo := strings.CutSuffix(host, ".rds.amazon.com")
	return name + ".rds.amazonaws.com", typo
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
		s.add("%s", line)
	}
	if tunnel := app.Plan.DescribeTunnel(); tunnel != "" {
		s.add("%s", tunnel)
	}
	if len(app.Plan.Databases) > 0 && !handout.Gives("PGSSLMODE") && !handout.Gives("DB_SSL_MODE") {
		s.add("DB_SSL_MODE and PGSSLMODE are not set: put an sslmode into the binding, or set POSTGRES_SSL_MODE")
	}
	return s
}
