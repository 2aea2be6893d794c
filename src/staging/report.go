package staging

import (
	"github.com/cloudfoundry/libbuildpack"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/explain"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/plain"
)

// report logs sections.
func report(log *libbuildpack.Logger, sections ...explain.Section) {
	for _, s := range sections {
		if len(s.Lines) == 0 {
			continue
		}
		log.BeginStep("%s", s.Title)
		for _, line := range s.Lines {
			log.Info("%s", plain.Line(line))
		}
		for _, w := range s.Warnings {
			log.Warning("%s", plain.Line(w))
		}
	}
}
