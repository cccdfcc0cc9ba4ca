package runtime

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/meshtables/meshtables/tests/lab"
	"github.com/meshtables/meshtables/tests/soak"
)

// What a pod may take longer to start because of the plugin, on a quiet machine, and what
// memory the plugin may use.
const (
	mostTime   = 15 * time.Millisecond
	mostMemory = 12 << 20
)

// Pods start with the chain alone and with the plugin in it, in turn. The fastest of each
// tell what the plugin costs, also on a machine that does other things.
func TestCost(t *testing.T) {
	n := startNode(t)
	// An address of IPv6 is ready a second later, which hides what else takes time.
	onlyIPv4 := strings.NewReplacer(`, [{"subnet": "fd00:10:244:3::/64"}]`, "", `, {"dst": "::/0"}`, "")
	with, without := onlyIPv4.Replace(n.Chain(entry)), onlyIPv4.Replace(n.Chain())
	times := map[string][]time.Duration{}
	for i := range 2 * soak.Times(3, 40) {
		chain := without
		if i%2 == 1 {
			chain = with
		}
		if err := n.Use(t.Context(), chain); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		p := startPod(t, n, fmt.Sprintf("cart-%d", i), injected())
		times[chain] = append(times[chain], time.Since(start))
		if err := p.Remove(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	alone, both := times[without], times[with]
	slices.Sort(alone)
	slices.Sort(both)
	t.Logf("a pod starts in %v with the chain alone, in %v with the plugin; medians %v and %v, of %d each",
		alone[0], both[0], alone[len(alone)/2], both[len(both)/2], len(alone))
	took, memory := ofPlugin(t)
	t.Logf("the plugin takes %v, median %v, and %.1f MB", took[0], took[len(took)/2], float64(memory)/(1<<20))
	if took[0] > mostTime {
		t.Errorf("it takes %v, want at most %v", took[0], mostTime)
	}
	if memory > mostMemory {
		t.Errorf("it takes %d bytes, want at most %d", memory, mostMemory)
	}
}

// ofPlugin runs ADD as a runtime does, each for a pod of its own, and returns how long it
// took, sorted, and the most memory.
func ofPlugin(t *testing.T) (took []time.Duration, memory int64) {
	t.Helper()
	for i := range 20 {
		l, err := lab.New(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		if i%2 == 0 {
			add(t, l, program)
			took = append(took, time.Since(start))
		} else {
			words := strings.Fields(add(t, l, measuring, program))
			peak, err := strconv.ParseInt(words[len(words)-1], 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			memory = max(memory, peak<<10)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
	slices.Sort(took)
	return took, memory
}

// add runs ADD in a lab, by a command, and returns what that prints on stderr.
func add(t *testing.T, l *lab.Lab, words ...string) string {
	t.Helper()
	notes, err := json.Marshal(injected())
	if err != nil {
		t.Fatal(err)
	}
	var messages bytes.Buffer
	cmd := exec.CommandContext(t.Context(), words[0], words[1:]...)
	cmd.Env = append(os.Environ(), "CNI_COMMAND=ADD", "CNI_CONTAINERID=c", "CNI_IFNAME=eth0", "CNI_PATH=/", "CNI_NETNS="+l.Pod.File())
	cmd.Stdin = strings.NewReader(fmt.Sprintf(`{"cniVersion": "1.0.0", "name": "pods", "type": "meshtables", "prevResult": {"cniVersion": "1.0.0"}, `+
		`"runtimeConfig": {"io.kubernetes.cri.pod-annotations": %s}}`, notes))
	cmd.Stderr = &messages
	if err = l.Peer.Do(cmd.Start); err == nil {
		err = cmd.Wait()
	}
	if err != nil {
		t.Fatalf("%v\n%s", err, &messages)
	}
	return messages.String()
}
