package truststore

import (
	"bytes"
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
	canonical, err := canonicalName(rawSubject)
	if err != nil {
		return 0, err
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

func canonicalName(rawSubject []byte) ([]byte, error) {
	var names asn1.RawValue
	if rest, err := asn1.Unmarshal(rawSubject, &names); err != nil || len(rest) > 0 || !isUniversal(names, asn1.TagSequence) {
		return nil, errName
	}
	var canonical []byte
	for rest := names.Bytes; len(rest) > 0; {
		var set asn1.RawValue
		var err error
		if rest, err = asn1.Unmarshal(rest, &set); err != nil || !isUniversal(set, asn1.TagSet) {
			return nil, errName
		}
		var members [][]byte
		for attributes := set.Bytes; len(attributes) > 0; {
			var a attribute
			if attributes, err = asn1.Unmarshal(attributes, &a); err != nil {
				return nil, errName
			}
			if a.Value, err = canonicalValue(a.Value); err != nil {
				return nil, err
			}
			der, err := asn1.Marshal(a)
			if err != nil {
				return nil, errName
			}
			members = append(members, der)
		}
		// DER sorts the members of a SET OF by their encoding.
		slices.SortFunc(members, bytes.Compare)
		var content []byte
		for _, m := range members {
			content = append(content, m...)
		}
		der, err := asn1.Marshal(asn1.RawValue{Tag: asn1.TagSet, IsCompound: true, Bytes: content})
		if err != nil {
			return nil, errName
		}
		canonical = append(canonical, der...)
	}
	return canonical, nil
}

func isUniversal(v asn1.RawValue, tag int) bool {
	return v.Class == asn1.ClassUniversal && v.Tag == tag && v.IsCompound
}

const (
	tagVisibleString   = 26
	tagUniversalString = 28
)

// canonicalValue converts a character string as asn1_string_canon does, and leaves any other value
// as it is. OpenSSL's ASN1_MASK_CANON lists the string types.
func canonicalValue(v asn1.RawValue) (asn1.RawValue, error) {
	if v.Class != asn1.ClassUniversal || v.IsCompound {
		return v, nil
	}
	var text []rune
	switch v.Tag {
	case asn1.TagUTF8String:
		if !utf8.Valid(v.Bytes) {
			return v, errName
		}
		text = []rune(string(v.Bytes))
	case asn1.TagPrintableString, asn1.TagT61String, asn1.TagIA5String, tagVisibleString:
		for _, b := range v.Bytes { // one byte a character, read as Latin-1
			text = append(text, rune(b))
		}
	case asn1.TagBMPString:
		if len(v.Bytes)%2 != 0 {
			return v, errName
		}
		for b := v.Bytes; len(b) > 0; b = b[2:] {
			text = append(text, rune(binary.BigEndian.Uint16(b)))
		}
	case tagUniversalString:
		if len(v.Bytes)%4 != 0 {
			return v, errName
		}
		for b := v.Bytes; len(b) > 0; b = b[4:] {
			text = append(text, rune(binary.BigEndian.Uint32(b)))
		}
	default:
		return v, nil
	}
	return asn1.RawValue{Tag: asn1.TagUTF8String, Bytes: foldText(text)}, nil
}

// foldText trims and collapses white space and lowers ASCII letters. Other characters stay as they
// are.
func foldText(text []rune) []byte {
	blank := func(r rune) bool { return r == ' ' || '\t' <= r && r <= '\r' }
	lower := func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}
	return []byte(strings.Map(lower, strings.Join(strings.FieldsFunc(string(text), blank), " ")))
}
