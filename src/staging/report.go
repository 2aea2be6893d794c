package staging

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/cloudfoundry/libbuildpack"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/client"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/drivers"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/launch"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/sslmode"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/truststore"
)

// report logs what a launch with these bindings would do.
func report(log *libbuildpack.Logger, plan *launch.Plan, handout *client.Handout, sets truststore.Sets, now time.Time) error {
	if extra := sets[truststore.Extra]; len(extra) > 0 {
		log.BeginStep("Certificates of the platform team (ca/extra)")
		for _, c := range extra {
			log.Info("%s, expires %s", Printable(truststore.CommonName(c)), c.NotAfter.Format(time.DateOnly))
		}
	}
	log.BeginStep("Postgres databases")
	if len(plan.Databases) == 0 {
		log.Info("no Postgres database is bound yet; bind one later and restart the app, no restage is needed")
	}
	warnings := plan.Warnings
	if len(plan.Others) > 0 {
		log.Info("not Postgres: %s", Printable(strings.Join(plan.Others, ", ")))
	}
	for _, db := range plan.Databases {
		trusted, warning, err := plan.Describe(db, now)
		if err != nil {
			return err
		}
		if warning != "" {
			warnings = append(warnings, warning)
		}
		mode := "none: " + db.Source.String()
		if db.Mode != sslmode.None {
			mode = db.Mode.String() + ", from " + db.Source.String()
		}
		host := strings.Join(db.Hosts, ", ")
		if host == "" {
			host = "none in the credentials"
		}
		if i := slices.IndexFunc(db.Hosts, isTypoOfRDS); i >= 0 {
			host := db.Hosts[i]
			meant := strings.Replace(host, ".rds.amazon.com", ".rds.amazonaws.com", 1)
			warnings = append(warnings, fmt.Sprintf("%s: the host %s is not an RDS endpoint; did you mean %s?",
				db.Title(), host, meant))
		}
		title := db.Title()
		if !db.Main {
			title += ", which decides nothing: the service has another main database"
		}
		log.Info("%s", Printable(title))
		for _, row := range [][2]string{{"host", host}, {"sslmode", mode}, {"trusts", trusted}} {
			log.Info("  %-8s %s", row[0], Printable(row[1]))
		}
	}

	log.BeginStep("At launch, with these bindings")
	moded := false
	for _, v := range handout.Variables {
		moded = moded || v.Name == "PGSSLMODE" || v.Name == "DB_SSL_MODE"
		if v.Kept {
			log.Info("%s stays, %s", shown(v), v.Why)
		} else {
			log.Info("%s", shown(v))
		}
	}
	if tunnel := plan.DescribeTunnel(); tunnel != "" {
		log.Info("%s", Printable(tunnel))
	}
	if len(plan.Databases) > 0 && !moded {
		log.Info("DB_SSL_MODE and PGSSLMODE are not set: put an sslmode into the binding, or set POSTGRES_SSL_MODE")
	}
	for _, w := range slices.Concat(warnings, handout.Warnings) {
		log.Warning("%s", Printable(w))
	}
	return nil
}

// reportDrivers lists the app's Postgres drivers, and warns of those that no variable reaches. It
// never stops the staging.
func reportDrivers(log *libbuildpack.Logger, dir string, app drivers.App) {
	found, skipped := drivers.FindIn(dir)
	lines, warnings := drivers.Lines(found, skipped, app)
	log.BeginStep("Postgres drivers in this app")
	for _, line := range lines {
		log.Info("%s", Printable(line))
	}
	for _, warning := range warnings {
		log.Warning("%s", Printable(warning))
	}
}

// shown returns a variable for the log. In the app's shell, $DEPS_DIR is the folder of all
// buildpacks.
func shown(v client.Variable) string {
	return Printable(strings.ReplaceAll(v.String(), Home+"/deps/", "$DEPS_DIR/"))
}

// isTypoOfRDS says whether a host ends like an RDS endpoint without the "aws" in amazonaws.com.
// Many people copy this from a blog post.
func isTypoOfRDS(host string) bool { return strings.HasSuffix(host, ".rds.amazon.com") }

// Printable makes one line of a text that may come from a binding. Anybody can choose a name, and
// people read logs in terminals. It also replaces characters that change the direction of the text:
// they could make a line look like another one.
func Printable(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || 0x80 <= r && r < 0xa0 || r == 0x2028 || r == 0x2029 ||
			r == 0x200e || r == 0x200f || 0x202a <= r && r <= 0x202e || 0x2066 <= r && r <= 0x2069 {
			return '?'
		}
		return r
	}, strings.ToValidUTF8(text, "?"))
}

// Fail logs the error that stops the staging.
func Fail(log *libbuildpack.Logger, err error) { log.Error("%s", Printable(fmt.Sprint(err))) }
