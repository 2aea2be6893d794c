package main

import (
	"bytes"
	"cmp"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/atomicfile"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/plain"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/rds"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/truststore"
)

// renewal is the change that a bundle makes to a partition's file.
type renewal struct {
	source
	certs          []*x509.Certificate // the file's new content, in order
	added, removed []*x509.Certificate // the difference from its old content
	otherPartition []*x509.Certificate // left out: their names belong to another partition
}

// renew decides what a partition's file will hold: the bundle's certificates, sorted, without
// duplicates, expired ones and those of another partition.
func renew(from source, old, bundle []*x509.Certificate, now time.Time) (renewal, error) {
	r := renewal{source: from}
	for _, c := range bundle {
		switch home := partitionOf(c); {
		case home != "" && home != from.partition:
			r.otherPartition = addOnce(r.otherPartition, c)
		case !now.After(c.NotAfter):
			r.certs = addOnce(r.certs, c)
		}
	}
	if len(r.certs) == 0 {
		return r, fmt.Errorf("has no certificate of %s that is still valid", from.partition)
	}
	sortCertificates(r.certs)
	sortCertificates(r.otherPartition)
	r.added = without(r.certs, old)
	r.removed = without(old, r.certs)
	return r, nil
}

func addOnce(certs []*x509.Certificate, c *x509.Certificate) []*x509.Certificate {
	if slices.ContainsFunc(certs, c.Equal) {
		return certs
	}
	return append(certs, c)
}

// without returns the certificates that are not among the others.
func without(certs, others []*x509.Certificate) []*x509.Certificate {
	return slices.DeleteFunc(slices.Clone(certs), func(c *x509.Certificate) bool { return slices.ContainsFunc(others, c.Equal) })
}

// partitionOf returns the partition of the region in a certificate's name, or "" if there is none.
func partitionOf(c *x509.Certificate) string {
	region := regionOf(c)
	if region == "" {
		return ""
	}
	return rds.Partition(region)
}

func regionOf(c *x509.Certificate) string { return rds.CertificateRegion(c.Subject.CommonName) }

// sortCertificates sorts by region, then by common name and fingerprint. Those without a region
// come last.
func sortCertificates(certs []*x509.Certificate) {
	key := func(c *x509.Certificate) []string {
		return []string{cmp.Or(regionOf(c), "~"), truststore.Name(c.Subject), truststore.Fingerprint(c)}
	}
	slices.SortFunc(certs, func(a, b *x509.Certificate) int { return slices.Compare(key(a), key(b)) })
}

// format returns a partition's file: for each certificate, a comment line and the PEM.
func format(certs []*x509.Certificate) ([]byte, error) {
	var b bytes.Buffer
	for _, c := range certs {
		fmt.Fprintf(&b, "# %s\n", describe(c))
		b.Write(truststore.EncodePEM([]*x509.Certificate{c}))
	}
	// A name could look like PEM, and every staging reads this file. So read it back and compare.
	again, err := truststore.Parse(b.Bytes())
	if err != nil || !slices.EqualFunc(again, certs, (*x509.Certificate).Equal) {
		return nil, errors.New("has a certificate whose name cannot be written into a PEM file")
	}
	return b.Bytes(), nil
}

func describe(c *x509.Certificate) string {
	return fmt.Sprintf("%s, expires %s, SHA-256 %s", name(c), plain.Day(c.NotAfter), truststore.Fingerprint(c))
}

// name returns the common name on one line. A bundle may come from anywhere.
func name(c *x509.Certificate) string { return plain.Line(truststore.Name(c.Subject)) }

// runUpdate renews one partition after the other. If one fails, its file stays as it is.
func runUpdate(caDir string, sources []source, client *http.Client, now time.Time, out, errOut io.Writer) int {
	status := 0
	var renewed []renewal
	for _, s := range sources {
		r, err := update(caDir, s, client, now)
		if err != nil {
			fmt.Fprintf(errOut, "update-rds-ca.sh: %s: %s: %s; ca/%s.pem was not touched\n",
				s.partition, place(s.from), plain.Line(err.Error()), s.partition)
			status = 1
			continue
		}
		renewed = append(renewed, r)
	}
	if len(renewed) == 0 {
		return status
	}
	unchecked, err := notListed(filepath.Join(caDir, "fingerprints.txt"), renewed)
	if err != nil {
		fmt.Fprintf(errOut, "update-rds-ca.sh: %v\n", err)
		status = 1
	}
	report(out, renewed, unchecked, now)
	return status
}

// update renews the file of one partition. It does not write a file that would stay the same.
func update(caDir string, s source, client *http.Client, now time.Time) (renewal, error) {
	file := filepath.Join(caDir, s.partition+".pem")
	data, err := os.ReadFile(file)
	var old []*x509.Certificate
	switch {
	case errors.Is(err, fs.ErrNotExist): // a partition that was not there
	case err != nil:
		return renewal{}, err
	default:
		if old, err = truststore.Parse(data); err != nil {
			return renewal{}, fmt.Errorf("the current file %w", err)
		}
	}
	bundle, err := fetch(client, s.from)
	if err != nil {
		return renewal{}, err
	}
	r, err := renew(s, old, bundle, now)
	if err != nil {
		return renewal{}, err
	}
	content, err := format(r.certs)
	if err != nil || bytes.Equal(content, data) {
		return r, err
	}
	return r, atomicfile.Write(file, content, 0o644)
}

// notListed returns the certificates that are not on the list. Those on it were compared with
// independent copies.
func notListed(list string, renewed []renewal) ([]*x509.Certificate, error) {
	text, err := os.ReadFile(list)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var certs []*x509.Certificate
	for _, r := range renewed {
		for _, c := range r.certs {
			if !bytes.Contains(text, []byte(truststore.Fingerprint(c)+"|")) {
				certs = addOnce(certs, c)
			}
		}
	}
	return certs, nil
}

// report prints what was added, what was removed and what is new, as the text of a commit message.
func report(out io.Writer, renewed []renewal, unchecked []*x509.Certificate, now time.Time) {
	added, removed := 0, 0
	for _, r := range renewed {
		added, removed = added+len(r.added), removed+len(r.removed)
	}
	fmt.Fprintf(out, "Renew the RDS certificates: %d added, %d removed\n", added, removed)
	for _, r := range renewed {
		fmt.Fprintf(out, "\n%s: %d certificates, from %s\n", r.partition, len(r.certs), place(r.from))
		if regions := r.newRegions(); len(regions) > 0 {
			fmt.Fprintf(out, "  new regions: %s\n", strings.Join(regions, ", "))
		}
		for _, c := range r.added {
			fmt.Fprintf(out, "  added    %s\n", describe(c))
		}
		for _, c := range r.removed {
			why := "expired on " + plain.Day(c.NotAfter)
			if !now.After(c.NotAfter) {
				why = "NO LONGER IN THE BUNDLE, though valid until " + plain.Day(c.NotAfter)
			}
			fmt.Fprintf(out, "  removed  %s, %s, SHA-256 %s\n", name(c), why, truststore.Fingerprint(c))
		}
		if len(r.added)+len(r.removed) == 0 {
			fmt.Fprintln(out, "  nothing added, nothing removed")
		}
		for _, c := range r.otherPartition {
			fmt.Fprintf(out, "  left out, belongs to %s: %s\n", partitionOf(c), describe(c))
		}
	}
	if len(unchecked) == 0 {
		return
	}
	fmt.Fprintf(out, "\nNew, and not in ca/fingerprints.txt. Compare each with independent copies, "+
		"name these at the end of its line, and add it:\n")
	for _, c := range unchecked {
		fmt.Fprintf(out, "%s|%s|%s|\n", truststore.Fingerprint(c), plain.Day(c.NotAfter), name(c))
	}
}

// newRegions returns the regions that the file did not have before.
func (r renewal) newRegions() []string {
	var known, regions []string
	for _, c := range r.certs {
		if !slices.ContainsFunc(r.added, c.Equal) {
			known = append(known, regionOf(c))
		}
	}
	for _, c := range r.added {
		region := regionOf(c)
		if region != "" && !slices.Contains(known, region) && !slices.Contains(regions, region) {
			regions = append(regions, region)
		}
	}
	return regions
}
