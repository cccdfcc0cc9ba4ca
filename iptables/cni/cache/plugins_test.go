package cache

import (
	"encoding/base64"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// with returns the sample with another configuration, as JSON.
func with(config string) string { return strings.Replace(sample, `"e30="`, config, 1) }

// inBase64 returns a text as libcni writes the configuration.
func inBase64(text string) string { return `"` + base64.StdEncoding.EncodeToString([]byte(text)) + `"` }

func TestPlugins(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		config string
		want   []string
	}{
		{inBase64(`{"name": "pods", "plugins": [{"type": "ptp", "ipam": {"type": "meshtables"}}, {"type": "meshtables"}]}`), []string{"", "ptp", "meshtables"}},
		{inBase64(`{"name": "pods", "type": "ptp"}`), []string{"ptp"}},
		{inBase64(`{}`), []string{""}},
	} {
		a, err := parseEntry([]byte(with(test.config)))
		if err != nil {
			t.Fatal(err)
		}
		got, err := a.Plugins()
		if diff := cmp.Diff(test.want, got); diff != "" || err != nil {
			t.Errorf("%s: %v, %s", test.config, err, diff)
		}
	}
}

// A configuration that cannot be read does not keep the rest of the entry from being read.
func TestPluginsRefuses(t *testing.T) {
	t.Parallel()
	for config, want := range map[string]string{
		`"%%%"`:                           "in base64",
		`"e30"`:                           "in base64",
		`{"plugins": []}`:                 "in base64",
		`null`:                            "in base64",
		`""`:                              "in base64",
		inBase64("{"):                     "unexpected end of JSON input",
		inBase64("[]"):                    "cannot unmarshal array",
		inBase64(`{"plugins": [1]}`):      "cannot unmarshal number",
		inBase64(`{"plugins": "ptp"}`):    "cannot unmarshal string",
		inBase64(strings.Repeat("[", 99)): "unexpected end of JSON input",
	} {
		a, err := parseEntry([]byte(with(config)))
		if err != nil || a.Name != "cart-7d9f" {
			t.Errorf("%s: %+v, %v", config, a, err)
		}
		if got, err := a.Plugins(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %q, %v, want %s", config, got, err, want)
		}
	}
	a, err := parseEntry([]byte(strings.Replace(sample, `"config":"e30=",`, "", 1)))
	if _, unread := a.Plugins(); err != nil || unread == nil {
		t.Errorf("without: %v, %v", err, unread)
	}
}
