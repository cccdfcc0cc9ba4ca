package tests

import (
	"strings"
	"testing"
	"time"
)

// A pod that has no rules yet waits for them, and goes on when they are there.
func TestProbeWait(t *testing.T) {
	t.Parallel()
	for name, words := range map[string][]string{
		"probe":          {"probe", "--ipv6=off", "--wait=1m"},
		"run-validation": {"istio-iptables", "-p", "15001", "-z", "15006", "-u", "1337", "-m", "REDIRECT", "-i", "*", "-b", "*", "-d", "15090,15021,15020", "--ipv6=off", "--run-validation", "--skip-rule-apply"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPod(t, "iptables-nft")
			command := p.command(words...)
			// Istio's injector hands on variables, and no arguments.
			command.Env = append(command.Env, "MESHTABLES_WAIT=1m")
			type result struct {
				status int
				output string
				took   time.Duration
			}
			ended := make(chan result, 1)
			go func() {
				start := time.Now()
				status, output := runIn(t, p.Pod, command)
				ended <- result{status, output, time.Since(start)}
			}()
			const pause = 2500 * time.Millisecond
			time.Sleep(pause)
			apply(t, p, "--ipv6=off")
			r := <-ended
			if r.status != 0 || r.took < pause || strings.Count(r.output, "connections went to the wrong place; trying again for up to 1m0s") != 1 || !strings.Contains(r.output, "\npassed   inbound IPv4: ") {
				t.Errorf("status %d after %v\n%s", r.status, r.took, r.output)
			}
		})
	}
}

// It does not wait for ever, and not at all unless it is told to.
func TestProbeWaitEnds(t *testing.T) {
	t.Parallel()
	p := newPod(t, "iptables-nft")
	for wait, least := range map[string]time.Duration{"0": 0, "3s": 2 * time.Second} {
		start := time.Now()
		status, output := run(t, p, "probe", "--ipv6=off", "--probe-timeout=400ms", "--wait="+wait)
		took := time.Since(start)
		if status != 126 || took < least || strings.Contains(output, "trying again") != (least > 0) {
			t.Errorf("--wait=%s: status %d after %v\n%s", wait, status, took, output)
		}
	}
	for _, wrong := range []string{"2h", "-1s", "x", "5"} {
		if status, output := run(t, p, "probe", "--wait="+wrong); status != 2 || !strings.Contains(output, `--wait "`+wrong+`": must be a duration up to 1h, such as 2m or 30s, or 0 to try once`) {
			t.Errorf("--wait=%s: status %d\n%s", wrong, status, output)
		}
	}
}
