package wire

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/sslmode"
)

// packed is targets for another process, with what connecting and its diagnosis need.
type packed struct {
	Certificates [][]byte // each once: targets share most of them
	Known        []packedAnchor
	Targets      []packedTarget
}

type packedTarget struct {
	Name, Host, Source          string
	Port                        uint16
	Mode                        sslmode.Mode
	Trust                       []packedAnchor
	Client                      [][]byte
	ClientKey                   []byte // PKCS #8
	Lever, TrustWhy, TrustPlace string
	Problem                     *Problem
}

type packedAnchor struct {
	Certificate int
	Origin      string
}

// Pack writes targets for Unpack, without their users, passwords and further hosts.
func Pack(targets []Target) ([]byte, error) {
	var p packed
	index := map[string]int{}
	pack := func(anchors []Anchor) (all []packedAnchor) {
		for _, a := range anchors {
			der := string(a.Cert.Raw)
			if _, known := index[der]; !known {
				index[der] = len(p.Certificates)
				p.Certificates = append(p.Certificates, a.Cert.Raw)
			}
			all = append(all, packedAnchor{index[der], a.Origin})
		}
		return all
	}
	for i, t := range targets {
		if i == 0 {
			p.Known = pack(t.known)
		}
		one := packedTarget{Name: t.Name, Host: t.Host, Source: t.Source, Port: t.Port, Mode: t.Mode, Trust: pack(t.Trust),
			Lever: t.Lever, TrustWhy: t.trustWhy, TrustPlace: t.trustPlace, Problem: t.Problem}
		if t.Client != nil {
			var err error
			one.Client = t.Client.Certificate
			if one.ClientKey, err = x509.MarshalPKCS8PrivateKey(t.Client.PrivateKey); err != nil {
				return nil, err
			}
		}
		p.Targets = append(p.Targets, one)
	}
	return json.Marshal(p)
}

// Unpack reads what Pack has written.
func Unpack(text []byte) ([]Target, error) {
	var p packed
	if err := json.Unmarshal(text, &p); err != nil {
		return nil, err
	}
	certificates := make([]*x509.Certificate, len(p.Certificates))
	for i, der := range p.Certificates {
		var err error
		if certificates[i], err = x509.ParseCertificate(der); err != nil {
			return nil, err
		}
	}
	unpack := func(anchors []packedAnchor) (all []Anchor) {
		for _, a := range anchors {
			all = append(all, Anchor{certificates[a.Certificate], a.Origin})
		}
		return all
	}
	var targets []Target
	for _, one := range p.Targets {
		t := Target{Name: one.Name, Host: one.Host, Source: one.Source, Port: one.Port, Mode: one.Mode, Trust: unpack(one.Trust),
			Tunnel: true, Lever: one.Lever, trustWhy: one.TrustWhy, trustPlace: one.TrustPlace, Problem: one.Problem, known: unpack(p.Known)}
		if one.Client != nil {
			key, err := x509.ParsePKCS8PrivateKey(one.ClientKey)
			if err != nil {
				return nil, err
			}
			t.Client = &tls.Certificate{Certificate: one.Client, PrivateKey: key}
		}
		targets = append(targets, t)
	}
	return targets, nil
}
