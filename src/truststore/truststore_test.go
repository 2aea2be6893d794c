package truststore

import (
	"bytes"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/tools/pgtest"
)

const buildpackCA = "../../ca"

// opensslHashes asks the real openssl, all at once: rehash links HHHHHHHH.N to each file.
func opensslHashes(t testing.TB, certs []*x509.Certificate) []string {
	t.Helper()
	dir := t.TempDir()
	for i, cert := range certs {
		require.NoError(t, os.WriteFile(filepath.Join(dir, fmt.Sprint(i, ".pem")), EncodePEM([]*x509.Certificate{cert}), 0o600))
	}
	require.NoError(t, exec.Command("openssl", "rehash", dir).Run())
	links, err := filepath.Glob(filepath.Join(dir, "*.[0-9]*"))
	require.NoError(t, err)
	hashes := make([]string, len(certs))
	for _, link := range links {
		file, err := os.Readlink(link)
		require.NoError(t, err)
		i, err := strconv.Atoi(strings.TrimSuffix(file, ".pem"))
		require.NoError(t, err)
		hashes[i], _, _ = strings.Cut(filepath.Base(link), ".")
	}
	return hashes
}

func TestTheNameHashIsOpenSSLs(t *testing.T) {
	sets, err := Read(buildpackCA)
	require.NoError(t, err)
	system, err := os.ReadFile("/etc/ssl/certs/ca-certificates.crt")
	require.NoError(t, err, "install ca-certificates")
	more, err := Parse(system)
	require.NoError(t, err)
	assert.Greater(t, len(more), 50)
	const all = "all"
	for _, name := range sets.Names() {
		for _, cert := range sets[name] {
			sets[all] = Union(sets[all], cert)
		}
	}
	for _, cert := range more {
		sets[all] = Union(sets[all], cert)
	}
	for i, want := range opensslHashes(t, sets[all]) {
		assert.Equal(t, want, fmt.Sprintf("%08x", SubjectHash(sets[all][i])), Name(sets[all][i].Subject))
	}
}

// subject encodes one attribute per relative name, all of the given string type.
func subject(t testing.TB, tag int, values ...[]byte) []byte {
	t.Helper()
	var rdns []byte
	for _, value := range values {
		attribute, err := asn1.Marshal(struct {
			Type  asn1.ObjectIdentifier
			Value asn1.RawValue
		}{asn1.ObjectIdentifier{2, 5, 4, 3}, asn1.RawValue{Tag: tag, Bytes: value}})
		require.NoError(t, err)
		set, err := asn1.Marshal(asn1.RawValue{Tag: asn1.TagSet, IsCompound: true, Bytes: attribute})
		require.NoError(t, err)
		rdns = append(rdns, set...)
	}
	der, err := asn1.Marshal(asn1.RawValue{Tag: asn1.TagSequence, IsCompound: true, Bytes: rdns})
	require.NoError(t, err)
	return der
}

func TestNamesThatDifferOnlyInCaseSpaceAndStringTypeHaveTheSameHash(t *testing.T) {
	reference := hashOf(t, subject(t, asn1.TagUTF8String, []byte("amazon rds root")))
	for _, same := range [][]byte{
		subject(t, asn1.TagUTF8String, []byte("  Amazon \t RDS  Root ")),
		subject(t, asn1.TagPrintableString, []byte("Amazon RDS Root")),
		subject(t, asn1.TagBMPString, []byte("\x00A\x00m\x00a\x00z\x00o\x00n\x00 \x00R\x00D\x00S\x00 \x00R\x00o\x00o\x00t")),
	} {
		assert.Equal(t, reference, hashOf(t, same))
	}
	assert.NotEqual(t, reference, hashOf(t, subject(t, asn1.TagUTF8String, []byte("amazon rds roots"))))
}

// FuzzNameHash compares with the real openssl, for names of every string type that crypto/x509 reads.
func FuzzNameHash(f *testing.F) {
	f.Add(uint8(asn1.TagUTF8String), []byte("Amazon  RDS"), []byte("Größe"))
	f.Add(uint8(asn1.TagPrintableString), []byte(" a b "), []byte("A"))
	f.Add(uint8(asn1.TagT61String), []byte("\xe9t\xe9"), []byte{})
	f.Add(uint8(asn1.TagBMPString), []byte("\x00A\x04\x10"), []byte("\x00 \x00b"))
	f.Add(uint8(asn1.TagNumericString), []byte("12 3"), []byte("4"))
	f.Fuzz(func(t *testing.T, tag uint8, first, second []byte) {
		known := []int{asn1.TagUTF8String, asn1.TagPrintableString, asn1.TagT61String, asn1.TagIA5String,
			asn1.TagBMPString, asn1.TagNumericString}
		name := subject(t, known[int(tag)%len(known)], first, second)
		der := certificateOf(t, name)
		if _, err := x509.ParseCertificate(der); err != nil {
			return // no certificate of ours has such a name
		}
		cmd := exec.Command("openssl", "x509", "-inform", "DER", "-noout", "-subject_hash")
		cmd.Stdin = bytes.NewReader(der)
		out, opensslErr := cmd.Output()
		if opensslErr != nil {
			t.Skip("openssl does not read this name") // surrogates, code points beyond Unicode
		}
		assert.Equal(t, strings.TrimSpace(string(out)), hashOf(t, name))
	})
}

func TestEveryCertificateOnBoardWasComparedWithIndependentCopies(t *testing.T) {
	list, err := os.ReadFile(filepath.Join(buildpackCA, "fingerprints.txt"))
	require.NoError(t, err)
	known := map[string]bool{}
	for line := range strings.Lines(string(list)) {
		if !strings.HasPrefix(line, "#") {
			known[strings.SplitN(line, "|", 2)[0]] = true
		}
	}
	sets, err := Read(buildpackCA)
	require.NoError(t, err)
	for _, name := range []string{"aws", "aws-us-gov", "aws-cn", AmazonTrust} {
		require.NotEmpty(t, sets[name], name)
		for _, cert := range sets[name] {
			assert.True(t, known[Fingerprint(cert)], "%s: %s is not in ca/fingerprints.txt", name, Name(cert.Subject))
			assert.True(t, cert.NotAfter.After(time.Now()), "%s has expired", Name(cert.Subject))
		}
	}
}

func TestARegionHoldsItsOwnCAsAndNoOthers(t *testing.T) {
	sets, err := Read(buildpackCA)
	require.NoError(t, err)
	require.Len(t, sets["us-west-2"], 3)
	for _, cert := range sets["us-west-2"] {
		assert.Contains(t, Name(cert.Subject), " us-west-2 ")
	}
	assert.Len(t, sets["us-gov-west-1"], 5, "with the intermediates, which help to build a chain")
	for _, cert := range sets["us-east-1"] {
		assert.NotContains(t, Name(cert.Subject), "Beta", "AWS's own test stages belong to no region")
	}
	assert.Len(t, sets["cn-north-1"], 3)
	assert.Len(t, sets["cn-northwest-1"], 3)
	assert.Len(t, sets[AmazonTrust], 5)
}

func TestTheLayoutIsWhatOpenSSLVerifiesBy(t *testing.T) {
	dir := t.TempDir()
	sets, err := Read(buildpackCA)
	require.NoError(t, err)
	require.NoError(t, Write(dir, sets))
	store, err := Open(dir)
	require.NoError(t, err)
	assert.Equal(t, sets.Names(), store.Names)

	root := filepath.Join(t.TempDir(), "root.pem")
	require.NoError(t, os.WriteFile(root, EncodePEM(sets["us-west-2"][:1]), 0o600))
	verify := func(set string) error {
		return exec.Command("openssl", "verify", "-no-CAfile", "-CApath", store.Folder(set), root).Run()
	}
	assert.NoError(t, verify("us-west-2"))
	assert.NoError(t, verify("aws"))
	assert.Error(t, verify("us-east-1"), "the control: another region's CAs do not verify it")

	rehashed := t.TempDir()
	for i, cert := range sets["aws"] {
		require.NoError(t, os.WriteFile(filepath.Join(rehashed, fmt.Sprintf("%03d.pem", i)), EncodePEM([]*x509.Certificate{cert}), 0o600))
	}
	require.NoError(t, exec.Command("openssl", "rehash", rehashed).Run())
	ours, err := filepath.Glob(filepath.Join(store.Folder("aws"), "*.[0-9]*"))
	require.NoError(t, err)
	theirs, err := filepath.Glob(filepath.Join(rehashed, "*.[0-9]*"))
	require.NoError(t, err)
	assert.Equal(t, baseNames(theirs), baseNames(ours))
}

func baseNames(paths []string) []string {
	var names []string
	for _, p := range paths {
		if !strings.HasSuffix(p, ".pem") {
			names = append(names, filepath.Base(p))
		}
	}
	return names
}

func TestCertificatesWithOneNameAreNumberedWithoutAGap(t *testing.T) {
	dir := t.TempDir()
	twins := []*x509.Certificate{pgtest.NewCA(t, "Twin").Cert, pgtest.NewCA(t, "TWIN").Cert}
	require.NoError(t, Write(dir, Sets{"twins": twins}))
	entries, err := filepath.Glob(filepath.Join(dir, "twins", "*"))
	require.NoError(t, err)
	require.Len(t, entries, 2)
	assert.True(t, strings.HasSuffix(entries[0], ".0") && strings.HasSuffix(entries[1], ".1"), entries)
}

func TestSameCertificatesGiveTheSameFiles(t *testing.T) {
	sets, err := Read(buildpackCA)
	require.NoError(t, err)
	one, two := t.TempDir(), t.TempDir()
	require.NoError(t, Write(one, sets))
	require.NoError(t, Write(two, sets))
	assert.NoError(t, exec.Command("diff", "-r", one, two).Run())
}

func TestCompanyCAsAreASetOfTheirOwn(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(dir, "extra"), 0o755))
	company := pgtest.NewCA(t, "Amazon RDS us-west-2 Company").Cert
	require.NoError(t, os.WriteFile(filepath.Join(dir, "aws.pem"), pgtest.NewCA(t, "Amazon RDS us-west-2 Root CA RSA2048 G1").PEM, 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "extra", "company.pem"), EncodePEM([]*x509.Certificate{company}), 0o600))
	sets, err := Read(dir)
	require.NoError(t, err)
	assert.Equal(t, []string{"aws", "extra", "us-west-2"}, sets.Names())
	assert.Len(t, sets["us-west-2"], 1, "the name alone does not make it an RDS CA")
}

func TestABuildpackWithoutCertificatesIsRefused(t *testing.T) {
	_, err := Read(t.TempDir())
	assert.ErrorContains(t, err, "has no certificates")
	_, err = Open(filepath.Join(t.TempDir(), "trust"))
	assert.ErrorContains(t, err, "restage the app")
}

func TestEveryFormOfCredentialIsRead(t *testing.T) {
	a, b := pgtest.NewCA(t, "A").Cert, pgtest.NewCA(t, "B").Cert
	pemA, pemB := string(EncodePEM([]*x509.Certificate{a})), string(EncodePEM([]*x509.Certificate{b}))
	for name, test := range map[string]struct {
		value string
		count int
	}{
		"PEM":                      {pemA, 1},
		"without the last newline": {strings.TrimSpace(pemA), 1},
		"several":                  {pemA + pemB, 2},
		"text around them":         {"issued by us\n" + pemA + "and\n" + pemB + "that is all", 2},
		"Windows line ends":        {strings.ReplaceAll(pemA, "\n", "\r\n"), 1},
		"base64 of PEM":            {base64.StdEncoding.EncodeToString([]byte(pemA + pemB)), 2},
		"base64 in lines":          {strings.Join(split(base64.StdEncoding.EncodeToString([]byte(pemA)), 76), "\n"), 1},
		`\n as two characters`:     {strings.ReplaceAll(pemA, "\n", `\n`), 1},
		`\r\n as four characters`:  {strings.ReplaceAll(pemA, "\n", `\r\n`), 1},
		"version 1, self-signed":   {version1PEM, 1},
	} {
		t.Run(name, func(t *testing.T) {
			certs, err := ParseCredential(test.value)
			require.NoError(t, err)
			assert.Len(t, certs, test.count)
		})
	}
}

func split(s string, width int) []string {
	var lines []string
	for len(s) > width {
		lines, s = append(lines, s[:width]), s[width:]
	}
	return append(lines, s)
}

func TestAnythingButACAIsRefusedAndNotShown(t *testing.T) {
	ca := string(pgtest.NewCA(t, "CA").PEM)
	leaf := pgtest.NewCA(t, "leaf", func(c *x509.Certificate) { c.IsCA = false }).Cert
	// Bearing its issuer's name does not make it self-signed: the signature must be its own.
	raw := slices.Clone(leaf.Raw)
	raw[len(raw)-1] ^= 1
	forged, err := x509.ParseCertificate(raw)
	require.NoError(t, err)
	for name, test := range map[string]struct{ value, wrong string }{
		"a word":             {"s3cr3t", "neither PEM nor base64"},
		"a path":             {"/etc/ssl/certs/rds.pem", "neither PEM nor base64"},
		"base64 of a word":   {base64.StdEncoding.EncodeToString([]byte("s3cr3t")), "has no PEM certificate"},
		"a key":              {"-----BEGIN PRIVATE KEY-----\nczNjcjN0\n-----END PRIVATE KEY-----\n", "only 0 of 1 PEM blocks can be read as a certificate"},
		"a key beside a CA":  {ca + "-----BEGIN PRIVATE KEY-----\nczNjcjN0\n-----END PRIVATE KEY-----\n", "only 1 of 2 PEM blocks can be read as a certificate; the rest is a key, damaged or cut off"},
		"one called another": {strings.ReplaceAll(ca, "CERTIFICATE", "TRUSTED CERTIFICATE"), "only 0 of 1 PEM blocks"},
		"not DER":            {"-----BEGIN CERTIFICATE-----\nczNjcjN0\n-----END CERTIFICATE-----\n", "only 0 of 1 PEM blocks"},
		"cut off":            {ca + ca[:len(ca)-60], "damaged or cut off"},
		"damaged in between": {ca[:100] + "s3cr3t" + ca[100:] + ca, "damaged"},
		"a server's own":     {string(EncodePEM([]*x509.Certificate{forged})), "certificate 1 (leaf) is not a CA"},
		"nothing":            {"", "has no PEM certificate"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ParseCredential(test.value)
			require.Error(t, err)
			if name != "damaged in between" { // six more letters may still be base64
				assert.ErrorContains(t, err, test.wrong)
			}
			assert.NotContains(t, err.Error(), "s3cr3t")
			assert.NotContains(t, err.Error(), "czNjcjN0")
		})
	}
}

func TestAPinnedSelfSignedCertificateIsAnAnchorInCredentialsOnly(t *testing.T) {
	pinned := pgtest.NewCA(t, "db.example.com", func(c *x509.Certificate) { c.IsCA = false }).PEM
	certs, err := ParseCredential(string(pinned))
	require.NoError(t, err)
	assert.Len(t, certs, 1)
	_, err = Parse(pinned)
	assert.ErrorContains(t, err, "is not a CA", "the buildpack's own files are held to more")
}

func FuzzCredentialsAreCAsOrAnError(f *testing.F) {
	ca := pgtest.NewCA(f, "CA").PEM
	f.Add(string(ca))
	f.Add(strings.ReplaceAll(string(ca), "\n", `\n`))
	f.Add(base64.StdEncoding.EncodeToString(ca))
	f.Add(version1PEM)
	f.Add("-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----")
	f.Fuzz(func(t *testing.T, value string) {
		certs, err := ParseCredential(value)
		if err != nil {
			assert.Empty(t, certs)
			return
		}
		require.NotEmpty(t, certs)
		again, err := Parse(EncodePEM(certs))
		require.NoError(t, err)
		assert.Len(t, again, len(certs))
		for _, c := range certs {
			assert.True(t, isCA(c))
		}
	})
}

func TestOnlyRootsCountForTheFirstExpiry(t *testing.T) {
	sets, err := Read(buildpackCA)
	require.NoError(t, err)
	gov := sets["aws-us-gov"]
	soonest := time.Now().AddDate(100, 0, 0)
	for _, c := range gov {
		if c.NotAfter.Before(soonest) {
			soonest = c.NotAfter
		}
	}
	assert.Equal(t, 2027, soonest.Year(), "the intermediates expire first")
	assert.Equal(t, 2062, EarliestExpiry(gov).Year())
	assert.True(t, EarliestExpiry(nil).IsZero())
	intermediate := slices.DeleteFunc(slices.Clone(gov), IsRoot)
	assert.Equal(t, soonest, EarliestExpiry(intermediate), "without a root, all count")
}

// version1PEM is an X.509 version 1 certificate, as old private CAs are: `openssl x509 -req` writes
// one if no extensions are given.
var version1PEM = func() string {
	dir, err := os.MkdirTemp("", "v1-*")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	key, csr := filepath.Join(dir, "key"), filepath.Join(dir, "csr")
	run := func(args ...string) []byte {
		out, err := exec.Command("openssl", args...).Output()
		if err != nil {
			panic(fmt.Sprint("openssl ", args, ": ", err))
		}
		return out
	}
	run("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", key, "-out", csr, "-subj", "/CN=Old CA")
	out := run("x509", "-req", "-in", csr, "-signkey", key, "-days", "2")
	if block, _ := pem.Decode(out); block == nil {
		panic("openssl printed no certificate")
	}
	return string(out)
}()
