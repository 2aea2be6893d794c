// Command update-rds-ca renews the certificates in ca/ and tells when they expire. scripts/update-rds-ca.sh and
// scripts/check-rds-ca.sh build it and run it.
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

Renews the certificates in ca/. What has expired is dropped, what is not a CA refuses its whole bundle, and each
certificate is kept once, in the order of the regions. Prints what came, what went and what is new, for the
commit message. Same bundles, same files.

Without arguments, the bundles of all partitions are taken from AWS:
%s
With arguments, only the partitions named are renewed, each from a PEM file or an https URL. PARTITION is one of
the above, or amazon-trust: the roots of Amazon Trust Services, which RDS Proxy presents.

  scripts/update-rds-ca.sh
  scripts/update-rds-ca.sh aws-cn=global-bundle.pem

A bundle that cannot be had or read leaves its file in ca/ as it is; the others are renewed all the same.
Certificates of another partition are left out. A certificate that is not on ca/fingerprints.txt yet is printed as
a line for that list, to be added by whoever has compared it with independent copies.

Exit status: 0 done, 1 at least one partition could not be renewed, 2 the command was not understood.
`

const checkUsage = `Usage: scripts/check-rds-ca.sh

Reads every certificate in ca/, and in ca/extra/ those of the platform team. Fails when a root expires within
180 days; lists intermediates that do, which anchor nothing.

Exit status: 0 all is well, 1 a root expires soon, 2 a file cannot be read, or the command was not understood.
`

// source is where a partition's certificates come from: a file or an https URL.
type source struct{ partition, from string }

// bundles are AWS's own (Amazon RDS User Guide, "Using SSL/TLS to encrypt a connection to a DB instance", and its likes for
// GovCloud and China). AWS rewrites them whenever a region opens.
var bundles = []source{
	{"aws", "https://truststore.pki.rds.amazonaws.com/global/global-bundle.pem"},
	{"aws-us-gov", "https://truststore.pki.us-gov-west-1.rds.amazonaws.com/global/global-bundle.pem"},
	{"aws-cn", "https://rds-truststore.s3.cn-north-1.amazonaws.com.cn/global/global-bundle.pem"},
}

func main() {
	os.Exit(run(os.Args[1:], newClient(http.DefaultTransport.(*http.Transport).Clone()), time.Now(), os.Stdout, os.Stderr))
}

// run is both scripts without the process: update CA_DIR [PARTITION=FILE-OR-URL ...] or check CA_DIR. It returns the exit status.
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

// parseSources reads the arguments PARTITION=FILE-OR-URL. No argument means AWS's own bundles.
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
