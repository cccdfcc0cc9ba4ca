package tests

import (
	"fmt"
	"regexp"
	"strings"
)

// block is a fenced block of a document, such as
//
//	```console
//	$ meshtables verify
//	as wanted (iptables-nft)
//	```
type block struct {
	language string
	// of is the command whose whole output the block is, or empty. A comment
	// before the block tells it: <!-- output of: COMMAND -->.
	of string
	// line is that of the first line of text in the document, counted from 1.
	line int
	text []string
}

var outputOf = regexp.MustCompile(`^<!-- output of: (.*) -->$`)

// parseBlocks returns the fenced blocks of a document in order.
func parseBlocks(document string) ([]block, error) {
	var blocks []block
	var open *block
	of := ""
	for i, line := range strings.Split(document, "\n") {
		language, fence := strings.CutPrefix(strings.TrimSpace(line), "```")
		switch {
		case fence && open != nil:
			blocks = append(blocks, *open)
			open = nil
		case fence:
			open = &block{language: language, of: of, line: i + 2}
			of = ""
		case open != nil:
			open.text = append(open.text, line)
		default:
			if m := outputOf.FindStringSubmatch(line); m != nil {
				of = m[1]
			} else if of != "" {
				return nil, fmt.Errorf("line %d: the comment before has to be right before a block", i+1)
			}
		}
	}
	if open != nil {
		return nil, fmt.Errorf("line %d: the block does not end", open.line-1)
	}
	return blocks, nil
}

// step is a command of a document with its output.
type step struct {
	// line is that of the first line of the output.
	line    int
	command string
	// output may have placeholders; see matches.
	output []string
}

// steps returns the commands of a block: what follows "$ ", with the lines after
// it that begin with "> ", and then the output up to the next command.
func (b block) steps() ([]step, error) {
	if b.of != "" {
		return []step{{b.line, b.of, b.text}}, nil
	}
	var steps []step
	for i, line := range b.text {
		command, isCommand := strings.CutPrefix(line, "$ ")
		more, isMore := strings.CutPrefix(line, "> ")
		switch {
		case isCommand:
			steps = append(steps, step{b.line + i + 1, command, nil})
		case len(steps) == 0:
			return nil, fmt.Errorf("line %d: output before any command", b.line+i)
		case isMore && steps[len(steps)-1].output == nil:
			last := &steps[len(steps)-1]
			last.command += "\n" + more
			last.line++
		default:
			last := &steps[len(steps)-1]
			last.output = append(last.output, line)
		}
	}
	return steps, nil
}

// placeholder stands in the output of a document for what differs from run to run
// or is left out: for any text in a line, or alone on a line for any lines.
const placeholder = "…"

// matches reports whether a command printed what the document says.
func (s step) matches(got string) bool {
	var pattern strings.Builder
	pattern.WriteString(`\A`)
	for _, line := range s.output {
		if strings.TrimSpace(line) == placeholder {
			pattern.WriteString(`(?:.*\n)*`)
			continue
		}
		parts := strings.Split(line, placeholder)
		for i := range parts {
			parts[i] = regexp.QuoteMeta(parts[i])
		}
		pattern.WriteString(strings.Join(parts, ".*") + "\n")
	}
	pattern.WriteString(`\z`)
	return regexp.MustCompile(pattern.String()).MatchString(got)
}
