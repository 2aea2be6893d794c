// Command update-rds-ca renews the certificates in ca/ and says when they expire.
// scripts/update-rds-ca.sh and scripts/check-rds-ca.sh build and run it.
package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/truststore"
)

const updateUsage = `Usage: scripts/update-rds-ca.sh [PARTITION=FILE-OR-URL ...]

Renews the certificates in ca/. It drops expired certificates and duplicates, and sorts the rest by
region. It refuses a bundle with a certificate that is not a CA. It prints what was added and removed
and what is new, for the commit message. The same bundles always give the same files.

Without arguments, it takes the bundles of all partitions from AWS:
%s
With arguments, it renews only the partitions named, each from a PEM file or an https URL. PARTITION
is one of the above, or amazon-trust: the roots of Amazon Trust Services, which sign the certificates
of RDS Proxy.

  scripts/update-rds-ca.sh
  scripts/update-rds-ca.sh aws-cn=global-bundle.pem

If a bundle cannot be fetched or read, its file in ca/ stays as it is, and the others are renewed all
the same. Certificates of another partition are left out. For each certificate that is not in
ca/fingerprints.txt yet, it prints a line for that list. Compare the certificate with independent
copies before you add it.

Exit status: 0 done, 1 at least one partition could not be renewed, 2 the command was not understood.
`

const checkUsage = `Usage: scripts/check-rds-ca.sh

Reads every certificate in ca/ and, in ca/extra/, those of the platform team. Fails if a root expires
within 180 days. Intermediates that do are only listed: clients trust the roots. Fails if a file of
ca/ has a certificate of another partition, and lists those that are not in ca/fingerprints.txt.

Exit status: 0 all is well, 1 a root expires soon, 2 a file cannot be read or has a certificate of another
partition, or the command was not understood.
`

// source is where a partition's certificates come from: a file or an https URL.
type source struct{ partition, from string }

// bundles are AWS's own (Amazon RDS User Guide, "Using SSL/TLS to encrypt a connection to a DB
// instance", and the same for GovCloud and China). AWS changes them whenever it opens a region.
var bundles = []source{
	{"aws", "https://truststore.pki.rds.amazonaws.com/global/global-bundle.pem"},
	{"aws-us-gov", "https://truststore.pki.us-gov-west-1.rds.amazonaws.com/global/global-bundle.pem"},
	{"aws-cn", "https://rds-truststore.s3.cn-north-1.amazonaws.com.cn/global/global-bundle.pem"},
}

func main() {
	os.Exit(run(os.Args[1:], newClient(http.DefaultTransport.(*http.Transport).Clone()), time.Now(), os.Stdout, os.Stderr))
}

// run does the work of both scripts, and returns the exit status. args are update CA_DIR
// [PARTITION=FILE-OR-URL ...] or check CA_DIR.
func run(args []string, client *http.Client, now time.Time, out, errOut io.Writer) int {
	if len(args) < 2 {
		fmt.Fprintln(errOut, "update-rds-ca: run scripts/update-rds-ca.sh or scripts/check-rds-ca.sh")
		return 2
	}
	command, caDir, args := args[0], args[1], args[2:]
	help := slices.Contains(args, "--help") || slices.Contains(args, "-h")
	switch {
	case command == "check" && help:
		fmt.Fprint(out, checkUsage)
		return 0
	case command == "check" && len(args) == 0:
		return runCheck(caDir, now, out, errOut)
	case command == "check":
		fmt.Fprintf(errOut, "check-rds-ca.sh: %s was not understood\n\n%s", args[0], checkUsage)
		return 2
	case help:
		fmt.Fprint(out, usageOfUpdate())
		return 0
	}
	sources, err := parseSources(args)
	if err != nil {
		fmt.Fprintf(errOut, "update-rds-ca.sh: %v\n\n%s", err, usageOfUpdate())
		return 2
	}
	return runUpdate(caDir, sources, client, now, out, errOut)
}

func usageOfUpdate() string {
	var list strings.Builder
	for _, b := range bundles {
		fmt.Fprintf(&list, "  %-11s %s\n", b.partition, b.from)
	}
	return fmt.Sprintf(updateUsage, list.String())
}

// parseSources reads the arguments PARTITION=FILE-OR-URL. Without any, it returns AWS's own
// bundles.
func parseSources(args []string) ([]source, error) {
	if len(args) == 0 {
		return bundles, nil
	}
	var sources []source
	for _, arg := range args {
		partition, from, ok := strings.Cut(arg, "=")
		known := partition == truststore.AmazonTrust || slices.ContainsFunc(bundles, func(b source) bool { return b.partition == partition })
		switch {
		case !ok || from == "":
			return nil, fmt.Errorf("%s is not PARTITION=FILE-OR-URL", arg)
		case !known:
			return nil, fmt.Errorf("%s is not a partition", partition)
		case slices.ContainsFunc(sources, func(s source) bool { return s.partition == partition }):
			return nil, fmt.Errorf("partition %s is named twice", partition)
		case isURL(from) && !strings.HasPrefix(from, "https://"):
			return nil, fmt.Errorf("%s: certificates come over https only", partition)
		}
		sources = append(sources, source{partition, from})
	}
	return sources, nil
}
