package faults

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// An app has many sidecars, which launch at the same time in the same container. All the while, a
// watcher reads what they write.
func TestLaunchesAtTheSameMomentGetTheSame(t *testing.T) {
	t.Parallel()
	binding := ownServices(t)
	c := newContainer(t, buildpack(t))
	c.mustStage(t, binding)
	require.NoError(t, os.WriteFile(c.path("app/shop.jar"), nil, 0o644)) // a JVM gets root.crt
	whole := c.launch(t, binding)
	require.NotNil(t, whole.env, whole.stderr)
	wrote := tree(t, c.path(".postgres-ssl"), contents)

	for _, crowd := range []int{2, 10, 50} {
		t.Run(fmt.Sprint(crowd), func(t *testing.T) {
			c.forget(t)
			start, done := make(chan struct{}), make(chan struct{})
			results := make([]launched, crowd)
			var launches, watcher sync.WaitGroup
			for i := range results {
				launches.Go(func() {
					<-start
					results[i] = c.launch(t, binding)
				})
			}
			var complaints []string
			watcher.Go(func() {
				for {
					complaints = append(complaints, c.unfinished()...)
					select {
					case <-done:
						return
					default:
					}
				}
			})
			close(start)
			launches.Wait()
			close(done)
			watcher.Wait()

			assert.Empty(t, complaints)
			for _, l := range results {
				assert.Equal(t, whole.env, l.env, l.stderr)
				assert.Empty(t, l.stderr)
			}
			assert.Equal(t, wrote, tree(t, c.path(".postgres-ssl"), contents), "as one launch alone writes it, and nothing is left behind")
			links, err := filepath.Glob(c.path(".postgresql/*"))
			require.NoError(t, err)
			assert.Equal(t, []string{c.path(".postgresql/root.crt")}, links)
		})
	}
}
