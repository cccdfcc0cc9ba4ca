package compat

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/meshtables/meshtables/iptables/kernel/nftables/internal/expression"
)

// unknownArgs returns words with all bytes of an extension that the model has no type
// for. iptables would not take these words.
func unknownArgs(x extension) []string {
	return []string{"rev", strconv.FormatUint(uint64(x.revision), 10), expression.HexWord(x.info)}
}

// unknownExtension undoes unknownArgs.
func unknownExtension(name string, args []string) (extension, error) {
	if len(args) == 3 && args[0] == "rev" {
		revision, err := strconv.ParseUint(args[1], 10, 32)
		info, ok := expression.UnhexWord(args[2])
		if err == nil && ok {
			return extension{name, uint32(revision), info}, nil
		}
	}
	return extension{}, fmt.Errorf("%s %s cannot be written", name, strings.Join(args, " "))
}
