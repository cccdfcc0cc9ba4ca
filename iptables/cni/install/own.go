package install

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// OwnFile is the name of the file of [ModeOwn]. Runtimes read files by name, and take the first.
const OwnFile = "00-meshtables" + listExtension

func (n *Node) ownFile() string { return filepath.Join(n.Networks, OwnFile) }

// unfit returns an error if there can be no file of our own beside a network, in [ModeOwn].
func (n *Node) unfit(c *chain) error {
	if n.Mode != ModeOwn {
		return nil
	}
	if name := filepath.Base(c.file); name < OwnFile {
		return fmt.Errorf("%s: comes before %s by name, so the runtime would take it\nhint: give it another name, or install with the mode %s", c.file, OwnFile, ModeEntry)
	}
	// Multus takes the first file that is not its own for the network that it is to use
	// (findMasterPlugin in pkg/server/config). If that had Multus in it, the two
	// would call each other.
	if strings.HasPrefix(c.main, "multus") {
		return fmt.Errorf("%s: is the file of Multus, which would take %s for the network to delegate to\nhint: install with the mode %s", c.file, OwnFile, ModeEntry)
	}
	return nil
}

// writeOwn makes our own file from the network plugin's: its chain, and the entry. The name of
// the network is the same, and so is all that is stored by it: results and addresses.
func (p *placing) writeOwn(c *chain) error {
	want, err := p.wantedOwn(c)
	if err != nil {
		return err
	}
	own := p.ownFile()
	if there, err := os.ReadFile(own); err == nil && sameJSON(string(there), want) {
		return nil
	}
	if err := writeTo(c.file, own, want); err != nil {
		return err
	}
	p.changed(own)
	return nil
}

// wantedOwn returns the text of our own file. Mending keeps the entry that it has.
func (p *placing) wantedOwn(c *chain) (string, error) {
	if p.mending {
		if there, err := readChain(p.ownFile()); err == nil {
			if e, ok := there.entry(); ok {
				return c.with(e)
			}
		}
	}
	return c.with(p.entry)
}

// checkOwn returns an error if our own file is not there, or not made from the network
// plugin's as it is.
func (n *Node) checkOwn(c *chain) error {
	if err := n.unfit(c); err != nil {
		return err
	}
	there, err := readChain(n.ownFile())
	if err != nil {
		return err
	}
	e, ok := there.entry()
	if !ok {
		return missing(there.file)
	}
	if want, err := c.with(e); err != nil || !sameJSON(want, there.text) {
		return errors.Join(fmt.Errorf("%s: is not made from %s as that is", there.file, c.file), err)
	}
	return nil
}

// ownFiles returns the files that are nobody else's: of [ModeOwn], "" if there is none, and of
// [ModeDropIn] for any network.
func (n *Node) ownFiles() (own string, dropIns []string, err error) {
	if _, err := os.Lstat(n.ownFile()); err == nil {
		own = n.ownFile()
	} else if !errors.Is(err, fs.ErrNotExist) {
		return "", nil, err
	}
	entries, err := os.ReadDir(n.Networks)
	if err != nil {
		return "", nil, err
	}
	for _, e := range entries {
		file := filepath.Join(n.Networks, e.Name(), DropInFile)
		if !e.IsDir() {
			continue
		}
		if _, err := os.Lstat(file); err == nil {
			dropIns = append(dropIns, file)
		}
	}
	return own, dropIns, nil
}

// removeFile removes a file that is nobody else's, and its folder if that is one of a network
// and empty now. Runtimes hear of what leaves the folder of networks, not of what is in others.
func (n *Node) removeFile(file string) error {
	aside := filepath.Join(n.Networks, "."+filepath.Base(file)+".old")
	if err := os.Rename(file, aside); err != nil {
		return err
	}
	if folder := filepath.Dir(file); folder != filepath.Clean(n.Networks) {
		// Others may have files there.
		_ = os.Remove(folder)
	}
	return os.Remove(aside)
}
