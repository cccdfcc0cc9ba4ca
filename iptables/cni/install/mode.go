package install

import (
	"fmt"
	"os"
	"time"
)

// Mode is how the plugin gets into the chain of the network that the runtime uses.
type Mode string

// The modes.
const (
	// ModeEntry adds an entry to the network plugin's own file. When that plugin writes its
	// file anew, the entry is gone until somebody puts it back.
	ModeEntry Mode = "entry"
	// ModeOwn has a file of our own, which the runtime reads before the network plugin's. It
	// has that one's chain and the entry.
	ModeOwn Mode = "own"
	// ModeDropIn has a file in the network's folder of more plugins, which libcni reads since
	// 1.3. Until the runtime has shown that it does, there is an entry too.
	ModeDropIn Mode = "drop-in"
)

// Modes returns all modes; the first is the default.
func Modes() []Mode { return []Mode{ModeEntry, ModeOwn, ModeDropIn} }

// settled is how long a runtime may take to read the folder of networks: first the names, then
// the files. What is taken away sooner after something new has come could be missed with what
// is new.
const settled = 500 * time.Millisecond

// placing puts the plugin in its place.
type placing struct {
	*Node
	entry Entry
	// mending leaves alone what is not as this version would have it: somebody installs another.
	mending bool
	done    Done
}

// place puts the program in its place, then what names it, then takes away what other modes
// have left. In no moment there is less than before.
func (p *placing) place() error {
	file, err := p.network()
	if err != nil {
		return err
	}
	c, err := readChain(file)
	if err != nil {
		return err
	}
	unfit := p.unfit(c)
	if unfit != nil && !p.mending {
		return fmt.Errorf("nothing was changed: %w", unfit)
	}
	if err := p.copyProgram(); err != nil {
		return err
	}
	switch {
	case unfit != nil:
		// The pods that start meanwhile are captured, whatever has to be mended.
		err = p.addEntry(file)
	case p.Mode == ModeOwn:
		err = p.writeOwn(c)
	case p.Mode == ModeDropIn:
		err = p.addDropIn(c)
	default:
		err = p.addEntry(file)
	}
	if err == nil {
		err = unfit
	}
	if err != nil || p.mending {
		return err
	}
	return p.removeOthers(c)
}

// copyProgram puts the program of this process in its place, if it is not there.
func (p *placing) copyProgram() error {
	if p.mending {
		if _, err := os.Stat(p.Program()); !os.IsNotExist(err) {
			return err
		}
	}
	copied, err := copyProgram(p.Program())
	if copied {
		p.done.Program = p.Program()
	}
	return err
}

// addEntry adds the entry to the network plugin's file.
func (p *placing) addEntry(file string) error {
	changed, err := change(file, func(c *chain) (string, error) {
		if p.mending && c.has() {
			return c.text, nil
		}
		return c.with(p.entry)
	})
	p.changed(changed)
	return err
}

// removeEntry removes the entry from the network plugin's file.
func (p *placing) removeEntry(file string) error {
	changed, err := change(file, func(c *chain) (string, error) { return c.without(), nil })
	p.removed(changed)
	return err
}

func (p *placing) changed(file string) {
	if file != "" {
		p.done.Networks = append(p.done.Networks, file)
	}
}

func (p *placing) removed(file string) {
	if file != "" {
		p.done.Removed = append(p.done.Removed, file)
	}
}

// removeOthers takes away what other modes have left, when the runtime has read what has come
// in its place.
func (p *placing) removeOthers(c *chain) error {
	own, dropIns, err := p.ownFiles()
	if err != nil {
		return err
	}
	keep := ""
	if p.Mode == ModeDropIn {
		keep = p.dropInFile(c)
	}
	var files []string
	if own != "" && p.Mode != ModeOwn {
		files = append(files, own)
	}
	for _, file := range dropIns {
		if file != keep {
			files = append(files, file)
		}
	}
	old := p.Mode == ModeOwn && c.has()
	if len(files) == 0 && !old {
		return nil
	}
	if p.done.Changed() {
		time.Sleep(settled)
	}
	if old {
		if err := p.removeEntry(c.file); err != nil {
			return err
		}
	}
	for _, file := range files {
		if err := p.removeFile(file); err != nil {
			return err
		}
		p.removed(file)
	}
	return nil
}
