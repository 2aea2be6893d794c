package truststore

import (
	"cmp"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/rds"
)

// The sets that are neither a partition nor a region of RDS.
const (
	AmazonTrust = "amazon-trust" // Amazon Trust Services, which signs the certificates of RDS Proxy
	Extra       = "extra"        // the CAs that a platform team put under ca/extra before packaging
)

// Sets are CAs by name: of a partition ("aws"), a region ("us-west-2"), AmazonTrust or Extra.
type Sets map[string][]*x509.Certificate

// Names returns the names of the sets, sorted.
func (s Sets) Names() []string { return slices.Sorted(maps.Keys(s)) }

// Read reads a buildpack's ca folder: a PEM file per partition, which it also splits by the region in
// the common names, amazon-trust.pem, and extra/*.pem.
func Read(caDir string) (Sets, error) {
	ca := os.DirFS(caDir)
	files, _ := fs.Glob(ca, "*.pem") // Glob fails only for a malformed pattern
	if len(files) == 0 {
		return nil, fmt.Errorf("%s has no certificates; is the buildpack complete?", caDir)
	}
	extra, _ := fs.Glob(ca, Extra+"/*.pem")
	sets := Sets{}
	for _, file := range append(files, extra...) {
		certs, err := parseFile(filepath.Join(caDir, file))
		if err != nil {
			return nil, err
		}
		name := strings.TrimSuffix(file, ".pem")
		if strings.Contains(file, "/") {
			name = Extra
		}
		for _, c := range certs {
			sets[name] = Union(sets[name], c)
			if region := rds.CertificateRegion(c.Subject.CommonName); region != "" && name != Extra {
				sets[region] = Union(sets[region], c)
			}
		}
	}
	return sets, nil
}

func parseFile(file string) ([]*x509.Certificate, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	certs, err := Parse(data)
	if err != nil {
		err = fmt.Errorf("%s: %w", file, err)
	}
	return certs, err
}

// Union adds to certs those of more that it does not have.
func Union(certs []*x509.Certificate, more ...*x509.Certificate) []*x509.Certificate {
	for _, c := range more {
		if !slices.ContainsFunc(certs, c.Equal) {
			certs = append(certs, c)
		}
	}
	return certs
}

// Write lays the sets out in dir. Each becomes a folder NAME, indexed by name hash for OpenSSL and
// Go, and one file NAME.pem for libpq and Node. The same sets always give the same bytes.
func Write(dir string, sets Sets) error {
	for _, name := range sets.Names() {
		folder := filepath.Join(dir, name)
		err := os.MkdirAll(folder, 0o755)
		for _, file := range Index(sets[name]) {
			err = cmp.Or(err, os.WriteFile(filepath.Join(folder, file.Name), file.Content, 0o644))
		}
		if err = cmp.Or(err, os.WriteFile(folder+".pem", EncodePEM(sets[name]), 0o644)); err != nil {
			return err
		}
	}
	return nil
}

// Entry is a file in a folder of CAs.
type Entry struct {
	Name    string
	Content []byte
}

// Index returns one file per certificate, named HHHHHHHH.N as `openssl rehash` does. N numbers the
// certificates with the same hash: OpenSSL stops at the first gap (X509_LOOKUP_hash_dir(3)).
func Index(certs []*x509.Certificate) (files []Entry) {
	next := map[uint32]int{}
	for _, c := range certs {
		hash := SubjectHash(c)
		name := fmt.Sprintf("%08x.%d", hash, next[hash])
		next[hash]++
		files = append(files, Entry{name, EncodePEM([]*x509.Certificate{c})})
	}
	return files
}

// Store is a droplet's trust store: its folder, and the names of its sets.
type Store struct {
	Dir     string
	Names   []string // sorted
	LaidOut bool     // it is in Dir, and not just in memory

	sets Sets // in memory, as far as they have been parsed
}

// NewStore returns the store that Write would make of the sets, without writing it.
func NewStore(dir string, sets Sets) Store { return Store{Dir: dir, Names: sets.Names(), sets: sets} }

// Open lists the trust store that Write laid out in dir. It reads no certificate, for a quick launch.
func Open(dir string) (Store, error) {
	store := Store{Dir: dir, LaidOut: true, sets: Sets{}}
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(entries) == 0 {
		return store, fmt.Errorf("%s has no trust store; restage the app", dir)
	}
	for _, e := range entries {
		if e.IsDir() {
			store.Names = append(store.Names, e.Name())
		}
	}
	return store, err
}

// Folder returns the path of a set's folder, for SSL_CERT_DIR.
func (s Store) Folder(name string) string { return filepath.Join(s.Dir, name) }

// Bundle returns the path of a set's file, for PGSSLROOTCERT.
func (s Store) Bundle(name string) string { return filepath.Join(s.Dir, name+".pem") }

// PEM returns the certificates of sets as EncodePEM writes them, without parsing them.
func (s Store) PEM(names ...string) (all []byte, err error) {
	for _, name := range names {
		text := EncodePEM(s.sets[name])
		if s.LaidOut {
			if text, err = os.ReadFile(s.Bundle(name)); err != nil {
				return nil, err
			}
		}
		all = append(all, text...)
	}
	return all, nil
}

// Certificates returns the certificates of sets. It parses each set once.
func (s Store) Certificates(names ...string) (all []*x509.Certificate, err error) {
	for _, name := range names {
		if _, known := s.sets[name]; !known {
			certs, err := parseFile(s.Bundle(name))
			if err != nil {
				return nil, err
			}
			s.sets[name] = certs
		}
		all = append(all, s.sets[name]...)
	}
	return all, nil
}
