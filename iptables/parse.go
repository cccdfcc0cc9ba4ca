package iptables

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strconv"
	"strings"
)

// maxLine limits a line of save text. The kernel's limit for a rule is far below it.
const maxLine = 1 << 20

// ParseSave reads the output of iptables-save, for IPv4, or ip6tables-save, for IPv6,
// with or without counters ("-c"). It keeps the order of the tables.
//
// A match or target that this package has no type for becomes an [UnknownMatch] or
// [UnknownTarget]. An error names the line that cannot be read.
func ParseSave(family Family, r io.Reader) ([]Table, error) {
	p := saveParser{family: family}
	scanner := bufio.NewScanner(r)
	scanner.Buffer(nil, maxLine)
	number := 0
	for scanner.Scan() {
		number++
		if err := p.line(strings.TrimRight(scanner.Text(), " \t\r")); err != nil {
			return nil, fmt.Errorf("%s-save text, line %d: %w", family.Command(), number, err)
		}
	}
	if err := scanner.Err(); err != nil {
		return nil, fmt.Errorf("%s-save text, line %d: %w", family.Command(), number+1, err)
	}
	if p.table != nil {
		return nil, fmt.Errorf("%s-save text: table %s: no COMMIT at its end", family.Command(), p.table.Name)
	}
	return p.tables, nil
}

// saveParser holds what has been read so far. table is the one between its "*"
// and its "COMMIT" line.
type saveParser struct {
	family Family
	tables []Table
	table  *Table
	chains map[string]int // index of each chain in table
}

func (p *saveParser) line(line string) error {
	switch {
	case line == "" || line[0] == '#':
		return nil
	case line[0] == '*':
		return p.startTable(line[1:])
	case p.table == nil:
		return errors.New("outside of a table")
	case line == "COMMIT":
		p.finishTable()
		return nil
	case line[0] == ':':
		return p.chain(line[1:])
	default:
		return p.rule(line)
	}
}

func (p *saveParser) startTable(name string) error {
	if p.table != nil {
		return fmt.Errorf("table %s has no COMMIT", p.table.Name)
	}
	if name == "" || strings.ContainsAny(name, " \t") {
		return fmt.Errorf("%q is not a table name", name)
	}
	for _, t := range p.tables {
		if t.Name == name {
			return fmt.Errorf("second table %s", name)
		}
	}
	p.table = &Table{Family: p.family, Name: name}
	p.chains = make(map[string]int)
	return nil
}

// finishTable distinguishes jumps from targets without arguments, such as NOTRACK: rules
// name both alike, but only chains are declared.
func (p *saveParser) finishTable() {
	for _, c := range p.table.Chains {
		for i := range c.Rules {
			jump, ok := c.Rules[i].Target.(Jump)
			if _, declared := p.chains[jump.Chain]; ok && !declared {
				c.Rules[i].Target = UnknownTarget{Name: jump.Chain}
			}
		}
	}
	p.tables = append(p.tables, *p.table)
	p.table = nil
}

// chain reads "NAME POLICY [packets:bytes]". The policy of a user-defined chain is "-".
func (p *saveParser) chain(line string) error {
	fields := strings.Fields(line)
	if len(fields) != 2 && len(fields) != 3 {
		return errors.New("a chain needs a name, a policy and counters")
	}
	c := Chain{Name: fields[0]}
	if fields[1] != "-" {
		c.Policy = Policy(fields[1])
	}
	if len(fields) == 3 {
		var err error
		if c.Counters, err = parseCounters(fields[2]); err != nil {
			return err
		}
	}
	if _, ok := p.chains[c.Name]; ok {
		return fmt.Errorf("second chain %s", c.Name)
	}
	p.chains[c.Name] = len(p.table.Chains)
	p.table.Chains = append(p.table.Chains, c)
	return nil
}

// rule reads "[packets:bytes] -A CHAIN ...". The counters are optional.
func (p *saveParser) rule(line string) error {
	words, err := splitWords(line)
	if err != nil {
		return err
	}
	var counters Counters
	if strings.HasPrefix(words[0], "[") {
		if counters, err = parseCounters(words[0]); err != nil {
			return err
		}
		words = words[1:]
	}
	if len(words) < 2 || words[0] != "-A" {
		return fmt.Errorf("%q is neither a chain nor a rule", line)
	}
	i, ok := p.chains[words[1]]
	if !ok {
		return fmt.Errorf("chain %s is not declared", words[1])
	}
	rule, err := parseRule(p.family, words[2:])
	if err != nil {
		return err
	}
	rule.Counters = counters
	p.table.Chains[i].Rules = append(p.table.Chains[i].Rules, rule)
	return nil
}

func parseCounters(s string) (Counters, error) {
	packets, bytes, ok := strings.Cut(strings.TrimSuffix(strings.TrimPrefix(s, "["), "]"), ":")
	n, err1 := strconv.ParseUint(packets, 10, 64)
	m, err2 := strconv.ParseUint(bytes, 10, 64)
	if !ok || err1 != nil || err2 != nil {
		return Counters{}, fmt.Errorf("%q is not a pair of counters", s)
	}
	return Counters{Packets: n, Bytes: m}, nil
}

// splitWords splits a line at blanks outside of double quotes. The quotes, and
// the backslashes within them, stay in the word.
func splitWords(line string) ([]string, error) {
	var words []string
	start, quoted := -1, false
	for i := 0; i < len(line); i++ {
		switch c := line[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
			if start < 0 {
				start = i
			}
		case !quoted && (c == ' ' || c == '\t'):
			if start >= 0 {
				words = append(words, line[start:i])
			}
			start = -1
		case start < 0:
			start = i
		}
	}
	if quoted {
		return nil, errors.New("a quote is not closed")
	}
	if start >= 0 {
		words = append(words, line[start:])
	}
	return words, nil
}

// wordReader walks the words of one rule.
type wordReader struct {
	family Family
	words  []string
}

func (w *wordReader) next() (string, bool) {
	if len(w.words) == 0 {
		return "", false
	}
	word := w.words[0]
	w.words = w.words[1:]
	return word, true
}

// value returns the word after an option.
func (w *wordReader) value(option string) (string, error) {
	v, ok := w.next()
	if !ok {
		return "", fmt.Errorf("nothing follows %s", option)
	}
	return v, nil
}

// until takes the words up to the next "-m", "-j" or "-g": the arguments of an
// extension. What follows --comment is never such an option.
func (w *wordReader) until() []string {
	n := 0
	for n < len(w.words) && w.words[n] != "-m" && w.words[n] != "-j" && w.words[n] != "-g" {
		if w.words[n] == "--comment" {
			n++
		}
		n++
	}
	n = min(n, len(w.words))
	args := w.words[:n:n]
	w.words = w.words[n:]
	return args
}

func parseRule(family Family, words []string) (Rule, error) {
	var r Rule
	w := &wordReader{family: family, words: words}
	not := false
	for {
		word, ok := w.next()
		if !ok {
			break
		}
		if word == "!" {
			if not {
				return r, errors.New("there are two ! in a row")
			}
			not = true
			continue
		}
		if err := r.parseOption(w, word, not); err != nil {
			return r, err
		}
		not = false
	}
	if not {
		return r, errors.New("the rule ends in ! with nothing after it")
	}
	return r, nil
}

func (r *Rule) parseOption(w *wordReader, option string, not bool) (err error) {
	if not && (option == "-m" || option == "-j" || option == "-g") {
		return fmt.Errorf("! cannot negate %s", option)
	}
	switch option {
	case "-s":
		r.Source, err = parseAddress(w, option, not)
	case "-d":
		r.Destination, err = parseAddress(w, option, not)
	case "-i":
		r.In.Not = not
		r.In.Name, err = w.value(option)
	case "-o":
		r.Out.Not = not
		r.Out.Name, err = w.value(option)
	case "-p":
		var protocol string
		protocol, err = w.value(option)
		r.Protocol = ProtocolMatch{Protocol(protocol), not}
	case "-m":
		var name string
		if name, err = w.value(option); err == nil {
			r.Matches = append(r.Matches, parseMatch(name, w.until()))
		}
	case "-j":
		var name string
		if name, err = w.value(option); err == nil {
			r.Target = parseTarget(w.family, name, w.until())
		}
	case "-g":
		var name string
		name, err = w.value(option)
		r.Target = Goto{name}
	default:
		r.Matches = append(r.Matches, UnknownMatch{Args: append(appendNot(nil, not), option)})
	}
	return err
}

func parseAddress(w *wordReader, option string, not bool) (Address, error) {
	s, err := w.value(option)
	if err != nil {
		return Address{}, err
	}
	prefix, err := netip.ParsePrefix(s)
	if err != nil {
		addr, err := netip.ParseAddr(s)
		if err != nil {
			return Address{}, fmt.Errorf("%s %s: not an address or a prefix", option, s)
		}
		prefix = netip.PrefixFrom(addr, addr.BitLen())
	}
	if FamilyOf(prefix.Addr()) != w.family {
		return Address{}, fmt.Errorf("%s %s: not an %s address", option, s, w.family)
	}
	if not {
		return NotAddress(prefix), nil
	}
	return MatchAddress(prefix), nil
}
