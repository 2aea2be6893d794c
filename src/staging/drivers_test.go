package staging

import (
	"fmt"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/drivers"
)

// The TOML parser compares each key of a table with all before it. Half a million keys take it minutes.
func TestAFileThatKeepsAParserBusyHoldsNoStagingUp(t *testing.T) {
	var lock strings.Builder
	lock.WriteString("version = 1\n")
	for i := range 500_000 {
		fmt.Fprintf(&lock, "k%d=1\n", i)
	}
	busy := fstest.MapFS{"uv.lock": {Data: []byte(lock.String())}}
	_, skipped := lookFor(busy, 50*time.Millisecond)
	assert.Equal(t, []drivers.Skipped{{File: ".", Why: "its files take too long to read"}}, skipped)

	good := fstest.MapFS{"requirements.txt": {Data: []byte("psycopg2==2.9.9\n")}}
	found, skipped := lookFor(good, time.Hour)
	require.Len(t, found, 1, "the control")
	assert.Empty(t, skipped)
}
