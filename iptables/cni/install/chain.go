package install

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// chain is the text of a network's configuration, with the places of its plugins. Changes
// leave the rest of the text as it is.
type chain struct {
	file, text string
	// name is the network's, and main the type of its first plugin.
	name, main string
	// single is the text of a network of one plugin, which is not a list.
	single bool
	// inlined says that the network's folder of more plugins is not read.
	inlined bool
	// first is where the list of plugins begins, after its bracket.
	first   int
	plugins []position
}

// position is where a plugin is in the text, and its type.
type position struct {
	start, end int
	name       string
}

// errNoChain is wrapped by errors about a file that no runtime could use. It may be half
// written.
var errNoChain = errors.New("is not the configuration of a network")

// readChain reads a network's configuration.
func readChain(file string) (*chain, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	return parseChain(file, string(text))
}

func parseChain(file, text string) (*chain, error) {
	c := &chain{file: file, text: text}
	if err := c.parse(); err != nil {
		return nil, fmt.Errorf("%s: %w: %w", file, errNoChain, err)
	}
	return c, nil
}

func (c *chain) parse() error {
	if filepath.Ext(c.file) != listExtension {
		var one struct{ Type, Name string }
		if err := json.Unmarshal([]byte(c.text), &one); err != nil {
			return err
		}
		if one.Type == "" || one.Name == "" {
			return errors.New("its name or type is missing")
		}
		c.single, c.name, c.main = true, one.Name, one.Type
		return nil
	}
	decoder := json.NewDecoder(strings.NewReader(c.text))
	if open, err := decoder.Token(); err != nil || open != json.Delim('{') {
		return errors.Join(err, errors.New("it is no object"))
	}
	for decoder.More() {
		key, err := decoder.Token()
		if err != nil {
			return err
		}
		switch key {
		case "plugins":
			err = c.parsePlugins(decoder)
		case "name":
			err = decoder.Decode(&c.name)
		case "loadOnlyInlinedPlugins":
			// libcni takes the word for true too (readBool in libcni/conf.go).
			var value any
			err = decoder.Decode(&value)
			c.inlined = strings.EqualFold(fmt.Sprint(value), "true")
		default:
			err = decoder.Decode(new(json.RawMessage))
		}
		if err != nil {
			return err
		}
	}
	if _, err := decoder.Token(); err != nil {
		return err
	}
	if _, err := decoder.Token(); err != io.EOF {
		return errors.New("something follows it")
	}
	if len(c.plugins) == 0 {
		return errors.New("it has no plugins")
	}
	c.main = c.plugins[0].name
	return nil
}

// parsePlugins reads the list of plugins.
func (c *chain) parsePlugins(decoder *json.Decoder) error {
	if c.plugins != nil {
		return errors.New("it has plugins twice")
	}
	if open, err := decoder.Token(); err != nil || open != json.Delim('[') {
		return errors.Join(err, errors.New("its plugins are no list"))
	}
	c.first = int(decoder.InputOffset())
	for decoder.More() {
		// The offset is after the last plugin, before a comma.
		from := int(decoder.InputOffset())
		var plugin struct{ Type string }
		if err := decoder.Decode(&plugin); err != nil {
			return err
		}
		start := from + strings.IndexByte(c.text[from:], '{')
		c.plugins = append(c.plugins, position{start, int(decoder.InputOffset()), plugin.Type})
	}
	_, err := decoder.Token()
	return err
}

// has reports whether the plugin is in the chain.
func (c *chain) has() bool { return c.count() > 0 }

// entry returns the plugin's entry as it is in the chain, the last if there are several.
func (c *chain) entry() (e rawEntry, ok bool) {
	for _, p := range slices.Backward(c.plugins) {
		if p.name == PluginName {
			return rawEntry(c.text[p.start:p.end]), true
		}
	}
	return "", false
}

// with returns the text with one entry of the plugin, at the end of the chain.
func (c *chain) with(e writer) (string, error) {
	if c.single {
		return c.asList(e)
	}
	if last := c.plugins[len(c.plugins)-1]; last.name == PluginName && c.count() == 1 {
		if sameJSON(c.text[last.start:last.end], e.text("")) {
			return c.text, nil
		}
	}
	if c.has() {
		without, err := parseChain(listFile(c.file), c.without())
		if err != nil {
			return "", err
		}
		if without.single {
			return "", fmt.Errorf("%s: the plugin cannot be alone", c.file)
		}
		return without.with(e)
	}
	last := c.plugins[len(c.plugins)-1]
	return c.text[:last.end] + "," + c.pause() + e.text(c.pause()) + c.text[last.end:], nil
}

func (c *chain) count() (n int) {
	for _, p := range c.plugins {
		if p.name == PluginName {
			n++
		}
	}
	return n
}

// pause returns the white space before the first plugin of the list.
func (c *chain) pause() string { return c.text[c.first:c.plugins[0].start] }

// without returns the text without entries of the plugin.
func (c *chain) without() string {
	text := c.text
	for i := len(c.plugins) - 1; i >= 0; i-- {
		if c.plugins[i].name != PluginName {
			continue
		}
		start, end := c.plugins[i].start, c.plugins[i].end
		switch {
		case i > 0:
			// With the comma before it.
			start = c.plugins[i-1].end
		case len(c.plugins) > 1:
			end = c.plugins[1].start
		}
		text = text[:start] + text[end:]
	}
	return text
}

// asList returns the text of a network of one plugin as that of a list. The plugin's own text
// stays as it is; libcni takes the list's name and version for it.
func (c *chain) asList(e writer) (string, error) {
	var head struct{ CNIVersion, Name string }
	if err := json.Unmarshal([]byte(c.text), &head); err != nil {
		return "", err
	}
	text := "{\n"
	if head.CNIVersion != "" {
		text += `  "cniVersion": ` + jsonText(head.CNIVersion, "") + ",\n"
	}
	pause := "\n    "
	return text + `  "name": ` + jsonText(head.Name, "") + ",\n" + `  "plugins": [` + pause +
		strings.TrimSpace(c.text) + "," + pause + e.text(pause) + "\n  ]\n}\n", nil
}

// asSingle returns the text of the one plugin of a list that [chain.asList] has made, without
// entries of the plugin. It is not ok for any other text.
func (c *chain) asSingle() (text string, ok bool) {
	if c.single || len(c.plugins) != 2 || c.plugins[1].name != PluginName {
		return "", false
	}
	var e Entry
	if json.Unmarshal([]byte(c.text[c.plugins[1].start:c.plugins[1].end]), &e) != nil {
		return "", false
	}
	one := chain{file: "one.conf", text: c.text[c.plugins[0].start:c.plugins[0].end] + "\n"}
	if one.parse() != nil {
		return "", false
	}
	list, err := one.asList(e)
	return one.text, err == nil && list == c.text
}

// sameJSON reports whether two texts have the same values.
func sameJSON(a, b string) bool {
	var x, y bytes.Buffer
	var v, w any
	if json.Unmarshal([]byte(a), &v) != nil || json.Unmarshal([]byte(b), &w) != nil {
		return false
	}
	// Keys are sorted.
	return json.NewEncoder(&x).Encode(v) == nil && json.NewEncoder(&y).Encode(w) == nil && x.String() == y.String()
}
