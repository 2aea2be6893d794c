package truststore

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"fmt"
	"math/big"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// value is a raw ASN.1 value.
func value(class, tag int, compound bool, content string) asn1.RawValue {
	return asn1.RawValue{Class: class, Tag: tag, IsCompound: compound, Bytes: []byte(content)}
}

// encode encodes a name: the relative names, each of common names with these values. A relative name
// is a SET, and the name a SEQUENCE, unless another tag is given.
func encode(t testing.TB, sequence, set int, relative ...[]asn1.RawValue) []byte {
	t.Helper()
	marshal := func(v any) string {
		der, err := asn1.Marshal(v)
		require.NoError(t, err)
		return string(der)
	}
	var name string
	for _, values := range relative {
		var members string
		for _, v := range values {
			members += marshal(attributeSET{{asn1.ObjectIdentifier{2, 5, 4, 3}, v}}[0])
		}
		name += marshal(value(asn1.ClassUniversal, set, true, members))
	}
	return []byte(marshal(value(asn1.ClassUniversal, sequence, true, name)))
}

func utf8String(text string) asn1.RawValue {
	return value(asn1.ClassUniversal, asn1.TagUTF8String, false, text)
}

func hashOf(t testing.TB, name []byte) string {
	t.Helper()
	return fmt.Sprintf("%08x", SubjectHash(&x509.Certificate{RawSubject: name}))
}

// certificateOf makes a certificate with this subject.
func certificateOf(t testing.TB, name []byte) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), RawSubject: name, Issuer: pkix.Name{}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	return der
}

// opensslHash asks the real openssl for the hash of a certificate with this subject.
func opensslHash(t testing.TB, name []byte) string {
	t.Helper()
	cmd := exec.Command("openssl", "x509", "-noout", "-subject_hash")
	cmd.Stdin = strings.NewReader(string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificateOf(t, name)})))
	out, err := cmd.Output()
	require.NoError(t, err)
	return strings.TrimSpace(string(out))
}

func TestTheHashOfANameIsOpenSSLsInEachOfItsForms(t *testing.T) {
	sequence, set := asn1.TagSequence, asn1.TagSet
	long, short := utf8String("Amazon RDS"), utf8String("RDS")
	for name, der := range map[string][]byte{
		"several relative names":            encode(t, sequence, set, []asn1.RawValue{long}, []asn1.RawValue{short}),
		"several attributes in one":         encode(t, sequence, set, []asn1.RawValue{short, long}),
		"… in another order":                encode(t, sequence, set, []asn1.RawValue{long, short}),
		"two bytes a character":             encode(t, sequence, set, []asn1.RawValue{value(0, asn1.TagBMPString, false, "\x00A\x00 \x00 \x04\x10")}),
		"one byte a character":              encode(t, sequence, set, []asn1.RawValue{value(0, asn1.TagT61String, false, "\xc9T\xc9")}),
		"the letters at the ends":           encode(t, sequence, set, []asn1.RawValue{utf8String("A@Z[`a{z AZ")}),
		"white space of each kind":          encode(t, sequence, set, []asn1.RawValue{utf8String("\t\n\v\f\r a\t\vb\r \n")}),
		"what is next to white space is no": encode(t, sequence, set, []asn1.RawValue{utf8String("a\x08b\x0ec\x1f")}),
		"digits, which stay as they are":    encode(t, sequence, set, []asn1.RawValue{value(0, asn1.TagNumericString, false, " 1  2")}),
	} {
		t.Run(name, func(t *testing.T) {
			assert.Equal(t, opensslHash(t, der), hashOf(t, der))
		})
	}
}

func TestOneNameInEachStringTypeHasOneHash(t *testing.T) {
	in := func(tag int, text string) string {
		return hashOf(t, encode(t, asn1.TagSequence, asn1.TagSet, []asn1.RawValue{value(0, tag, false, text)}))
	}
	want := in(asn1.TagUTF8String, "a z")
	assert.Equal(t, want, in(asn1.TagPrintableString, "A  Z"))
	assert.Equal(t, want, in(asn1.TagBMPString, "\x00A\x00 \x00Z"))
}

// So the hash need not know them.
func TestGoReadsNoCertificateWithAValueOfAnotherTypeInItsName(t *testing.T) {
	for name, v := range map[string]asn1.RawValue{
		"control: a printable string":   value(0, asn1.TagPrintableString, false, "A"),
		"four bytes a character":        value(0, 28, false, "\x00\x00\x00A"),
		"a visible string":              value(0, 26, false, "A"),
		"bits":                          value(0, asn1.TagBitString, false, "\x00A "),
		"bytes":                         value(0, asn1.TagOctetString, false, "A"),
		"a class of its own":            value(asn1.ClassContextSpecific, asn1.TagUTF8String, false, "A"),
		"several values":                value(0, asn1.TagUTF8String, true, "\x0c\x01A"),
		"half a character of two bytes": value(0, asn1.TagBMPString, false, "\x00A\x00"),
		"UTF-8 that is none":            utf8String("\xff"),
	} {
		_, err := x509.ParseCertificate(certificateOf(t, encode(t, asn1.TagSequence, asn1.TagSet, []asn1.RawValue{v})))
		assert.Equal(t, strings.HasPrefix(name, "control"), err == nil, "%s: %v", name, err)
	}
}

// So the hash cannot fail.
func TestGoReadsNoCertificateWithANameOfAnotherForm(t *testing.T) {
	sequence, set := asn1.TagSequence, asn1.TagSet
	good := []asn1.RawValue{utf8String("a")}
	for name, der := range map[string][]byte{
		"a set for the whole":                 encode(t, set, set, good),
		"a sequence for a relative name":      encode(t, sequence, sequence, good),
		"something behind it":                 append(encode(t, sequence, set, good), 0),
		"an OCTET STRING":                     []byte("\x04\x00"),
		"nothing but a tag":                   []byte("\x30"),
		"text":                                []byte("CN=db"),
		"a relative name that is cut off":     []byte("\x30\x02\x31\x05"),
		"an attribute that is cut off":        []byte("\x30\x04\x31\x02\x30\x05"),
		"a relative name that is no set":      []byte("\x30\x02\x05\x00"),
		"an attribute that is no attribute":   []byte("\x30\x04\x31\x02\x05\x00"),
		"a relative name that is primitive":   []byte("\x30\x02\x11\x00"),
		"a class of its own for the whole":    []byte("\xb0\x00"),
		"a class of its own for a part of it": []byte("\x30\x02\xb1\x00"),
	} {
		t.Run(name, func(t *testing.T) {
			_, err := x509.ParseCertificate(certificateOf(t, der))
			assert.Error(t, err)
		})
	}
	_, err := x509.ParseCertificate(certificateOf(t, encode(t, sequence, set, good)))
	assert.NoError(t, err, "the control")
}

func FuzzANameThatGoReadsIsReadForTheHash(f *testing.F) {
	f.Add(encode(f, asn1.TagSequence, asn1.TagSet, []asn1.RawValue{utf8String("a")}, []asn1.RawValue{utf8String("b"), utf8String("c")}))
	f.Add([]byte("\x30\x00"))
	f.Add([]byte("\x30\x02\x31\x00"))
	f.Add([]byte("\x30\x0d\x31\x0b\x30\x09\x06\x03\x55\x04\x03\x0c\x01a\x0c"))
	f.Fuzz(func(t *testing.T, name []byte) {
		cert, err := x509.ParseCertificate(certificateOf(t, name))
		if err != nil {
			return
		}
		var names []attributeSET
		rest, err := asn1.Unmarshal(cert.RawSubject, &names)
		require.NoError(t, err)
		assert.Empty(t, rest)
		for _, name := range names {
			_, err := asn1.Marshal(name)
			assert.NoError(t, err)
		}
	})
}
