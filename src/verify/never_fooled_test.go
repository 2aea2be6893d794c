package verify

import (
	"context"
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/sslmode"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/wire"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/tools/pgtest"
)

// These servers pass verification, get the password, and then misbehave. We bound what they send,
// in bytes, in rows, in work and in time. Nothing with the password is printed.

// visit is a client's connection after its startup message.
type visit struct {
	*pgproto3.Backend
	conn net.Conn
}

func (v visit) send(messages ...pgproto3.BackendMessage) error {
	for _, m := range messages {
		v.Send(m)
	}
	return v.Flush()
}

// hear waits for the client's next message.
func (v visit) hear() (pgproto3.FrontendMessage, error) { return v.Receive() }

// host serves TLS with a certificate for localhost, hands each visit to serve, and returns a target
// that trusts it.
func host(t *testing.T, serve func(v visit)) wire.Target {
	t.Helper()
	ca := pgtest.NewCA(t, "Root")
	cert := certificate(t, ca, "localhost")
	port := pgtest.Listen(t, func(conn net.Conn) {
		if message, err := pgproto3.NewBackend(conn, conn).ReceiveStartupMessage(); err != nil {
			return
		} else if _, ok := message.(*pgproto3.SSLRequest); !ok {
			v := visit{pgproto3.NewBackend(conn, conn), conn}
			_ = v.send(&pgproto3.ErrorResponse{Severity: "FATAL", Code: "28000", Message: "no plain text"})
			return
		}
		_, _ = conn.Write([]byte("S"))
		secure := tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{*cert}})
		v := visit{pgproto3.NewBackend(secure, secure), secure}
		if message, err := v.ReceiveStartupMessage(); err == nil {
			if _, ok := message.(*pgproto3.StartupMessage); ok {
				serve(v)
			}
		}
	})
	return wire.Target{
		Name: "db", Address: wire.Address{Host: "localhost", Port: uint16(port)}, Database: "app", User: "app",
		Password: password, Mode: sslmode.VerifyFull, Source: "the test", Trust: trust("the test", ca),
	}
}

// told asks for the password in clear text, and says whether it came.
func told(v visit) bool {
	if v.send(&pgproto3.AuthenticationCleartextPassword{}) != nil || v.SetAuthType(pgproto3.AuthTypeCleartextPassword) != nil {
		return false
	}
	message, err := v.hear()
	given, ok := message.(*pgproto3.PasswordMessage)
	return err == nil && ok && given.Password == password
}

// asked admits a client that knows the password, and says whether the client asked for the
// sessions.
func asked(v visit) bool {
	if !told(v) || v.send(&pgproto3.AuthenticationOk{}, &pgproto3.ReadyForQuery{TxStatus: 'I'}) != nil {
		return false
	}
	message, err := v.hear()
	_, ok := message.(*pgproto3.Query)
	return err == nil && ok
}

// head sends what comes before the rows of the sessions.
func head() []pgproto3.BackendMessage {
	return []pgproto3.BackendMessage{&pgproto3.CommandComplete{CommandTag: []byte("BEGIN")},
		&pgproto3.RowDescription{Fields: []pgproto3.FieldDescription{{Name: []byte("row_to_json"), DataTypeOID: 114, DataTypeSize: -1}}}}
}

// line is the row of an application's encrypted session.
func line(application string) *pgproto3.DataRow {
	text, _ := json.Marshal(map[string]any{"database": "app", "pid": 1, "application": application, "address": "10.0.0.9", "port": 5000,
		"tls": true, "version": "TLSv1.3", "cipher": "TLS_AES_256_GCM_SHA384", "bits": 256, "concealed": false, "own": false}) // never fails
	return &pgproto3.DataRow{Values: [][]byte{text}}
}

func tail() []pgproto3.BackendMessage {
	return []pgproto3.BackendMessage{
		&pgproto3.CommandComplete{CommandTag: []byte("SELECT 1")}, &pgproto3.CommandComplete{CommandTag: []byte("ROLLBACK")},
		&pgproto3.ReadyForQuery{TxStatus: 'I'},
	}
}

// flood sends the same messages until nobody reads them, and returns how many bytes it sent. It
// stops by itself if a client would read forever.
func flood(v visit, messages ...pgproto3.BackendMessage) int64 {
	var block []byte
	for range 1000 {
		for _, m := range messages {
			block, _ = m.Encode(block)
		}
	}
	var sent int64
	for sent < 200<<20 {
		n, err := v.conn.Write(block)
		sent += int64(n)
		if err != nil {
			break
		}
	}
	return sent
}

func TestThisServerIsBelievedWhenItBehaves(t *testing.T) {
	target := host(t, func(v visit) {
		if asked(v) {
			_ = v.send(append(append(head(), line("an app"), line("another")), tail()...)...)
		}
	})
	db, _ := verified(t, target)
	require.Empty(t, db.Problems, "the control of all tests here")
	assert.Equal(t, "X25519MLKEM768", db.TLS.Group, "both sides know post-quantum key exchange")
	require.Len(t, db.Sessions, 2)
	assert.Equal(t, "another", db.Sessions[1].Application)
}

// Some drivers ask for more than their mode says. The certificate does not name this address.
func TestWhoRefusesAServerThatTheModeAcceptsIsSaid(t *testing.T) {
	target := host(t, func(v visit) {
		if asked(v) {
			_ = v.send(append(head(), tail()...)...)
		}
	})
	target.Host = "127.0.0.1"
	for mode, who := range map[sslmode.Mode]string{
		sslmode.VerifyCA: "lib/pq (and so Stratos), node-postgres and Erlang check the name with verify-ca, too, and refuse this server: ",
		sslmode.Require:  "node-postgres and Erlang verify in every mode, and refuse this server: ",
	} {
		target.Mode = mode
		db, _ := verified(t, target)
		assert.Empty(t, db.Problems)
		assert.Contains(t, strings.Join(db.Warnings, "\n"), who+"the certificate is not issued for 127.0.0.1, but for localhost")
	}
}

func TestWhatAServerSendsIsBounded(t *testing.T) {
	long := strings.Repeat("x", 50<<20)
	for name, test := range map[string]struct {
		serve   func(v visit) int64
		problem string
		says    string
	}{
		"an error of 50 MB": {func(v visit) int64 {
			if !told(v) {
				return 0
			}
			block, _ := (&pgproto3.ErrorResponse{Severity: "FATAL", Code: "XX000", Message: long}).Encode(nil)
			n, _ := v.conn.Write(block)
			return int64(n)
		}, "not-postgres", "does not answer as a PostgreSQL server does"},
		"an error before the login": {func(v visit) int64 {
			block, _ := (&pgproto3.ErrorResponse{Severity: "FATAL", Code: "XX000", Message: long}).Encode(nil)
			n, _ := v.conn.Write(block)
			return int64(n)
		}, "not-postgres", "does not answer as a PostgreSQL server does"},
		"a message that is none": {func(v visit) int64 {
			n, _ := v.conn.Write([]byte{'S', 0, 0, 0, 5, 'x'})
			return int64(n)
		}, "not-postgres", "does not answer as a PostgreSQL server does"},
		"notices before the login": {func(v visit) int64 {
			return flood(v, &pgproto3.NoticeResponse{Severity: "NOTICE", Code: "00000", Message: strings.Repeat("on ", 500)})
		}, "server-error", "the server sends more than 64 KB before the login or 10 MB after it"},
		"parameters after the password": {func(v visit) int64 {
			if !told(v) {
				return 0
			}
			return flood(v, &pgproto3.ParameterStatus{Name: "a", Value: strings.Repeat("b", 1000)})
		}, "server-error", "the server sends more than 64 KB before the login or 10 MB after it"},
		"rows": {func(v visit) int64 {
			if !asked(v) || v.send(head()...) != nil {
				return 0
			}
			return flood(v, line("an app"))
		}, SessionsHidden, "cannot be listed: the user has more than 10000 sessions"},
		"rows of any size": {func(v visit) int64 {
			if !asked(v) || v.send(head()...) != nil {
				return 0
			}
			return flood(v, line(strings.Repeat("x", 20_000)))
		}, SessionsHidden, "cannot be listed: the server sends more than 64 KB before the login or 10 MB after it"},
		"one row too large": {func(v visit) int64 {
			if !asked(v) || v.send(head()...) != nil {
				return 0
			}
			return flood(v, line(strings.Repeat("x", 100_000)))
		}, SessionsHidden, "cannot be listed"},
		"results": {func(v visit) int64 {
			if !asked(v) {
				return 0
			}
			return flood(v, &pgproto3.CommandComplete{CommandTag: []byte("BEGIN")})
		}, SessionsHidden, "cannot be listed"},
		"rows of another statement": {func(v visit) int64 {
			if asked(v) {
				_ = v.send(append(append(head()[1:], line("an app")), tail()...)...)
			}
			return 0
		}, SessionsHidden, "cannot be listed"},
		"rows that are none": {func(v visit) int64 {
			if asked(v) {
				_ = v.send(append(append(head(), &pgproto3.DataRow{Values: [][]byte{[]byte(`{"pid": "many"}`)}}), tail()...)...)
			}
			return 0
		}, SessionsHidden, "cannot be listed"},
		"rows of two columns": {func(v visit) int64 {
			if asked(v) {
				_ = v.send(append(append(head(), &pgproto3.DataRow{Values: [][]byte{[]byte(`{}`), []byte(`{}`)}}), tail()...)...)
			}
			return 0
		}, SessionsHidden, "cannot be listed"},
		"a transaction, and nothing in it": {func(v visit) int64 {
			if asked(v) {
				_ = v.send(&pgproto3.CommandComplete{CommandTag: []byte("BEGIN")}, &pgproto3.ReadyForQuery{TxStatus: 'I'})
			}
			return 0
		}, SessionsHidden, "cannot be listed"},
		"a transaction without its end": {func(v visit) int64 {
			if asked(v) {
				_ = v.send(append(append(head(), line("an app")), tail()[0], tail()[2])...)
			}
			return 0
		}, SessionsHidden, "cannot be listed"},
		"nothing that was asked for": {func(v visit) int64 {
			if asked(v) {
				_ = v.send(&pgproto3.ReadyForQuery{TxStatus: 'I'})
			}
			return 0
		}, SessionsHidden, "cannot be listed"},
	} {
		t.Run(name, func(t *testing.T) {
			var most atomic.Int64
			target := host(t, func(v visit) {
				n := test.serve(v)
				for old := most.Load(); n > old && !most.CompareAndSwap(old, n); old = most.Load() {
				}
			})
			db, printed := verified(t, target)
			require.NotEmpty(t, db.Problems)
			assert.Equal(t, test.problem, db.Problems[0].Code)
			assert.Contains(t, db.Problems[0].What, test.says)
			assert.Less(t, len(printed), 10_000)
			// The kernel's buffers take some of it too.
			assert.Less(t, most.Load(), int64(48<<20), "bytes that a server could send on one connection")
		})
	}
}

func TestTenThousandSessionsAreListed(t *testing.T) {
	target := host(t, func(v visit) {
		if !asked(v) {
			return
		}
		var block []byte
		for _, m := range head() {
			block, _ = m.Encode(block)
		}
		for range mostSessions {
			block, _ = line("an app").Encode(block)
		}
		for _, m := range tail() {
			block, _ = m.Encode(block)
		}
		_, _ = v.conn.Write(block)
	})
	db, _ := verified(t, target)
	assert.Empty(t, db.Problems)
	assert.Len(t, db.Sessions, mostSessions)
}

// scram is a server that knows the password, and asks for this many iterations.
func scram(v visit, iterations int) error {
	if err := v.send(&pgproto3.AuthenticationSASL{AuthMechanisms: []string{"SCRAM-SHA-256"}}); err != nil {
		return err
	}
	_ = v.SetAuthType(pgproto3.AuthTypeSASL)
	message, err := v.hear()
	first, ok := message.(*pgproto3.SASLInitialResponse)
	if err != nil || !ok {
		return errors.New("no answer")
	}
	_, bare, _ := strings.Cut(string(first.Data), ",,")
	_, nonce, _ := strings.Cut(bare, "r=")
	salt := []byte("salt")
	serverFirst := fmt.Sprintf("r=%sserver,s=%s,i=%d", nonce, base64.StdEncoding.EncodeToString(salt), iterations)
	if err := v.send(&pgproto3.AuthenticationSASLContinue{Data: []byte(serverFirst)}); err != nil {
		return err
	}
	_ = v.SetAuthType(pgproto3.AuthTypeSASLContinue)
	message, err = v.hear()
	final, ok := message.(*pgproto3.SASLResponse)
	if err != nil || !ok {
		return errors.New("no answer")
	}
	withoutProof, _, _ := strings.Cut(string(final.Data), ",p=")
	salted, err := pbkdf2.Key(sha256.New, password, salt, iterations, 32)
	if err != nil {
		return err
	}
	mac := func(key []byte, text string) []byte {
		h := hmac.New(sha256.New, key)
		h.Write([]byte(text))
		return h.Sum(nil)
	}
	signature := mac(mac(salted, "Server Key"), bare+","+serverFirst+","+withoutProof)
	return v.send(&pgproto3.AuthenticationSASLFinal{Data: []byte("v=" + base64.StdEncoding.EncodeToString(signature))})
}

func TestWorkOfSCRAMIsBounded(t *testing.T) {
	for name, test := range map[string]struct {
		iterations int
		timeout    time.Duration
		problem    string
		says       string
	}{
		"as many as PostgreSQL":             {4096, 2 * time.Minute, "", ""},
		"as many as somebody careful":       {600_000, 2 * time.Minute, "", ""},
		"more than fits into the timeout":   {1_000_000, 900 * time.Millisecond, "server-error", "than there is time for"},
		"more than anybody needs":           {10_000_000, 2 * time.Minute, "server-error", "asks for more iterations of SCRAM than 1000000"},
		"more than anybody needs, and soon": {10_000_000, 5 * time.Second, "server-error", "asks for more iterations of SCRAM than 1000000"},
	} {
		t.Run(name, func(t *testing.T) {
			var computed atomic.Bool // did the client do the work?
			target := host(t, func(v visit) {
				if scram(v, test.iterations) != nil {
					return
				}
				computed.Store(true)
				if v.send(&pgproto3.AuthenticationOk{}, &pgproto3.ReadyForQuery{TxStatus: 'I'}) != nil {
					return
				}
				if _, err := v.hear(); err == nil {
					_ = v.send(append(head(), tail()...)...)
				}
			})
			db := Run(t.Context(), []wire.Target{target}, nil, test.timeout).Databases[0]
			if test.problem == "" {
				assert.Empty(t, db.Problems)
				assert.True(t, computed.Load(), "the control: this server knows SCRAM")
				return
			}
			assert.False(t, computed.Load(), "the client computes nothing")
			require.Len(t, db.Problems, 1)
			assert.Equal(t, test.problem, db.Problems[0].Code)
			assert.Contains(t, db.Problems[0].What, test.says)
		})
	}
}

// What a database keeps of a password is enough for SCRAM, and may be stolen.
func TestAServerThatKnowsSCRAMHearsNoPasswordThroughTheTunnelEither(t *testing.T) {
	for tunnel, hears := range map[bool]bool{true: false, false: true} { // the second one is the control
		var knows, heard atomic.Bool
		target := host(t, func(v visit) {
			if scram(v, 4096) == nil {
				knows.Store(true)
				heard.Store(told(v))
			}
		})
		target.Mode, target.Tunnel = sslmode.Require, tunnel
		Run(t.Context(), []wire.Target{target}, nil, 2*time.Minute)
		assert.True(t, knows.Load())
		assert.Equal(t, hears, heard.Load())
	}
}

// A server that sends a byte now and then never lets a read time out by itself.
func TestTheTimeoutHoldsAfterTheLogin(t *testing.T) {
	drip := func(v visit, m pgproto3.BackendMessage) {
		block, _ := m.Encode(nil)
		for {
			for _, b := range block {
				if _, err := v.conn.Write([]byte{b}); err != nil {
					return
				}
				time.Sleep(time.Millisecond) // the server's slowness, not a synchronisation
			}
		}
	}
	for name, test := range map[string]struct {
		serve   func(v visit)
		problem string
		says    string
	}{
		"silence instead of the rows": {func(v visit) {
			if asked(v) {
				_, _ = v.hear()
			}
		}, SessionsHidden, "cannot be listed: no answer in time"},
		"a row, and slowly": {func(v visit) {
			if asked(v) && v.send(head()...) == nil {
				drip(v, line("an app"))
			}
		}, SessionsHidden, "cannot be listed: no answer in time"},
		"notices, and slowly": {func(v visit) {
			if told(v) {
				drip(v, &pgproto3.NoticeResponse{Severity: "NOTICE", Code: "00000", Message: "on and on"})
			}
		}, "timeout", "does not answer the startup message in time"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			target := host(t, test.serve)
			const timeout = 2 * time.Second
			begin := time.Now()
			db := Run(context.Background(), []wire.Target{target}, nil, timeout).Databases[0]
			assert.Less(t, time.Since(begin), 10*timeout, "even on a busy machine")
			require.Len(t, db.Problems, 1)
			assert.Equal(t, test.problem, db.Problems[0].Code)
			assert.Contains(t, db.Problems[0].What, test.says)
		})
	}
}

func TestNothingThatHoldsThePasswordIsPrinted(t *testing.T) {
	for name, spelling := range pgtest.Spellings() {
		for place, serve := range map[string]func(v visit){
			"an error": func(v visit) {
				if told(v) {
					_ = v.send(&pgproto3.ErrorResponse{Severity: "FATAL", Code: "XX000", Message: "so it is <" + spelling + ">", Detail: spelling, Hint: spelling})
				}
			},
			"a SQLSTATE": func(v visit) {
				if told(v) {
					_ = v.send(&pgproto3.ErrorResponse{Severity: spelling, Code: spelling, Message: "mine"})
				}
			},
			"a notice": func(v visit) {
				if told(v) {
					_ = v.send(&pgproto3.NoticeResponse{Severity: spelling, Code: spelling, Message: spelling},
						&pgproto3.ParameterStatus{Name: spelling, Value: spelling},
						&pgproto3.ErrorResponse{Severity: "FATAL", Code: "XX000", Message: "mine"})
				}
			},
			"a refused query": func(v visit) {
				if asked(v) {
					_ = v.send(&pgproto3.ErrorResponse{Severity: "ERROR", Code: spelling, Message: spelling}, &pgproto3.ReadyForQuery{TxStatus: 'I'})
				}
			},
			"a session": func(v visit) {
				if asked(v) {
					_ = v.send(append(append(head(), line(spelling)), tail()...)...)
				}
			},
		} {
			t.Run(name+" in "+place, func(t *testing.T) {
				_, printed := verified(t, host(t, serve))
				assert.NotContains(t, pgtest.Letters(printed), pgtest.Letters(spelling))
				assert.NotContains(t, printed, password)
			})
		}
	}
	t.Run("control: anything else is printed", func(t *testing.T) {
		_, printed := verified(t, host(t, func(v visit) {
			if told(v) {
				_ = v.send(&pgproto3.ErrorResponse{Severity: "FATAL", Code: "XX000", Message: "so it is <mine>"})
			}
		}))
		assert.Contains(t, printed, "so it is <mine> (SQLSTATE XX000)")
	})
}
