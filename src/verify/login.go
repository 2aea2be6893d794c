package verify

import (
	"context"
	"errors"
	"net"
	"strconv"

	"github.com/jackc/pgx/v5/pgconn"
)

// login is the result of a login and of the query for the sessions.
type login struct {
	attempt
	sessions []row
	asked    error // why the query for the sessions failed
}

// row is a session as the server shows it. Columns that it does not show are nil.
type row struct {
	database, application, address, version, cipher *string
	pid, port, bits                                 *string
	tls                                             *string
	concealed, own                                  bool
}

// sessionsQuery lists the user's sessions, in a transaction that cannot write. It leaves out
// internal processes such as parallel workers, which have no client. Their client_port is null, and
// that of a Unix socket is -1. But it is also null if the user may not see a session (PostgreSQL's
// manual, "pg_stat_activity").
const sessionsQuery = `begin read only;
select a.datname, a.pid, a.application_name, pg_catalog.host(a.client_addr), a.client_port, s.ssl, s.version, s.cipher, s.bits,
       a.query = '<insufficient privilege>', a.pid = pg_catalog.pg_backend_pid()
from pg_catalog.pg_stat_activity a left join pg_catalog.pg_stat_ssl s using (pid)
where a.usename = session_user and (a.client_port is not null or a.query = '<insufficient privilege>')
order by a.datname, a.pid
limit 10001;
rollback`

// logIn connects in the login's mode, verifies again, gives the password, and asks for the user's
// sessions. It is called only after a probe in the same mode has found nothing wrong.
func (t *Target) logIn(ctx context.Context) *login {
	l := &login{attempt: attempt{mode: t.loginMode()}}
	config, err := LoginConfig(ctx, t.address(), func(ctx context.Context) (net.Conn, error) {
		conn := t.open(ctx, t.address(), t.address().String(), &l.attempt)
		return conn, l.err
	}, nil)
	if err != nil {
		l.err = err
		return l
	}
	config.User, config.Database, config.Password = t.User, t.Database, string(t.Password)
	config.RuntimeParams = map[string]string{"application_name": applicationName}
	conn, err := pgconn.ConnectConfig(ctx, config)
	var refused *pgconn.PgError
	if errors.As(err, &refused) {
		l.answer.refusal = &refusal{refused.Code, refused.Message}
		return l
	}
	if l.err = err; err != nil {
		return l
	}
	l.answer.admits = true
	defer conn.Close(ctx) // its error does not matter: we have the answers
	l.sessions, l.asked = askSessions(ctx, conn)
	return l
}

// askSessions asks for the sessions. It stops at anything that it did not ask for.
func askSessions(ctx context.Context, conn *pgconn.PgConn) ([]row, error) {
	results := conn.Exec(ctx, sessionsQuery)
	rows := []row{}
	n := 0 // number of results so far; each statement has one
	for ; results.NextResult(); n++ {
		result := results.ResultReader()
		for result.NextRow() {
			const columns = 11
			switch values := result.Values(); {
			case n != 1 || len(values) != columns: // only the second statement has rows
				return nil, errNotPostgres
			case len(rows) == mostSessions:
				return nil, errTooManyRows
			default:
				rows = append(rows, newRow(values))
			}
		}
		if _, err := result.Close(); err != nil {
			return nil, err
		}
	}
	if err := results.Close(); err != nil {
		return nil, err
	}
	if n < 2 {
		return nil, errNotPostgres
	}
	return rows, nil
}

func newRow(values [][]byte) row {
	texts := make([]*string, len(values))
	for i, v := range values {
		if v != nil {
			text := string(v)
			texts[i] = &text
		}
	}
	is := func(text *string) bool { return text != nil && *text == "t" }
	return row{
		database: texts[0], pid: texts[1], application: texts[2], address: texts[3], port: texts[4],
		tls: texts[5], version: texts[6], cipher: texts[7], bits: texts[8], concealed: is(texts[9]), own: is(texts[10]),
	}
}

// number reads a number that the server sent. Anything else is 0.
func number(text *string) int {
	if text == nil {
		return 0
	}
	n, err := strconv.Atoi(*text)
	if err != nil {
		return 0
	}
	return n
}
