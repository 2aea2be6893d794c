package verify

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/lazyregexp"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/plain"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/sslmode"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/wire"
)

const mostSessions = 10_000 // of a user

var errNotAsked = errors.New("not an answer to the question")

// row is a session as the server shows it.
type row struct {
	Session
	Port      int
	TLS       *bool
	Concealed bool // the user may not see the session
}

// sessionsQuery lists the user's sessions, in a transaction that cannot write. It leaves out internal
// processes such as parallel workers, whose client_port is null (that of a Unix socket is -1). But it
// is also null if the user may not see a session (PostgreSQL's manual, "pg_stat_activity").
const sessionsQuery = `begin read only;
select pg_catalog.row_to_json(r) from (
    select a.datname as database, a.pid, a.application_name as application, pg_catalog.host(a.client_addr) as address,
           a.client_port as port, s.ssl as tls, s.version, s.cipher, s.bits,
           a.query = '<insufficient privilege>' as concealed, a.pid = pg_catalog.pg_backend_pid() as own
    from pg_catalog.pg_stat_activity a left join pg_catalog.pg_stat_ssl s using (pid)
    where a.usename = session_user and (a.client_port is not null or a.query = '<insufficient privilege>')
    order by a.datname, a.pid
    limit 10001) r;
rollback`

// askSessions asks for the sessions. It stops at anything that it did not ask for.
func askSessions(ctx context.Context, conn *pgconn.PgConn) ([]row, error) {
	results := conn.Exec(ctx, sessionsQuery)
	rows, n := []row{}, 0 // n results so far: each of the three statements has one
	for ; results.NextResult(); n++ {
		for result := results.ResultReader(); result.NextRow(); {
			var r row
			switch values := result.Values(); {
			case n != 1 || len(values) != 1 || json.Unmarshal(values[0], &r) != nil: // only the second statement has rows
				return nil, errNotAsked
			case len(rows) == mostSessions:
				return nil, fmt.Errorf("the user has more than %d sessions", mostSessions)
			}
			rows = append(rows, r)
		}
	}
	err := results.Close()
	if err == nil && n != 3 {
		err = errNotAsked
	}
	return rows, err
}

// localPorts returns the ports of this container's TCP connections (Linux,
// Documentation/networking/proc_net_tcp.rst). Mostly, the database sees the same ones.
func localPorts(proc fs.FS) (ports []int) {
	for _, name := range []string{"net/tcp", "net/tcp6"} {
		text, _ := fs.ReadFile(proc, name) // without it, nobody is told whose a session is
		for _, m := range localPort().FindAllSubmatch(text, -1) {
			port, _ := strconv.ParseUint(string(m[1]), 16, 16)
			ports = append(ports, int(port))
		}
	}
	return ports
}

var localPort = lazyregexp.New(`(?m)^ *[0-9]+: [0-9A-F]+:([0-9A-F]{4}) `)

// judgeSessions lists the user's sessions, and says whether one of them is in plain text.
func (e *evidence) judgeSessions() ([]Session, *wire.Problem) {
	if e.asked != nil {
		return nil, &wire.Problem{Code: SessionsHidden, What: "the user's sessions cannot be listed: " + e.Said(e.asked),
			Do: "let the user read pg_stat_activity and pg_stat_ssl"}
	}
	sessions, shown := []Session{}, e.Screen()
	var unencrypted, hidden []string
	for _, r := range e.sessions {
		s := r.Session
		if s.PID != 0 && s.Application == wire.ApplicationName &&
			slices.ContainsFunc(ladder, func(m sslmode.Mode) bool { return e.byMode[m].PID == uint32(s.PID) }) {
			continue // one of our probes, about to end
		}
		for _, text := range []*string{&s.Database, &s.Application, &s.Address, &s.Version, &s.Cipher} {
			*text = shown(*text)
		}
		switch {
		case r.TLS != nil && *r.TLS:
			s.Transport = OverTLS
		case r.Concealed || r.TLS == nil:
			s.Transport = Hidden
			hidden = append(hidden, fmt.Sprintf("pid %d", s.PID))
		case r.Port == -1:
			s.Transport = OverSocket
		default:
			s.Transport = OverPlain
			name := fmt.Sprintf("pid %d (%s, %s)", s.PID, cmp.Or(s.Application, "no application name"), s.Address)
			if s.Own {
				name += ", which is this command's own: a proxy ends the TLS between here and the database"
			} else if slices.Contains(e.ports, r.Port) {
				name += ", likely this app's"
			}
			unencrypted = append(unencrypted, name)
		}
		sessions = append(sessions, s)
	}
	switch {
	case len(unencrypted) > 0:
		return sessions, &wire.Problem{Code: PlainTextSession,
			What: fmt.Sprintf("user %s has sessions in plain text: %s", e.User, plain.List(unencrypted, 5)),
			Do: "this app's own options may say less than its variables (postgres-ssl drivers names the line): " +
				"change them, or set POSTGRES_SSL_TUNNEL=yes; it may also be an old instance, another app or a proxy. " +
				"Then let the server refuse plain text: " + e.refusePlainText()}
	case len(hidden) > 0:
		return sessions, &wire.Problem{Code: SessionsHidden,
			What: fmt.Sprintf("user %s may not see whether its sessions are encrypted: %s", e.User, plain.List(hidden, 5)),
			Do:   "grant pg_read_all_stats to the user, or let it log in without another role set"}
	}
	return sessions, nil
}
