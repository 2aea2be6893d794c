package truststore

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/tools/pgtest"
)

func TestAStoreIsTheSameInMemoryAndInADroplet(t *testing.T) {
	dir := t.TempDir()
	sets := Sets{
		"aws":       {pgtest.NewCA(t, "One").Cert, pgtest.NewCA(t, "Two").Cert},
		AmazonTrust: {pgtest.NewCA(t, "Three").Cert},
	}
	inMemory := NewStore(dir, sets)
	assert.False(t, inMemory.LaidOut)
	require.NoError(t, Write(dir, sets))
	inDroplet, err := Open(dir)
	require.NoError(t, err)
	assert.True(t, inDroplet.LaidOut)

	for _, store := range []Store{inMemory, inDroplet} {
		assert.Equal(t, []string{AmazonTrust, "aws"}, store.Names)
		for name, want := range sets {
			text, err := store.PEM(name)
			require.NoError(t, err)
			assert.Equal(t, string(EncodePEM(want)), string(text))
			certs, err := store.Certificates(name)
			require.NoError(t, err)
			assert.Equal(t, want, certs)
		}
		certs, err := store.Certificates(AmazonTrust, "aws")
		require.NoError(t, err)
		assert.Equal(t, append(slices.Clone(sets[AmazonTrust]), sets["aws"]...), certs)
		text, err := store.PEM(AmazonTrust, "aws")
		require.NoError(t, err)
		assert.Equal(t, string(EncodePEM(certs)), string(text), "one text has the same")
	}

	require.NoError(t, os.WriteFile(inDroplet.Bundle("aws"), []byte("damaged"), 0o600))
	certs, err := inDroplet.Certificates("aws")
	require.NoError(t, err)
	assert.Equal(t, sets["aws"], certs, "each set is parsed once")
	inDroplet, err = Open(dir)
	require.NoError(t, err)
	_, err = inDroplet.Certificates("aws")
	assert.EqualError(t, err, inDroplet.Bundle("aws")+": has no PEM certificate")
	require.NoError(t, os.Remove(inDroplet.Bundle("aws")))
	_, err = inDroplet.Certificates(AmazonTrust, "aws")
	assert.ErrorContains(t, err, inDroplet.Bundle("aws"))
	_, err = inDroplet.PEM(AmazonTrust, "aws")
	assert.ErrorContains(t, err, inDroplet.Bundle("aws"))
}

func TestADropletWithoutATrustStoreSaysToRestage(t *testing.T) {
	dir := t.TempDir()
	for name, path := range map[string]string{"none": filepath.Join(dir, "none"), "an empty one": dir} {
		_, err := Open(path)
		assert.EqualError(t, err, path+" has no trust store; restage the app", name)
	}
	file := certFile(t, dir, "trust", "")
	_, err := Open(file)
	require.ErrorContains(t, err, file)
	assert.NotContains(t, err.Error(), "restage", "a file in its place is another problem")
}

func TestWhatCannotBeReadOrWrittenIsAnErrorThatNamesIt(t *testing.T) {
	dir := t.TempDir()
	broken := certFile(t, dir, "aws.pem", "damaged")
	_, err := Read(dir)
	assert.EqualError(t, err, broken+": has no PEM certificate")
	require.NoError(t, os.Remove(broken))
	require.NoError(t, os.Mkdir(broken, 0o755))
	_, err = Read(dir)
	assert.ErrorContains(t, err, broken)
	_, err = Read("[")
	assert.Error(t, err, "no such folder")

	sets := Sets{"aws": {pgtest.NewCA(t, "One").Cert}}
	assert.ErrorContains(t, Write(filepath.Join(certFile(t, dir, "file", ""), "trust"), sets), "not a directory")
	trust := filepath.Join(dir, "trust")
	require.NoError(t, os.MkdirAll(filepath.Join(trust, "aws.pem"), 0o755))
	assert.ErrorContains(t, Write(trust, sets), "aws.pem")
}
