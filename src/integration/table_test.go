package integration

import (
	"testing"

	"github.com/stretchr/testify/assert"

	known "github.com/cloudfoundry-community/postgres-ssl-buildpack/src/drivers"
)

// letter returns the outcome's letter in the table of src/drivers.
func (o outcome) letter() string {
	switch {
	case !o.connected:
		return "x"
	case o.tls:
		return "T"
	}
	return "P"
}

// agreeWithTable compares the measured outcomes with what staging tells people. measured has six
// letters for each client, in the order of the table's Outcomes.
func agreeWithTable(t *testing.T, measured map[string]string) {
	t.Helper()
	for _, d := range known.Table {
		for _, client := range d.Clients {
			assert.Equal(t, d.Outcomes, measured[client], "%s: src/drivers/table.go says otherwise", client)
		}
	}
}
