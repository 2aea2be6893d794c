package tunnel

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	"github.com/jackc/pgx/v5/pgproto3"
)

// How a client begins. Sources: PostgreSQL's manual, "Message Flow", sections "Start-up", "SSL Session Encryption" and "GSSAPI
// Session Encryption"; src/backend/tcop/backend_startup.c, ProcessStartupPacket; src/include/libpq/pqcomm.h for the bounds.
const (
	longestStartup  = 10_000 // MAX_STARTUP_PACKET_LENGTH
	longestPassword = 65_535 // PG_MAX_AUTH_TOKEN_LENGTH
)

// errJunk is for whoever does not speak as a client of PostgreSQL does.
var errJunk = errors.New("not a client of PostgreSQL")

// greet reads what a client wants: a *pgproto3.StartupMessage or a *pgproto3.CancelRequest. If the client asks for TLS, or begins
// with it, the connection that greet returns has it.
func greet(conn *net.TCPConn, config *tls.Config) (net.Conn, pgproto3.FrontendMessage, error) {
	var client net.Conn = conn
	for askedTLS, askedGSS := false, false; ; {
		header, err := readHeader(client, 4)
		if err != nil {
			return client, nil, err
		}
		if header[0] == tlsHandshake && !askedTLS && !askedGSS { // PostgreSQL 17's sslnegotiation=direct
			client, askedTLS = tls.Server(&continued{conn, header}, config), true
			continue
		}
		packet, err := readBody(client, header, longestStartup)
		if err != nil {
			return client, nil, err
		}
		message, err := decodeStartup(packet)
		if err != nil {
			return client, nil, errJunk
		}
		switch message.(type) {
		case *pgproto3.SSLRequest:
			if askedTLS {
				return client, nil, errJunk
			}
			// The packet was read to its last byte and no further: what somebody in between sends in plain text right behind it
			// becomes a part of the handshake, which it breaks (CVE-2021-23214).
			if _, err := client.Write([]byte("S")); err != nil {
				return client, nil, err
			}
			client, askedTLS = tls.Server(conn, config), true
		case *pgproto3.GSSEncRequest:
			if askedGSS {
				return client, nil, errJunk
			}
			if _, err := client.Write([]byte("N")); err != nil {
				return client, nil, err
			}
			askedGSS = true
		default:
			return client, message, nil
		}
	}
}

// tlsHandshake is the first byte of a TLS connection: ContentType handshake (RFC 8446, 5.1).
const tlsHandshake = 0x16

// continued is a connection of which the first bytes have been read already.
type continued struct {
	*net.TCPConn
	first []byte
}

func (c *continued) Read(p []byte) (int, error) {
	if len(c.first) > 0 {
		n := copy(p, c.first)
		c.first = c.first[n:]
		return n, nil
	}
	return c.TCPConn.Read(p)
}

// readHeader reads the header of a packet: its type, where it has one, and its length.
func readHeader(r io.Reader, size int) ([]byte, error) {
	header := make([]byte, size)
	_, err := io.ReadFull(r, header)
	return header, err
}

// readBody reads the rest of a packet, and not a byte more, and returns all of it.
func readBody(r io.Reader, header []byte, longest int) ([]byte, error) {
	length := int(binary.BigEndian.Uint32(header[len(header)-4:])) - 4 // it counts itself
	if length < 0 || length > longest {
		return nil, errJunk
	}
	packet := append(header, make([]byte, length)...)
	_, err := io.ReadFull(r, packet[len(header):])
	return packet, err
}

// decodeStartup reads a first packet. A protocol 3.x that is newer than 3.0 is read as 3.0: see negotiate.
func decodeStartup(packet []byte) (pgproto3.FrontendMessage, error) {
	if len(packet) < 8 {
		return nil, errJunk
	}
	version := binary.BigEndian.Uint32(packet[4:])
	newer := version>>16 == 3
	if newer {
		packet = bytes.Clone(packet)
		binary.BigEndian.PutUint32(packet[4:], pgproto3.ProtocolVersion30)
	}
	message, err := pgproto3.NewBackend(bytes.NewReader(packet), nil).ReceiveStartupMessage()
	if startup, ok := message.(*pgproto3.StartupMessage); ok && err == nil {
		startup.ProtocolVersion = version
		if _, unnamed := startup.Parameters[""]; unnamed { // an empty name ends the list; here, something came after it
			err = errJunk
		}
	}
	return message, err
}

// negotiate takes the parameters that ask for extensions of the protocol out of a startup message. It returns the answer for a client
// that wants more than protocol 3.0, which is what is spoken here; nil for any other.
func negotiate(startup *pgproto3.StartupMessage) *pgproto3.NegotiateProtocolVersion {
	// The server sends its whole version, not the minor one (backend_startup.c, SendNegotiateProtocolVersion).
	answer := &pgproto3.NegotiateProtocolVersion{NewestMinorProtocol: pgproto3.ProtocolVersion30}
	for name := range startup.Parameters {
		if strings.HasPrefix(name, "_pq_.") {
			answer.UnrecognizedOptions = append(answer.UnrecognizedOptions, name)
			delete(startup.Parameters, name)
		}
	}
	if startup.ProtocolVersion == pgproto3.ProtocolVersion30 && answer.UnrecognizedOptions == nil {
		return nil
	}
	return answer
}

// askPassword asks the client for its password. It is asked for in clear, which goes no further than this machine.
func askPassword(client net.Conn) (string, error) {
	if err := send(client, &pgproto3.AuthenticationCleartextPassword{}); err != nil {
		return "", err
	}
	header, err := readHeader(client, 5)
	if err != nil {
		return "", err
	}
	packet, err := readBody(client, header, longestPassword)
	if err != nil {
		return "", err
	}
	message, err := pgproto3.NewBackend(bytes.NewReader(packet), nil).Receive()
	if password, ok := message.(*pgproto3.PasswordMessage); ok && err == nil {
		return password.Password, nil
	}
	return "", fmt.Errorf("%w: no password", errJunk)
}

// send sends messages in one packet, if they fit.
func send(client net.Conn, messages ...pgproto3.BackendMessage) error {
	backend := pgproto3.NewBackend(nil, client)
	for _, m := range messages {
		backend.Send(m)
	}
	return backend.Flush()
}
