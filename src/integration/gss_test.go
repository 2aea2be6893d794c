package integration

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/tools/pgtest"
)

// ticket writes a credential cache of Kerberos with a ticket that no server would take. libpq looks
// only for one that has not expired. Source: MIT Kerberos, "Credential cache file format".
func ticket(t *testing.T) string {
	t.Helper()
	var b bytes.Buffer
	number := func(n uint32) { b.Write(binary.BigEndian.AppendUint32(nil, n)) }
	data := func(text string) {
		number(uint32(len(text)))
		b.WriteString(text)
	}
	principal := func(components ...string) {
		number(1) // NT-PRINCIPAL
		number(uint32(len(components)))
		data("EXAMPLE.COM")
		for _, c := range components {
			data(c)
		}
	}
	b.WriteString("\x05\x04\x00\x00") // version 4, without a header
	principal("u")
	principal("u")
	principal("krbtgt", "EXAMPLE.COM")
	b.WriteString("\x00\x12") // AES-256
	data(strings.Repeat("k", 32))
	now := uint32(time.Now().Unix())
	for _, at := range []uint32{now - 60, now - 60, now + 86400, 0} { // login, begin, end, renewal
		number(at)
	}
	b.WriteString("\x00")
	number(0x40e00000) // flags
	number(0)          // addresses
	number(0)          // authorization data
	data("ticket")
	data("")
	file := filepath.Join(t.TempDir(), "ticket")
	require.NoError(t, os.WriteFile(file, b.Bytes(), 0o600))
	return "KRB5CCNAME=FILE:" + file
}

// What docs/verify.md says of Kerberos: the first request that psql sends is the one that counts.
func TestLibpqPrefersGSSToTLSWithATicket(t *testing.T) {
	const forGSS, forTLS = 80877104, 80877103 // PostgreSQL's manual, "Message Formats"
	for name, test := range map[string]struct {
		env   []string
		first uint32
	}{
		"with a ticket":                       {[]string{ticket(t)}, forGSS},
		"with a ticket, and without GSS":      {[]string{ticket(t), "PGGSSENCMODE=disable"}, forTLS},
		"control: without a ticket":           {nil, forTLS},
		"control: a ticket that is not there": {[]string{"KRB5CCNAME=FILE:/nowhere"}, forTLS},
	} {
		for _, mode := range []string{"require", "verify-ca", "verify-full"} {
			t.Run(name+", "+mode, func(t *testing.T) {
				heard := make(chan uint32, 9) // psql may try more than once
				port := pgtest.Listen(t, func(conn net.Conn) {
					request := make([]byte, 8)
					if _, err := io.ReadFull(conn, request); err == nil {
						heard <- binary.BigEndian.Uint32(request[4:])
					}
				})
				psql := exec.Command("psql", fmt.Sprintf("host=localhost hostaddr=127.0.0.1 port=%d user=u dbname=d sslmode=%s", port, mode))
				psql.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir()}, test.env...)
				said, err := psql.CombinedOutput()
				require.Error(t, err, string(said))
				require.NotEmpty(t, heard)
				assert.Equal(t, test.first, <-heard)
			})
		}
	}
}

// This is why no launch sets PGGSSENCMODE.
func TestLibPQConnectsToNothingWithAVariableThatItDoesNotKnow(t *testing.T) {
	program := filepath.Join(t.TempDir(), "lib-pq")
	mustRun(t, "go", "build", "-C", "../../fixtures/drivers/lib-pq", "-trimpath", "-o", program, ".")
	for variable, says := range map[string]string{
		"PGGSSENCMODE=disable": "environment variable $PGGSSENCMODE is not supported",
		"PGAPPNAME=control":    "connection refused",
	} {
		connect := exec.Command(program, fmt.Sprintf("host=127.0.0.1 port=%d user=u dbname=d sslmode=require", pgtest.Nobody(t)))
		connect.Env = []string{variable}
		said, err := connect.CombinedOutput()
		require.NoError(t, err)
		assert.Contains(t, string(said), says)
	}
}
