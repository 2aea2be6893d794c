package tunnel

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"strings"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/binding"
)

// How a client begins. Sources: PostgreSQL's manual, "Message Flow", sections "Start-up", "SSL
// Session Encryption" and "GSSAPI Session Encryption"; ProcessStartupPacket in
// src/backend/tcop/backend_startup.c; src/include/libpq/pqcomm.h for the limits.
const (
	longestStartup  = 10_000 // MAX_STARTUP_PACKET_LENGTH
	longestPassword = 65_535 // PG_MAX_AUTH_TOKEN_LENGTH
	tlsHandshake    = 0x16   // the first byte of TLS: ContentType handshake (RFC 8446, 5.1)
)

var errJunk = errors.New("not a client of PostgreSQL")

// greet reads what a client wants: a *pgproto3.StartupMessage or a *pgproto3.CancelRequest. It
// returns a connection with TLS if the client asked for TLS, or began with it.
func greet(conn *net.TCPConn, config *tls.Config) (client net.Conn, wish pgproto3.FrontendMessage, err error) {
	from := bufio.NewReaderSize(conn, 0) // it has room for 16 bytes
	first, err := from.Peek(1)
	client = begun{conn, from}
	askedTLS, askedGSS := err == nil && first[0] == tlsHandshake, false // sslnegotiation=direct of libpq 17
	if askedTLS {
		client = tls.Server(client, config)
	}
	for err == nil {
		wish, err = readStartup(client)
		switch wish.(type) {
		case *pgproto3.SSLRequest:
			if askedTLS {
				return client, nil, errJunk
			}
			// The handshake begins right behind the packet. If somebody has put plain text there, that
			// text ends up in the handshake, and breaks it (CVE-2021-23214).
			client, askedTLS = tls.Server(client, config), true
			_, err = io.WriteString(conn, "S")
		case *pgproto3.GSSEncRequest:
			if askedGSS || askedTLS {
				return client, nil, errJunk
			}
			askedGSS = true
			_, err = io.WriteString(conn, "N")
		default:
			return client, wish, err
		}
	}
	return client, nil, err
}

// begun is a connection of which some bytes may be read already.
type begun struct {
	*net.TCPConn
	from *bufio.Reader
}

func (b begun) Read(p []byte) (int, error) { return b.from.Read(p) }

// readPacket reads a packet, and not a byte more. Its header has its length, behind its type if any.
func readPacket(r io.Reader, header, longest int) ([]byte, error) {
	packet := make([]byte, header)
	if _, err := io.ReadFull(r, packet); err != nil {
		return nil, err
	}
	length := int(binary.BigEndian.Uint32(packet[header-4:])) - 4 // it counts itself
	if length < 0 || length > longest {
		return nil, errJunk
	}
	packet = append(packet, make([]byte, length)...)
	_, err := io.ReadFull(r, packet[header:])
	return packet, err
}

// readStartup reads a client's first packet, and a newer protocol 3.x as 3.0: see negotiate.
func readStartup(r io.Reader) (pgproto3.FrontendMessage, error) {
	packet, err := readPacket(r, 4, longestStartup)
	if err != nil {
		return nil, err
	}
	if len(packet) < 8 {
		return nil, errJunk
	}
	version := binary.BigEndian.Uint32(packet[4:])
	if version>>16 == 3 {
		binary.BigEndian.PutUint32(packet[4:], pgproto3.ProtocolVersion30)
	}
	message, err := pgproto3.NewBackend(bytes.NewReader(packet), nil).ReceiveStartupMessage()
	unnamed := false // an empty name ends the list, but something follows it
	if startup, ok := message.(*pgproto3.StartupMessage); ok {
		startup.ProtocolVersion = version
		_, unnamed = startup.Parameters[""]
	}
	if err != nil || unnamed {
		return nil, errJunk
	}
	return message, nil
}

// negotiate removes the parameters that ask for protocol extensions from a startup message. The
// tunnel speaks protocol 3.0 only. If a client asks for more, negotiate returns what to send to it.
func negotiate(startup *pgproto3.StartupMessage) *pgproto3.NegotiateProtocolVersion {
	// As the server does, send the whole version, not its minor part (SendNegotiateProtocolVersion).
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

// askPassword asks the client for its password in clear text, which never leaves this machine.
func askPassword(client net.Conn) (binding.Secret, error) {
	if err := send(client, &pgproto3.AuthenticationCleartextPassword{}); err != nil {
		return "", err
	}
	packet, err := readPacket(client, 5, longestPassword)
	if err != nil || packet[0] != 'p' {
		return "", errors.Join(err, errJunk)
	}
	var message pgproto3.PasswordMessage
	err = message.Decode(packet[5:])
	return binding.Secret(message.Password), err
}

func send(client net.Conn, message pgproto3.BackendMessage) error {
	packet, _ := message.Encode(nil) // it is never too long
	_, err := client.Write(packet)
	return err
}
