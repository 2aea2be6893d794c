package wire

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

// On a slow machine the work ends the connection by itself, so what a server sees does not show whether
// it was begun.
func TestWorkThatDoesNotFitIntoTheTimeIsNotBegun(t *testing.T) {
	ask := func(iterations int, left time.Duration) error {
		body := append([]byte{0, 0, 0, 11}, fmt.Sprintf("r=nonce,s=salt,i=%d", iterations)...)
		return (&bounded{deadline: time.Now().Add(left)}).checkWork('R', body)
	}
	assert.NoError(t, ask(mostIterations, time.Hour))
	assert.ErrorIs(t, ask(mostIterations, 100*time.Millisecond), context.DeadlineExceeded)
	assert.ErrorIs(t, ask(1, -time.Second), context.DeadlineExceeded)
	assert.ErrorIs(t, ask(mostIterations+1, time.Hour), errIterations)
}
