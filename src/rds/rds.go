// Package rds tells from a host name which cloud service runs the database, and with that who signs
// its certificate.
package rds

import (
	"slices"
	"strings"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/lazyregexp"
)

// Endpoint is what an endpoint's host name says about its certificate.
type Endpoint struct {
	Service   Service
	Partition string // of AWS, by AWS's name: "aws", "aws-us-gov", "aws-cn", …; "" for Azure
	Region    string // "us-west-2"; "" for a global Aurora cluster's writer, which changes regions
}

// Service is a service that runs Postgres, by its name for people.
type Service string

// The services. RDS signs its certificates itself, with CAs per region. Amazon Trust Services signs
// those of the others at AWS ("Using RDS Proxy", "Configuring SSL/TLS certificates for Aurora DSQL
// connections", Redshift's "Configuring security options for connections"). Azure's lead to roots
// that every system has (Azure Database for PostgreSQL, "TLS": DigiCert and Microsoft).
const (
	RDS      Service = "RDS"
	Proxy    Service = "RDS Proxy"
	DSQL     Service = "Aurora DSQL"
	Redshift Service = "Redshift"
	Azure    Service = "Azure"
)

// partitions are AWS's: the first letters of their regions, and the end of their host names. The
// last one has all other regions.
//
// Source: botocore's partitions.json.
var partitions = []struct{ name, regions, suffix string }{
	{"aws-us-gov", "us-gov-", "amazonaws.com"},
	{"aws-cn", "cn-", "amazonaws.com.cn"},
	{"aws-eusc", "eusc-", "amazonaws.eu"},
	{"aws-iso", "us-iso-", "c2s.ic.gov"},
	{"aws-iso-b", "us-isob-", "sc2s.sgov.gov"},
	{"aws-iso-e", "eu-isoe-", "cloud.adc-e.uk"},
	{"aws-iso-f", "us-isof-", "csp.hci.ic.gov"},
	{"aws", "", "amazonaws.com"},
}

var services = []string{"rds", "rds-fips", "redshift", "redshift-serverless"}

// The forms come from AWS's manuals and from the patterns of its drivers (RdsUtils):
//
//	db.abc123.us-west-2.rds.amazonaws.com            an instance
//	c.cluster-abc123.us-west-2.rds.amazonaws.com     a cluster; also cluster-ro-, shardgrp-, …
//	p.proxy-abc123.us-west-2.rds.amazonaws.com       a proxy; also e.endpoint.proxy-abc123.…
//	g.global-abc123.global.rds.amazonaws.com         the writer of a global cluster
//	db.abc123.rds.cn-north-1.amazonaws.com.cn        China; also in the order of the others
//	db.abc123.rds.us-iso-east-1.c2s.ic.gov           the isolated partitions, and GovCloud
//	db.abc123.us-west-2.redshift.amazonaws.com       Redshift; also …redshift-serverless.…
//	abc123.dsql.us-west-2.on.aws                     by PrivateLink also abc123.dsql-xyz.…
var dsql = lazyregexp.New(`^[a-z0-9]+\.dsql(?:-[a-z0-9]+)?\.([^.]+)\.on\.aws$`)

// Parse reads a host name without a port. Case does not matter and a trailing dot is allowed.
// It returns false for any other host, IP addresses and CNAMEs included.
func Parse(host string) (Endpoint, bool) {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	// A launch must not wait for a pattern that is compiled in vain.
	if name, ok := strings.CutSuffix(host, ".postgres.database.azure.com"); ok && !isNoLabel(name) {
		return Endpoint{Service: Azure}, true
	}
	if strings.HasSuffix(host, ".on.aws") {
		m := dsql().FindStringSubmatch(host)
		if m == nil || !isRegion(m[1]) {
			return Endpoint{}, false
		}
		return Endpoint{DSQL, Partition(m[1]), m[1]}, true
	}
	names, region, service, suffix := split(host)
	if service == "" {
		return Endpoint{}, false
	}
	e := Endpoint{RDS, "", region}
	switch {
	case strings.HasPrefix(service, "redshift"):
		e.Service = Redshift
	case strings.HasPrefix(names[len(names)-1], "proxy-"):
		e.Service = Proxy
	}
	for _, p := range partitions {
		ofRegion := Partition(region) == p.name
		if region == "" { // GovCloud's clusters are in the same domain, and global ones are not its own
			ofRegion = p.name != "aws-us-gov"
		}
		if p.suffix == suffix && ofRegion {
			e.Partition = p.name
			return e, true
		}
	}
	return Endpoint{}, false
}

// split finds a service and its region side by side in a host name, as far behind as they can be. A
// global cluster has no region. names are the labels before them, and suffix is what is behind.
func split(host string) (names []string, region, service, suffix string) {
	labels := strings.Split(host, ".")
	for i := len(labels) - 3; i > 0; i-- {
		region, service := labels[i], labels[i+1]
		if slices.Contains(services, region) && service != "global" {
			region, service = service, region
		}
		if !slices.Contains(services, service) || region != "global" && !isRegion(region) {
			continue
		}
		if slices.ContainsFunc(labels[:i], isNoLabel) {
			break
		}
		return labels[:i], strings.TrimSuffix(region, "global"), service, strings.Join(labels[i+2:], ".")
	}
	return nil, "", "", ""
}

// isRegion says whether a label is like us-west-2 or us-gov-east-1: words and a number. It is no
// pattern, since to compile one takes a tenth of a launch's own work.
func isRegion(label string) bool {
	parts := strings.Split(label, "-")
	words, number := parts[:len(parts)-1], parts[len(parts)-1]
	isNoWord := func(part string) bool { return part == "" || strings.Trim(part, labelLetters[:26]) != "" }
	return len(words) > 1 && len(words[0]) > 1 && !slices.ContainsFunc(words, isNoWord) &&
		number != "" && strings.Trim(number, "0123456789") == ""
}

const labelLetters = "abcdefghijklmnopqrstuvwxyz0123456789-"

func isNoLabel(label string) bool { return label == "" || strings.Trim(label, labelLetters) != "" }

// Partition returns a region's partition.
func Partition(region string) string {
	for _, p := range partitions {
		if strings.HasPrefix(region, p.regions) {
			return p.name
		}
	}
	return "" // not reached: the last one has all regions
}

// rootName is how AWS names the certificates in its bundles: "Amazon RDS us-west-2 Root CA RSA2048
// G1", and without "Root CA" the intermediates of GovCloud.
var rootName = lazyregexp.New(`^Amazon RDS ([^ ]+) `)

// CertificateRegion returns the region in an RDS CA's common name. It returns "" for any other
// certificate, and for those of AWS's own test stages ("Amazon RDS Beta us-east-1 …").
func CertificateRegion(commonName string) string {
	if m := rootName().FindStringSubmatch(commonName); m != nil && isRegion(m[1]) {
		return m[1]
	}
	return ""
}
