package truststore

import (
	"crypto/sha1"
	"crypto/x509"
	"encoding/asn1"
	"encoding/binary"
	"slices"
	"strings"
)

// SubjectHash returns the hash that OpenSSL looks up in a folder of CAs, as `openssl x509
// -subject_hash` prints it: four bytes of a SHA-1 (crypto/x509/x509_cmp.c, X509_NAME_hash_ex) of the
// name's relative distinguished names, without the outer SEQUENCE (x_name.c, x509_name_canon).
func SubjectHash(cert *x509.Certificate) uint32 {
	var names []attributeSET
	_, _ = asn1.Unmarshal(cert.RawSubject, &names) // crypto/x509 has read the name, so it never fails
	var canonical []byte
	for _, name := range names {
		for i := range name {
			name[i].Value = canonicalValue(name[i].Value)
		}
		der, _ := asn1.Marshal(name)
		canonical = append(canonical, der...)
	}
	sum := sha1.Sum(canonical)
	return binary.LittleEndian.Uint32(sum[:4])
}

// attributeSET is a relative distinguished name. By the end of its name, encoding/asn1 knows that it
// is a SET OF, whose members DER sorts. Values stay raw: OpenSSL converts them by their tags.
type attributeSET []struct {
	Type  asn1.ObjectIdentifier
	Value asn1.RawValue
}

// canonicalValue converts a character string as asn1_string_canon does: into UTF-8, with ASCII letters
// in lower case and white space trimmed and collapsed. NumericString is none of ASN1_MASK_CANON.
// crypto/x509 reads no certificate with a type that is not here, or with invalid characters.
func canonicalValue(v asn1.RawValue) asn1.RawValue {
	var text []rune
	switch v.Tag {
	case asn1.TagNumericString:
		return v
	case asn1.TagUTF8String:
		text = []rune(string(v.Bytes))
	case asn1.TagBMPString:
		for character := range slices.Chunk(v.Bytes, 2) {
			text = append(text, rune(binary.BigEndian.Uint16(character)))
		}
	default: // Latin-1
		for _, b := range v.Bytes {
			text = append(text, rune(b))
		}
	}
	for i, r := range text {
		if 'A' <= r && r <= 'Z' {
			text[i] += 'a' - 'A'
		}
	}
	blank := func(r rune) bool { return strings.ContainsRune(" \t\n\v\f\r", r) }
	words := strings.FieldsFunc(string(text), blank)
	return asn1.RawValue{Tag: asn1.TagUTF8String, Bytes: []byte(strings.Join(words, " "))}
}
