package rds

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The table is ours; what each host is comes from AWS.
func TestEveryFormIsReadAsAWSReadsIt(t *testing.T) {
	table, err := os.ReadFile("testdata/endpoints.txt")
	require.NoError(t, err)
	rows := 0
	for line := range strings.Lines(string(table)) {
		line = strings.TrimSuffix(line, "\n")
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		rows++
		fields := strings.Split(line, "|")
		t.Run(fields[0], func(t *testing.T) {
			endpoint, ok := Parse(fields[0])
			if fields[1] == "-" {
				assert.False(t, ok, "%+v", endpoint)
				return
			}
			assert.True(t, ok)
			assert.Equal(t, Endpoint{Service(fields[1]), fields[2], fields[3]}, endpoint)
		})
	}
	assert.GreaterOrEqual(t, rows, 77, "AWS's own tables have as many")
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
		"db.abc.1us-west-2.rds.amazonaws.com",
		"db.abc.west-2.rds.amazonaws.com", // no region has fewer than two words, or one of a letter in front
		"db.abc.u-west-2.rds.amazonaws.com",
		"db.abc.us--west-2.rds.amazonaws.com",
		"db.abc.us-west-.rds.amazonaws.com",
		"db.abc.us-west-2a.rds.amazonaws.com",
		"db.rds.global.amazonaws.com",
		"evil.abc.dsql.us-west-2.on.aws",
		"abc.dsql.us-west-2.on.aws.evil.on.aws",
		"a.b.postgres.database.azure.com",
		".postgres.database.azure.com",
		"db.postgres.database.azure.com.evil.example",
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
	f.Add("abc.dsql.us-east-1.on.aws")
	f.Add("c.abc.us-west-2.redshift.amazonaws.com")
	f.Add("x.postgres.database.azure.com")
	f.Fuzz(func(t *testing.T, host string) {
		endpoint, ok := Parse(host)
		if !ok {
			assert.Zero(t, endpoint)
			return
		}
		folded := strings.TrimSuffix(strings.ToLower(host), ".")
		ends := map[string][]string{"": {".postgres.database.azure.com"}, "aws": {".amazonaws.com", ".on.aws"}, "aws-us-gov": {".amazonaws.com", ".on.aws"},
			"aws-cn": {".amazonaws.com.cn", ".on.aws"}, "aws-eusc": {".amazonaws.eu", ".on.aws"}, "aws-iso": {".c2s.ic.gov", ".on.aws"},
			"aws-iso-b": {".sc2s.sgov.gov", ".on.aws"}, "aws-iso-e": {".cloud.adc-e.uk", ".on.aws"}, "aws-iso-f": {".csp.hci.ic.gov", ".on.aws"}}[endpoint.Partition]
		assert.True(t, slices.ContainsFunc(ends, func(end string) bool { return strings.HasSuffix(folded, end) }), folded)
		assert.Contains(t, folded, endpoint.Region)
	})
}
