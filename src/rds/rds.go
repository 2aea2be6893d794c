// Package rds tells from a host name which cloud service runs the database, and with that who signs
// its certificate.
package rds

import (
	"slices"
	"strings"
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

// partition has the first letters of its regions, and the end of its host names.
type partition struct{ name, regions, suffix string }

// The last one has all other regions. Source: botocore's partitions.json.
var partitions = []partition{
	{"aws-us-gov", "us-gov-", ".amazonaws.com"},
	{"aws-cn", "cn-", ".amazonaws.com.cn"},
	{"aws-eusc", "eusc-", ".amazonaws.eu"},
	{"aws-iso", "us-iso-", ".c2s.ic.gov"},
	{"aws-iso-b", "us-isob-", ".sc2s.sgov.gov"},
	{"aws-iso-e", "eu-isoe-", ".cloud.adc-e.uk"},
	{"aws-iso-f", "us-isof-", ".csp.hci.ic.gov"},
	{"aws", "", ".amazonaws.com"},
}

var services = map[string]Service{"rds": RDS, "rds-fips": RDS, "redshift": Redshift, "redshift-serverless": Redshift}

// Parse reads a host name without a port. Case does not matter and a trailing dot is allowed.
// It returns false for any other host, IP addresses and CNAMEs included. There is no pattern here,
// since to compile one takes a tenth of a launch's own work.
//
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
func Parse(host string) (Endpoint, bool) {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	labels := strings.Split(host, ".")
	if slices.ContainsFunc(labels, isNoLabel) {
		return Endpoint{}, false
	}
	if len(labels) == 5 {
		isDSQL := strings.HasPrefix(labels[1]+"-", "dsql-") && isRegion(labels[2])
		switch {
		case strings.HasSuffix(host, ".postgres.database.azure.com"):
			return Endpoint{Service: Azure}, true
		case strings.HasSuffix(host, ".on.aws") && isDSQL:
			return Endpoint{DSQL, Partition(labels[2]), labels[2]}, true
		}
	}
	for _, p := range partitions {
		n := len(labels) - strings.Count(p.suffix, ".") - 2
		if n < 1 || !strings.HasSuffix(host, p.suffix) {
			continue
		}
		region, service := labels[n], services[labels[n+1]]
		if isRegion(labels[n+1]) {
			region, service = labels[n+1], services[region]
		}
		if strings.HasPrefix(labels[n-1], "proxy-") && service == RDS {
			service = Proxy
		}
		switch {
		case service == "":
		case region == "global" && p.name != "aws-us-gov": // its clusters are in the same domain as those of aws
			return Endpoint{service, p.name, ""}, true
		case isRegion(region) && Partition(region) == p.name:
			return Endpoint{service, p.name, region}, true
		}
	}
	return Endpoint{}, false
}

// isRegion says whether a label is like us-west-2 or us-gov-east-1: words and a number.
func isRegion(label string) bool {
	parts := strings.Split(label, "-")
	words, number := parts[:len(parts)-1], parts[len(parts)-1]
	isNoWord := func(part string) bool { return part == "" || strings.Trim(part, labelLetters[:26]) != "" }
	if len(words) < 2 || len(words[0]) < 2 || number == "" {
		return false
	}
	return !slices.ContainsFunc(words, isNoWord) && strings.Trim(number, "0123456789") == ""
}

const labelLetters = "abcdefghijklmnopqrstuvwxyz0123456789-"

func isNoLabel(label string) bool { return label == "" || strings.Trim(label, labelLetters) != "" }

// Partition returns a region's partition.
func Partition(region string) string {
	return partitions[slices.IndexFunc(partitions, func(p partition) bool { return strings.HasPrefix(region, p.regions) })].name
}

// CertificateRegion returns the region in an RDS CA's common name: "Amazon RDS us-west-2 Root CA
// RSA2048 G1", and without "Root CA" the intermediates of GovCloud. It returns "" for any other
// certificate, and for those of AWS's own test stages ("Amazon RDS Beta us-east-1 …").
func CertificateRegion(commonName string) string {
	name, ok := strings.CutPrefix(commonName, "Amazon RDS ")
	if region, _, more := strings.Cut(name, " "); ok && more && isRegion(region) {
		return region
	}
	return ""
}
