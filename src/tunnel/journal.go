package tunnel

import (
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/staging"
)

// journal is the tunnel's part of the app's log: each cause once a minute. It never blocks: whoever reads the log may be slow, or gone.
type journal struct {
	lines chan string
	mutex sync.Mutex
	said  map[string]time.Time
}

func newJournal(out io.Writer) *journal {
	j := &journal{lines: make(chan string, 64), said: map[string]time.Time{}}
	go func() {
		for line := range j.lines {
			fmt.Fprintf(out, "postgres-ssl tunnel: %s\n", staging.Printable(line)) // a log that is gone is no reason to go
		}
	}()
	return j
}

func (j *journal) say(cause, line string) {
	j.mutex.Lock()
	defer j.mutex.Unlock()
	const most = 1000 // causes that are kept in mind; a server could invent new ones
	if len(j.said) >= most {
		clear(j.said)
	}
	if now := time.Now(); now.Sub(j.said[cause]) >= time.Minute {
		j.said[cause] = now
		select {
		case j.lines <- line:
		default:
		}
	}
}
