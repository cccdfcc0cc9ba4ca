package ambient

import (
	"testing"

	"github.com/meshtables/meshtables/iptables/capture"
)

// The agent's annotation alone says that a pod is in ambient mode, and that the agent writes
// the rules.
func TestDecide(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		notes map[string]string
		want  bool
	}{
		{map[string]string{"ambient.istio.io/redirection": "enabled"}, true},
		{map[string]string{"ambient.istio.io/redirection": "disabled"}, false},
		{map[string]string{"ambient.istio.io/redirection": "Enabled"}, false},
		{map[string]string{"sidecar.istio.io/status": "{}"}, false},
		{nil, false},
	} {
		if got, err := (Policy{}).Decide(test.notes); err != nil || got.Captured != test.want || (got.By == capture.Agent) != test.want || got.Why == "" {
			t.Errorf("%q: got %+v, %v", test.notes, got, err)
		}
	}
}
