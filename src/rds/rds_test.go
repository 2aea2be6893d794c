package rds

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestEveryFormOfEndpointIsRecognised(t *testing.T) {
	for host, want := range map[string]Endpoint{
		"db.abc123.us-west-2.rds.amazonaws.com":                  {Partition: "aws", Region: "us-west-2"},
		"DB.ABC123.US-WEST-2.RDS.AMAZONAWS.COM":                  {Partition: "aws", Region: "us-west-2"},
		"db.abc123.us-west-2.rds.amazonaws.com.":                 {Partition: "aws", Region: "us-west-2"},
		"c.cluster-abc.ap-southeast-4.rds.amazonaws.com":         {Partition: "aws", Region: "ap-southeast-4"},
		"c.cluster-ro-abc.eu-central-1.rds.amazonaws.com":        {Partition: "aws", Region: "eu-central-1"},
		"c.cluster-custom-abc.eu-central-1.rds.amazonaws.com":    {Partition: "aws", Region: "eu-central-1"},
		"p.proxy-abc.eu-west-1.rds.amazonaws.com":                {Partition: "aws", Region: "eu-west-1", Proxy: true},
		"e.endpoint.proxy-abc.eu-west-1.rds.amazonaws.com":       {Partition: "aws", Region: "eu-west-1", Proxy: true},
		"g.global-abc.global.rds.amazonaws.com":                  {Partition: "aws"},
		"db.abc.us-gov-west-1.rds.amazonaws.com":                 {Partition: "aws-us-gov", Region: "us-gov-west-1"},
		"p.proxy-abc.us-gov-east-1.rds.amazonaws.com":            {Partition: "aws-us-gov", Region: "us-gov-east-1", Proxy: true},
		"db.abc.rds.cn-north-1.amazonaws.com.cn":                 {Partition: "aws-cn", Region: "cn-north-1"},
		"p.proxy-abc.rds.cn-northwest-1.amazonaws.com.cn":        {Partition: "aws-cn", Region: "cn-northwest-1", Proxy: true},
		"db.abc.xx-newregion-9.rds.amazonaws.com":                {Partition: "aws", Region: "xx-newregion-9"},
		"proxy-named-db.abc.us-west-2.rds.amazonaws.com":         {Partition: "aws", Region: "us-west-2"},
		"my-proxy.cluster-ro-abc.ca-central-1.rds.amazonaws.com": {Partition: "aws", Region: "ca-central-1"},
	} {
		t.Run(host, func(t *testing.T) {
			endpoint, ok := Parse(host)
			assert.True(t, ok)
			assert.Equal(t, want, endpoint)
		})
	}
}

func TestOtherHostsAreNotMistakenForEndpoints(t *testing.T) {
	for _, host := range []string{
		"",
		"localhost",
		"10.0.3.9",
		"::1",
		"something.xyx.us-west-2.rds.amazon.com", // the first seed's example
		"us-west-2.rds.amazonaws.com",
		"rds.amazonaws.com",
		"db.abc.us-west-2.rds.amazonaws.com.evil.example",
		"db.abc.us-west-2.rds.amazonaws.com.cn",
		"db.abc.rds.cn-north-1.amazonaws.com.cn.evil.example",
		"db.abc.rds.cn-north-1.amazonaws.com.cnx",
		"rds.cn-north-1.amazonaws.com.cn",
		"db.us-west-2.rds.amazonaws.comx",
		"db.abc.us-west-2.rds-preview.amazonaws.com",
		"db.abc.us-west-2xrds.amazonaws.com",
		"db.abc.us-west-2.rds.amazonaws.com..",
		"db abc.us-west-2.rds.amazonaws.com",
		"db.abc.us-west-2.rds.amazonaws.com\n",
	} {
		t.Run(host, func(t *testing.T) {
			_, ok := Parse(host)
			assert.False(t, ok)
		})
	}
}

func TestTheRegionIsReadFromTheCommonNameOfACA(t *testing.T) {
	for name, region := range map[string]string{
		"Amazon RDS us-west-2 Root CA RSA2048 G1":         "us-west-2",
		"Amazon RDS us-gov-east-1 RSA4096 G1":             "us-gov-east-1",
		"Amazon RDS Beta us-east-1 Root CA ECC384 G1":     "",
		"Amazon RDS Preview us-east-2 Root CA RSA2048 G1": "",
		"Amazon Root CA 1":                                "",
		"Not Amazon RDS us-west-2 Root CA RSA2048 G1":     "",
	} {
		assert.Equal(t, region, CertificateRegion(name), name)
	}
}

func FuzzAnEndpointAlwaysEndsAsAWSEndsIt(f *testing.F) {
	f.Add("db.abc123.us-west-2.rds.amazonaws.com")
	f.Add("g.global-abc.global.rds.amazonaws.com.")
	f.Add("db.abc.rds.cn-north-1.amazonaws.com.cn")
	f.Fuzz(func(t *testing.T, host string) {
		endpoint, ok := Parse(host)
		if !ok {
			assert.Zero(t, endpoint)
			return
		}
		folded := strings.TrimSuffix(strings.ToLower(host), ".")
		if endpoint.Partition == "aws-cn" {
			assert.True(t, strings.HasSuffix(folded, ".amazonaws.com.cn"))
		} else {
			assert.True(t, strings.HasSuffix(folded, ".rds.amazonaws.com"))
		}
		assert.Contains(t, folded, endpoint.Region)
	})
}
