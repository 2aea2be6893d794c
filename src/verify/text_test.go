package verify

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/wire"
)

func TestOkIsGreenAndFailureIsRed(t *testing.T) {
	report := Report{Databases: []Database{{Name: "good", OK: true, Mode: "require", TLS: &TLS{Version: "TLS 1.3"}}, {Name: "bad"}}}
	var plain, coloured strings.Builder
	require.NoError(t, report.Write(&plain, false))
	require.NoError(t, report.Write(&coloured, true))
	assert.Contains(t, plain.String(), "good: ok\n")
	assert.Contains(t, plain.String(), "bad: FAILED\n")
	assert.Contains(t, coloured.String(), "good: \x1b[32mok\x1b[0m\n")
	assert.Contains(t, coloured.String(), "bad: \x1b[31mFAILED\x1b[0m\n")
	decoloured := strings.NewReplacer("\x1b[31m", "", "\x1b[32m", "", "\x1b[0m", "").Replace(coloured.String())
	assert.Equal(t, plain.String(), decoloured, "the words are the same")
	assert.False(t, strings.HasSuffix(plain.String(), "\n\n"), "nothing follows where there is no warning")
}

func TestTheLastDayOfACertificateIsNoDayTooMany(t *testing.T) {
	for left, says := range map[int]string{-1: "expired 2030-01-02", 0: "expires 2030-01-02, in 0 days", 1: "expires 2030-01-02, in 1 day"} {
		issued := Issued{NotAfter: "2030-01-02", DaysLeft: left}
		assert.Equal(t, says, issued.expiry())
		assert.Equal(t, left >= 0, (&Certificate{Issued: issued}).endsSoon(), "an expired one is a problem, not a warning")
	}
}

// The line of a database before an app starts, and whether it stops the start.
func TestTheLineOfAStart(t *testing.T) {
	secure, soon := &TLS{Version: "TLS 1.3"}, &Certificate{Issued: Issued{NotAfter: "2030-01-02", DaysLeft: 29}}
	insecure, away := &wire.Problem{Code: "unknown-ca", What: "wrong CA", Do: "mend it"}, &wire.Problem{Code: "refused", What: "nothing listens", Do: "look"}
	for line, db := range map[string]Database{
		"db: TLS 1.3, as require asks":            {TLS: secure, Mode: "require"},
		"db: TLS 1.3, and no sslmode is in force": {TLS: secure},
		"db: TLS 1.3, as require asks; the server's certificate expires on 2030-01-02, in 29 days": {TLS: secure, Mode: "require", Certificate: soon},
		"db: nothing listens; the app starts all the same":                                         {Problems: []wire.Problem{*away}},
		"db: nobody is there": {Warnings: []string{"nobody is there"}},
		"db: TLS 1.3, as require asks; it is weaker; the app starts all the same": {TLS: secure, Mode: "require", Problems: []wire.Problem{{Code: WeakerThanAsked, What: "it is weaker"}}},
		"db: the app does not start: wrong CA; mend it":                           {Problems: []wire.Problem{*away, *insecure}},
		"db: the app does not start: plain; mend":                                 {Problems: []wire.Problem{{Code: PlainTextMode, What: "plain", Do: "mend"}}},
		"db: the app does not start: further host: wrong CA; mend it": {TLS: secure, Mode: "require",
			OtherHosts: []OtherHost{{Host: "a"}, {Host: "b", Problem: away}, {Host: "c", Problem: insecure}}, Problems: []wire.Problem{{Code: OtherHostFails, What: "further host: wrong CA"}}},
		"db: the app does not start: further host: no TLS; mend it": {OtherHosts: []OtherHost{{Host: "b", Problem: &wire.Problem{Code: "no-tls", What: "no TLS", Do: "mend it"}}}},
		"db: TLS 1.3, as verify-ca asks":                            {TLS: secure, Mode: "verify-ca", OtherHosts: []OtherHost{{Host: "a"}, {Host: "b", Problem: away}}},
	} {
		db.Name = "db"
		said, stop := gateLine(db, false)
		assert.Equal(t, line, said)
		assert.Equal(t, strings.Contains(line, "does not start"), stop, line)
	}
}
