package tunnel

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/plain"
)

// journal writes the tunnel's lines in the app's log, each cause once a minute at most. It never
// blocks, even if nobody reads the log. Then it drops lines.
type journal struct {
	lines chan string
	mutex sync.Mutex
	said  map[string]time.Time
}

func newJournal(out io.Writer) *journal {
	j := &journal{lines: make(chan string, 64), said: map[string]time.Time{}}
	go func() {
		for line := range j.lines {
			fmt.Fprintf(out, "postgres-ssl tunnel: %s\n", plain.Line(line))
		}
	}()
	return j
}

// say looks the cause up at once: one that many say must not fill the channel.
func (j *journal) say(database, cause, line string) {
	j.mutex.Lock()
	defer j.mutex.Unlock()
	cause = database + " " + cause
	if now := time.Now(); now.Sub(j.said[cause]) >= time.Minute {
		if len(j.said) >= 1000 { // a server could invent causes
			clear(j.said)
		}
		j.said[cause] = now
		select {
		case j.lines <- strings.TrimPrefix(database+": "+line, ": "):
		default:
		}
	}
}
