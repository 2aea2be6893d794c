package wire

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"slices"
)

// Pack writes targets for Unpack in another process, without their passwords.
func Pack(targets []Target) ([]byte, error) {
	targets = slices.Clone(targets)
	for i := 1; i < len(targets); i++ {
		targets[i].known = nil // all have the same
	}
	return json.Marshal(targets)
}

// Unpack reads what Pack has written.
func Unpack(text []byte) (targets []Target, err error) {
	if err := json.Unmarshal(text, &targets); err != nil {
		return nil, err
	}
	for i := range targets {
		targets[i].known = targets[0].known
	}
	return targets, nil
}

// packed has what JSON cannot write of a Target.
type packed struct {
	target
	Certificate, Key     []byte // of the client, in PEM
	Known                []Anchor
	TrustWhy, TrustPlace string
}

type target Target

// MarshalJSON writes the certificate itself.
func (a Anchor) MarshalJSON() ([]byte, error) {
	return json.Marshal([2][]byte{a.Cert.Raw, []byte(a.Origin)})
}

// UnmarshalJSON reads it.
func (a *Anchor) UnmarshalJSON(text []byte) error {
	var parts [2][]byte
	if err := json.Unmarshal(text, &parts); err != nil {
		return err
	}
	var err error
	a.Origin = string(parts[1])
	a.Cert, err = x509.ParseCertificate(parts[0])
	return err
}

// MarshalJSON is for Pack.
func (t Target) MarshalJSON() ([]byte, error) {
	return json.Marshal(packed{target(t), t.clientPEM[0], t.clientPEM[1], t.known, t.trustWhy, t.trustPlace})
}

// UnmarshalJSON is for Unpack.
func (t *Target) UnmarshalJSON(text []byte) error {
	var p packed
	if err := json.Unmarshal(text, &p); err != nil {
		return err
	}
	*t = Target(p.target)
	t.known, t.trustWhy, t.trustPlace = p.Known, p.TrustWhy, p.TrustPlace
	if p.Certificate == nil {
		return nil
	}
	pair, err := tls.X509KeyPair(p.Certificate, p.Key)
	t.Client = &pair
	return err
}
