package wire

import (
	"crypto/x509"
	"encoding/json"
	"slices"
)

// Pack writes targets for Unpack in another process, without their passwords.
func Pack(targets []Target) ([]byte, error) {
	targets = slices.Clone(targets)
	for i := 1; i < len(targets); i++ {
		targets[i].Known = nil // all have the same
	}
	return json.Marshal(targets)
}

// Unpack reads what Pack has written.
func Unpack(text []byte) (targets []Target, err error) {
	if err := json.Unmarshal(text, &targets); err != nil {
		return nil, err
	}
	for i := range targets {
		targets[i].Known = targets[0].Known
	}
	return targets, nil
}

// MarshalJSON writes the certificate itself.
func (a Anchor) MarshalJSON() ([]byte, error) {
	return json.Marshal([2][]byte{a.Cert.Raw, []byte(a.Origin)})
}

// UnmarshalJSON reads it.
func (a *Anchor) UnmarshalJSON(text []byte) error {
	var parts [2][]byte
	err := json.Unmarshal(text, &parts)
	if err == nil {
		a.Origin = string(parts[1])
		a.Cert, err = x509.ParseCertificate(parts[0])
	}
	return err
}
