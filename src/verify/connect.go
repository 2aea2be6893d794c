package verify

import (
	"context"
	"net"

	"github.com/jackc/pgx/v5/pgconn"
)

// What the tunnel needs of this package: to connect as strictly as a login here does, and to say in the same words why it cannot.

// Connect connects to a host of the database with TLS as the mode in force asks, and never without. at
// is where to dial: the host's own address, or one of its IP addresses. Either the connection or the
// problem is nil. ctx has a deadline, and the connection has it, too.
func (t *Target) Connect(ctx context.Context, to Address, at string) (net.Conn, *Problem) {
	a := attempt{mode: t.loginMode(), stage: dialing}
	conn := t.open(ctx, to, at, &a)
	return conn, t.diagnose(a, to)
}

// Explain says what the error of a login means that came over a connection of Connect.
func (t *Target) Explain(err error, to Address) *Problem {
	return t.diagnose(attempt{mode: t.loginMode(), stage: startingUp, err: err}, to)
}

// BlankConfig returns a configuration of pgconn that neither the environment nor a file has a say in.
func BlankConfig() (*pgconn.Config, error) {
	config, err := blankConfig()
	if err != nil {
		return nil, err
	}
	return config.Copy(), nil
}
