package staging

import (
	"crypto/x509"
	"fmt"
	"time"

	"github.com/cloudfoundry/libbuildpack"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/client"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/current"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/drivers"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/explain"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/plain"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/truststore"
)

// report logs what a launch with these bindings would do.
func report(log *libbuildpack.Logger, app current.App, handout *client.Handout, extra []*x509.Certificate) error {
	if len(extra) > 0 {
		log.BeginStep("Certificates of the platform team (ca/extra)")
		for _, c := range extra {
			log.Info("%s, expires %s", plain.Line(truststore.CommonName(c)), c.NotAfter.Format(time.DateOnly))
		}
	}
	sections, warnings, err := explain.Plan(app, handout, time.Now())
	if err != nil {
		return err
	}
	for _, section := range sections {
		log.BeginStep("%s", section.Title)
		for _, line := range section.Lines {
			log.Info("%s", plain.Line(line))
		}
	}
	for _, w := range warnings {
		log.Warning("%s", plain.Line(w))
	}
	return nil
}

// reportDrivers lists the app's Postgres drivers, and warns of those that no variable reaches. It
// never stops the staging.
func reportDrivers(log *libbuildpack.Logger, look drivers.Look, app drivers.App) {
	lines, warnings := look.Lines(app)
	log.BeginStep("Postgres drivers in this app")
	for _, line := range lines {
		log.Info("%s", plain.Line(line))
	}
	for _, warning := range warnings {
		log.Warning("%s", plain.Line(warning))
	}
}

// Fail logs the error that stops the staging.
func Fail(log *libbuildpack.Logger, err error) { log.Error("%s", plain.Line(fmt.Sprint(err))) }
