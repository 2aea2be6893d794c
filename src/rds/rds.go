// Package rds tells from a host name whether it is an AWS RDS endpoint, and which CA signs its
// certificate.
package rds

import (
	"strings"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/lazyregexp"
)

// Endpoint is what an RDS endpoint's host name says about its certificate.
type Endpoint struct {
	Partition string // "aws", "aws-us-gov" or "aws-cn"
	Region    string // "us-west-2"; "" for a global Aurora cluster's writer, which changes regions
	Proxy     bool   // Amazon Trust Services, not RDS, signs the certificate of an RDS Proxy
}

// The forms come from AWS's "Connecting to an Amazon RDS DB instance", "Amazon RDS Proxy" and
// "Aurora global databases":
//
//	db.abc123.us-west-2.rds.amazonaws.com            an instance
//	c.cluster-abc123.us-west-2.rds.amazonaws.com     an Aurora cluster; also cluster-ro-, cluster-custom-
//	p.proxy-abc123.us-west-2.rds.amazonaws.com       a proxy; also e.endpoint.proxy-abc123.…
//	g.global-abc123.global.rds.amazonaws.com         the writer of a global cluster
//	db.abc123.rds.cn-north-1.amazonaws.com.cn        China
var (
	world = lazyregexp.New(`^((?:[a-z0-9-]+\.)+)([a-z]{2,}(?:-[a-z]+)+-[0-9]+|global)\.rds\.amazonaws\.com$`)
	china = lazyregexp.New(`^((?:[a-z0-9-]+\.)+)rds\.(cn-[a-z]+-[0-9]+)\.amazonaws\.com\.cn$`)
)

// Parse reads a host name without a port. Case does not matter and a trailing dot is allowed.
// It returns false for any other host, IP addresses and CNAMEs included.
func Parse(host string) (Endpoint, bool) {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	m, partition := world().FindStringSubmatch(host), "aws"
	if m == nil {
		m, partition = china().FindStringSubmatch(host), "aws-cn"
	}
	if m == nil {
		return Endpoint{}, false
	}
	labels := strings.Split(strings.TrimSuffix(m[1], "."), ".")
	e := Endpoint{Partition: partition, Region: m[2], Proxy: strings.HasPrefix(labels[len(labels)-1], "proxy-")}
	switch {
	case e.Region == "global":
		e.Region = ""
	case partition == "aws" && Partition(e.Region) == "aws-us-gov":
		e.Partition = "aws-us-gov"
	}
	return e, true
}

// Partition returns a region's partition. GovCloud regions begin with us-gov-, those of China
// with cn-.
func Partition(region string) string {
	switch {
	case strings.HasPrefix(region, "us-gov-"):
		return "aws-us-gov"
	case strings.HasPrefix(region, "cn-"):
		return "aws-cn"
	}
	return "aws"
}

// rootName is how AWS names the certificates in its bundles: "Amazon RDS us-west-2 Root CA RSA2048
// G1", and without "Root CA" the intermediates of GovCloud.
var rootName = lazyregexp.New(`^Amazon RDS ([a-z]{2,}(?:-[a-z]+)+-[0-9]+) `)

// CertificateRegion returns the region in an RDS CA's common name. It returns "" for any other
// certificate, and for those of AWS's own test stages ("Amazon RDS Beta us-east-1 …").
func CertificateRegion(commonName string) string {
	if m := rootName().FindStringSubmatch(commonName); m != nil {
		return m[1]
	}
	return ""
}
