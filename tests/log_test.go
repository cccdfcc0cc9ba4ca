package tests

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"
)

// message is one that the program writes to stderr. Text may be only its beginning.
type message struct{ Level, Text string }

// Messages on stderr have the form and the levels that are asked for, in whatever way,
// and the answer on stdout stays as it is.
func TestLog(t *testing.T) {
	t.Parallel()
	config := writeFile(t, "config.yaml", "log-format: json\nlog-level: warn\n")
	forEachBackend(t, func(t *testing.T, backend string) {
		p := newPod(t, backend)
		apply(t, p, "--tproxy-mark=7")
		info := message{"INFO", "these options of istio-iptables have no effect here: --reconcile"}
		warn := message{"WARN", `--tproxy-mark "7" has no effect: the mode is REDIRECT`}
		detailed := []message{
			info, warn,
			{"DEBUG", "IPv6: captured: the namespace has a global IPv6 address (--ipv6=auto)"},
			{"DEBUG", "the proxy's users: 1337; its groups: 1337"},
			{"DEBUG", backend + ": taken: asked for"},
		}
		for _, c := range []struct {
			args, env []string
			is        func(line string, m message) bool
			want      []message
		}{
			{args: []string{"--log-level=error"}},
			{is: isText, want: []message{info, warn}},
			{args: []string{"--log-level=debug"}, is: isText, want: detailed},
			{args: []string{"--log-format=json"}, is: isJSON, want: []message{info, warn}},
			{args: []string{"--config=" + config}, is: isJSON, want: []message{warn}},
			{env: []string{"MESHTABLES_LOG_FORMAT=json", "MESHTABLES_LOG_LEVEL=debug"}, is: isJSON, want: detailed},
		} {
			p.env = c.env
			var answer, messages bytes.Buffer
			run := p.command(append([]string{"--backend=" + backend, "--reconcile", "--tproxy-mark=7"}, c.args...)...)
			run.Stdout, run.Stderr = &answer, &messages
			if err := p.Pod.Run(t.Context(), run); err != nil || !strings.HasPrefix(answer.String(), "unchanged: ") {
				t.Errorf("%q %q: %v, with the answer %q", c.env, run.Args, err, &answer)
			}
			if !slices.EqualFunc(slices.Collect(strings.Lines(messages.String())), c.want, c.is) {
				t.Errorf("%q %q: got the messages\n%swant\n%s", c.env, run.Args, &messages, c.want)
			}
		}
	})
}

// A variable that only looks like an option is told of by verify too, which does not take it
// for a wish.
func TestVerifyTellsOfIgnoredVariables(t *testing.T) {
	t.Parallel()
	p := newPod(t, "iptables-nft")
	apply(t, p, "--redirect-dns")
	p.env = []string{"ENVOY_PORT=tcp://10.0.0.1:80"}
	var answer, messages bytes.Buffer
	c := p.command("verify")
	c.Stdout, c.Stderr = &answer, &messages
	if err := p.Pod.Run(t.Context(), c); err != nil {
		t.Fatalf("%v\n%s%s", err, &answer, &messages)
	}
	want := message{"WARN", `environment variable ENVOY_PORT "tcp://10.0.0.1:80" is ignored`}
	if lines := slices.Collect(strings.Lines(messages.String())); len(lines) != 1 || !isText(lines[0], want) {
		t.Errorf("got the messages\n%swant\n%v", &messages, want)
	}
}

// isText reports whether a line is the message as people read it.
func isText(line string, m message) bool {
	level := map[string]string{"WARN": "warning: "}[m.Level]
	return strings.HasPrefix(line, "meshtables: "+level+m.Text)
}

// isJSON reports whether a line is the message as programs read it.
func isJSON(line string, m message) bool {
	var got struct{ Level, Msg string }
	err := json.Unmarshal([]byte(line), &got)
	return err == nil && got.Level == m.Level && strings.HasPrefix(got.Msg, m.Text)
}
