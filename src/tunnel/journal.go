package tunnel

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/plain"
)

// journal writes the tunnel's lines in the app's log, each cause once a minute at most. It never
// blocks, even if nobody reads the log. Then it drops lines.
type journal chan entry

type entry struct{ cause, line string }

func newJournal(out io.Writer) journal {
	j := make(journal, 64)
	go func() {
		said := map[string]time.Time{}
		for e := range j {
			if now := time.Now(); now.Sub(said[e.cause]) >= time.Minute {
				if len(said) >= 1000 { // a server could invent causes
					clear(said)
				}
				said[e.cause] = now
				fmt.Fprintf(out, "postgres-ssl tunnel: %s\n", plain.Line(e.line))
			}
		}
	}()
	return j
}

func (j journal) say(database, cause, line string) {
	select {
	case j <- entry{database + " " + cause, strings.TrimPrefix(database+": "+line, ": ")}:
	default:
	}
}
