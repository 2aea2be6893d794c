package main

import (
	"crypto/x509"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/plain"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/truststore"
)

// soon is how long before its expiry we list a certificate. It leaves time for two releases of a
// platform and a company's change freeze.
const soon = 180 * 24 * time.Hour

// runCheck reads every file that a staging would read, and lists the certificates that expire soon.
func runCheck(caDir string, now time.Time, out, errOut io.Writer) int {
	files, err := filepath.Glob(filepath.Join(caDir, "*.pem"))
	if err == nil && len(files) == 0 {
		err = fmt.Errorf("%s has no certificates", caDir)
	}
	if err != nil {
		fmt.Fprintf(errOut, "check-rds-ca.sh: %v\n", err)
		return 2
	}
	extra, err := os.ReadDir(filepath.Join(caDir, truststore.Extra))
	if err != nil && !os.IsNotExist(err) {
		fmt.Fprintf(errOut, "check-rds-ca.sh: %v\n", err)
		return 2
	}
	for _, e := range extra {
		file := filepath.Join(caDir, truststore.Extra, e.Name())
		if filepath.Ext(file) == ".pem" {
			files = append(files, file)
		} else if !strings.HasPrefix(e.Name(), ".") {
			fmt.Fprintf(out, "%s: left out, its name does not end in .pem\n", shown(caDir, file))
		}
	}
	list, err := os.ReadFile(filepath.Join(caDir, "fingerprints.txt"))
	if err != nil && !os.IsNotExist(err) {
		fmt.Fprintf(errOut, "check-rds-ca.sh: %v\n", err)
		return 2
	}
	status := 0
	for _, file := range files {
		expiring, err := checkFile(shown(caDir, file), file, string(list), now, out)
		switch {
		case err != nil:
			fmt.Fprintf(errOut, "check-rds-ca.sh: %s: %v\n", shown(caDir, file), err)
			status = 2
		case expiring && status == 0:
			status = 1
		}
	}
	if status == 1 {
		fmt.Fprintln(errOut, "check-rds-ca.sh: a root expires soon: run scripts/update-rds-ca.sh or, for ca/extra, "+
			"replace your file; then package the buildpack again")
	}
	return status
}

// shown returns a file's path within the buildpack.
func shown(caDir, file string) string {
	if path, err := filepath.Rel(filepath.Dir(caDir), file); err == nil {
		return path
	}
	return file
}

// checkFile prints what a file has, which certificates expire soon, and which are not on the list
// of those compared with independent copies. It returns whether a root expires soon. A certificate of
// another partition is an error: it would vouch for the wrong hosts. In ca/extra anything goes.
func checkFile(title, file, list string, now time.Time, out io.Writer) (bool, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return false, err
	}
	certs, err := truststore.Parse(data)
	if err != nil {
		return false, err
	}
	partition := strings.TrimSuffix(filepath.Base(file), ".pem")
	extra := filepath.Base(filepath.Dir(file)) == truststore.Extra
	fmt.Fprintf(out, "%s: %s", title, count(len(certs)))
	if slices.ContainsFunc(certs, truststore.IsRoot) {
		fmt.Fprintf(out, ", the first root expires on %s", truststore.EarliestExpiry(certs).UTC().Format(time.DateOnly))
	}
	fmt.Fprintln(out)
	expiring := false
	for _, c := range certs {
		if home := partitionOf(c); !extra && home != "" && home != partition {
			return false, fmt.Errorf("contains %s, which belongs to %s", name(c), home)
		}
		if !extra && !strings.Contains(list, truststore.Fingerprint(c)+"|") {
			fmt.Fprintf(out, "  not in fingerprints.txt: %s\n", describe(c))
		}
		if c.NotAfter.After(now.Add(soon)) {
			continue
		}
		kind := "intermediate"
		if truststore.IsRoot(c) {
			kind, expiring = "ROOT", true
		}
		fmt.Fprintf(out, "  %s %s %s\n", kind, name(c), remaining(c, now))
	}
	return expiring, nil
}

func count(n int) string {
	if n == 1 {
		return "1 certificate"
	}
	return fmt.Sprintf("%d certificates", n)
}

func remaining(c *x509.Certificate, now time.Time) string {
	if now.After(c.NotAfter) {
		return "expired on " + plain.Day(c.NotAfter)
	}
	return fmt.Sprintf("expires on %s, in %d days", plain.Day(c.NotAfter), int(c.NotAfter.Sub(now).Hours()/24))
}
