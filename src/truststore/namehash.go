package truststore

import (
	"crypto/sha1"
	"encoding/asn1"
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"unicode/utf8"
)

// SubjectHash returns the hash that OpenSSL looks up in a folder of CAs, the number that
// `openssl x509 -subject_hash` prints. The input is the subject's DER, as in
// x509.Certificate.RawSubject. It fails if that is not a well-formed X.501 name.
//
// The hash is the first four bytes of a SHA-1, least significant first. What is hashed is the
// canonical encoding of the name: its relative distinguished names without the outer SEQUENCE, each
// character string in UTF-8 and lower case, its white space trimmed and collapsed.
//
// Source: OpenSSL, crypto/x509/x509_cmp.c, X509_NAME_hash_ex, for the hash; crypto/x509/x_name.c,
// x509_name_canon, for the encoding.
func SubjectHash(rawSubject []byte) (uint32, error) {
	var names []attributeSET
	if rest, err := asn1.Unmarshal(rawSubject, &names); err != nil || len(rest) > 0 {
		return 0, errName
	}
	var canonical []byte
	for _, name := range names {
		for i := range name {
			var err error
			if name[i].Value, err = canonicalValue(name[i].Value); err != nil {
				return 0, err
			}
		}
		der, err := asn1.Marshal(name)
		if err != nil {
			return 0, errName
		}
		canonical = append(canonical, der...)
	}
	sum := sha1.Sum(canonical)
	return binary.LittleEndian.Uint32(sum[:4]), nil
}

var errName = errors.New("subject is not a well-formed X.501 name")

// attribute is an AttributeTypeAndValue. The value stays raw, because OpenSSL copies or converts it
// by its tag.
type attribute struct {
	Type  asn1.ObjectIdentifier
	Value asn1.RawValue
}

// attributeSET is a relative distinguished name. By the end of its name, encoding/asn1 knows that it
// is a SET OF, whose members DER sorts.
type attributeSET []attribute

const (
	tagVisibleString   = 26
	tagUniversalString = 28
)

// widths are the bytes of a character in each string type of OpenSSL's ASN1_MASK_CANON but
// UTF8String. One byte is read as Latin-1.
var widths = map[int]int{asn1.TagPrintableString: 1, asn1.TagT61String: 1, asn1.TagIA5String: 1, tagVisibleString: 1,
	asn1.TagBMPString: 2, tagUniversalString: 4}

// canonicalValue converts a character string as asn1_string_canon does, and leaves any other value
// as it is.
func canonicalValue(v asn1.RawValue) (asn1.RawValue, error) {
	width := widths[v.Tag]
	switch {
	case v.Class != asn1.ClassUniversal || v.IsCompound:
		return v, nil
	case v.Tag == asn1.TagUTF8String && utf8.Valid(v.Bytes):
		return fold(string(v.Bytes)), nil
	case v.Tag == asn1.TagUTF8String, width > 0 && len(v.Bytes)%width != 0:
		return v, errName
	case width == 0:
		return v, nil
	}
	var text []rune
	for character := range slices.Chunk(v.Bytes, width) {
		var r rune
		for _, b := range character {
			r = r<<8 | rune(b)
		}
		text = append(text, r)
	}
	return fold(string(text)), nil
}

// fold trims and collapses white space and lowers ASCII letters. Other characters stay as they are.
func fold(text string) asn1.RawValue {
	lower := func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}
	blank := func(r rune) bool { return strings.ContainsRune(" \t\n\v\f\r", r) }
	text = strings.Map(lower, strings.Join(strings.FieldsFunc(text, blank), " "))
	return asn1.RawValue{Tag: asn1.TagUTF8String, Bytes: []byte(text)}
}
