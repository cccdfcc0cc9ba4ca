package tests

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/tests/lab"
)

// damager makes random damage of the rules in a pod.
type damager struct {
	*rand.Rand
	backend string
	family  iptables.Family
	rules   []placedRule
	// transparent says that inbound traffic comes by TPROXY.
	transparent bool
}

// placedRule is an installed rule, in the words of iptables, or of nft with its handle.
type placedRule struct {
	table, chain, words string
	position            int
	handle              string
}

func newDamager(t *testing.T, s *scene, transparent bool, random *rand.Rand) *damager {
	t.Helper()
	f := lab.Families()[random.IntN(len(lab.Families()))]
	d := &damager{Rand: random, backend: s.backend, family: iptables.FamilyOf(lab.PodAddr.In(f)), transparent: transparent}
	if s.backend == native {
		d.rules = listedByNFT(program(t, s.pod, "", "nft", "-a", "list", "table", "inet", "meshtables"))
	} else {
		d.rules = savedRules(program(t, s.pod, "", programOf(s.backend, d.family, "save")))
	}
	return d
}

// savedRules reads what iptables-save prints.
func savedRules(text string) []placedRule {
	var all []placedRule
	table, position := "", make(map[string]int)
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if name, ok := strings.CutPrefix(line, "*"); ok {
			table = name
		}
		rule, ok := strings.CutPrefix(line, "-A ")
		if !ok {
			continue
		}
		chain, words, _ := strings.Cut(rule, " ")
		position[table+chain]++
		all = append(all, placedRule{table: table, chain: chain, words: words, position: position[table+chain]})
	}
	return all
}

var ruleOfNFT = regexp.MustCompile(`^(.*?)counter packets \d+ bytes \d+ ?(.*?)(?: ?comment "[^"]*")? # handle (\d+)$`)

// listedByNFT reads what nft lists, without counters and comments.
func listedByNFT(text string) []placedRule {
	var all []placedRule
	chain := ""
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if words := strings.Fields(line); len(words) > 1 && words[0] == "chain" {
			chain = words[1]
		}
		if m := ruleOfNFT.FindStringSubmatch(line); m != nil {
			all = append(all, placedRule{chain: chain, words: m[1] + m[2], handle: m[3]})
		}
	}
	return all
}

// draw returns commands that do something, and whether it is to rules of ours.
func (d *damager) draw() (commands string, own bool) {
	if d.IntN(3) == 0 {
		return d.stranger(), false
	}
	r := d.rules[d.IntN(len(d.rules))]
	if d.backend == native {
		return d.inNative(r), true
	}
	return d.inIPTables(r), true
}

func pick[T any](d *damager, from ...T) T { return from[d.IntN(len(from))] }

func (d *damager) program() string { return commandOf(d.backend, d.family) }

func (d *damager) inIPTables(r placedRule) string {
	do := fmt.Sprintf("%s -t %s ", d.program(), r.table)
	remove := fmt.Sprintf("%s-D %s %d\n", do, r.chain, r.position)
	switch d.IntN(6) {
	case 0:
		return remove
	case 1:
		return fmt.Sprintf("%s-I %s %d %s\n", do, r.chain, r.position, r.words)
	case 2:
		other := d.rules[d.IntN(len(d.rules))]
		if other.table == r.table && other.chain == r.chain {
			r.position++
		}
		// If it cannot be there, it stays.
		return fmt.Sprintf("%s -t %s -I %s 1 %s\n%s-D %s %d\n", d.program(), other.table, other.chain, r.words, do, r.chain, r.position)
	case 3:
		target := pick(d, "RETURN", "ACCEPT", "DROP")
		return fmt.Sprintf("%s-I %s %d %s -j %s\n", do, r.chain, r.position, d.matches(), target)
	}
	return fmt.Sprintf("%s-R %s %d %s\n", do, r.chain, r.position, d.changed(r.words))
}

func (d *damager) inNative(r placedRule) string {
	chain := "inet meshtables " + r.chain
	switch d.IntN(6) {
	case 0:
		return fmt.Sprintf("nft delete rule %s handle %s\n", chain, r.handle)
	case 1:
		return fmt.Sprintf("nft 'add rule %s handle %s %s'\n", chain, r.handle, r.words)
	case 2:
		other := d.rules[d.IntN(len(d.rules))]
		return fmt.Sprintf("nft 'insert rule inet meshtables %s %s'\nnft delete rule %s handle %s\n", other.chain, r.words, chain, r.handle)
	case 3:
		return fmt.Sprintf("nft 'insert rule %s handle %s %s %s'\n", chain, r.handle, d.matchesOfNFT(false), pick(d, "return", "accept", "drop"))
	}
	return fmt.Sprintf("nft 'replace rule %s handle %s %s'\n", chain, r.handle, d.changed(r.words))
}

// changed changes a word.
func (d *damager) changed(rule string) string {
	words := strings.Fields(rule)
	for range 20 {
		i := d.IntN(len(words))
		if w := d.instead(words[i]); w != words[i] {
			words = slices.Clone(words)
			words[i] = w
			break
		}
	}
	return strings.Join(words, " ")
}

// instead returns another word of the kind, or the same.
func (d *damager) instead(word string) string {
	prefix := strings.TrimRight(word, "0123456789")
	if _, err := strconv.Atoi(word[len(prefix):]); err == nil && (prefix == "" || prefix == ":") {
		return prefix + pick(d, "53", "80", "443", "8080", "9999", "15001", "15006", "15053", "1337", "5000", "6000", "2")
	}
	for _, alike := range [][]string{
		{"tcp", "udp"}, {"lo", "eth0"}, {`"lo"`, `"eth0"`}, {"RETURN", "ACCEPT", "DROP", "ISTIO_REDIRECT", "ISTIO_IN_REDIRECT", "ISTIO_OUTPUT_DNS"},
		{"ISTIO_INBOUND", "ISTIO_OUTPUT", "ISTIO_REDIRECT", "ISTIO_IN_REDIRECT", "RETURN", "ACCEPT"}, {"return", "accept", "drop"}, {"!", ""}, {"!=", ""},
		{"ISTIO_REDIRECT", "ISTIO_IN_REDIRECT", "RETURN"}, {"ISTIO_IN_REDIRECT", "ISTIO_REDIRECT", "RETURN"},
		{"--dport", "--sport"}, {"dport", "sport"}, {"--uid-owner", "--gid-owner"}, {"skuid", "skgid"}, {"-o", "-i"}, {"-d", "-s"}, {"daddr", "saddr"},
		{"127.0.0.1/32", lab.Outside.V4.String(), lab.PodAddr.V4.String()}, {"127.0.0.1", lab.Outside.V4.String()},
	} {
		if slices.Contains(alike, word) {
			return pick(d, alike...)
		}
	}
	return word
}

func (d *damager) address() string {
	f := lab.IPv4
	if d.family == iptables.IPv6 {
		f = lab.IPv6
	}
	return pick(d, lab.Outside, lab.OtherOutside, lab.Resolver, lab.PodAddr, lab.PeerAddr).In(f).String()
}

// owner is a match on a user or a group. With TPROXY the proxy's user is root, which no rule
// tells.
func (d *damager) owner() string {
	if d.transparent {
		return "--uid-owner " + pick(d, "5000", "6000")
	}
	return pick(d, "--uid-owner ", "--gid-owner ") + pick(d, "1337", "5000", "6000")
}

func (d *damager) port() string {
	return pick(d, "53", "80", "443", "8080", "8443", "15001", "15006", "15053")
}

// matches are those of a stranger's rule, in iptables' words.
func (d *damager) matches() string {
	var words []string
	add := func(format string, args ...any) {
		if d.IntN(4) == 0 {
			words = append(words, fmt.Sprintf(format, args...))
		}
	}
	add("%s %s", pick(d, "-s", "-d", "! -d"), d.address())
	add("%s", pick(d, "-m conntrack --ctstate NEW", "-m conntrack --ctstate ESTABLISHED", "-m conntrack --ctstate INVALID"))
	add("-m mark --mark %s", pick(d, "0", "1337", "7"))
	switch d.IntN(3) {
	case 0:
		words = append(words, "-p", pick(d, "tcp", "udp"))
		add("%s %s", pick(d, "--dport", "--sport", "! --dport"), d.port())
	case 1:
		words = append(words, "-p tcp")
	}
	return strings.Join(words, " ")
}

// stranger puts a rule of others into a table of iptables, or a chain of its own.
func (d *damager) stranger() string {
	if d.IntN(3) == 0 {
		return d.strangerOfNFT()
	}
	at := pick(d, "raw PREROUTING", "raw OUTPUT", "mangle PREROUTING", "mangle INPUT", "mangle OUTPUT", "mangle POSTROUTING",
		"nat PREROUTING", "nat OUTPUT", "filter INPUT", "filter OUTPUT")
	table, chain, _ := strings.Cut(at, " ")
	matches := d.matches()
	switch chain {
	case "PREROUTING", "INPUT":
		if d.IntN(4) == 0 {
			matches += " -i " + pick(d, "lo", "eth0", "eth+")
		}
	default:
		if d.IntN(4) == 0 {
			matches += " -o " + pick(d, "lo", "eth0", "eth+")
		}
		if d.IntN(4) == 0 {
			matches += " -m owner " + pick(d, "", "! ") + d.owner()
		}
	}
	targets := map[string][]string{
		"raw":    {"ACCEPT", "DROP", "RETURN", "CT --notrack"},
		"mangle": {"ACCEPT", "DROP", "RETURN", "MARK --set-mark 7", "MARK --set-mark 1337"},
		"nat":    {"ACCEPT", "RETURN", "REDIRECT --to-ports 9999", "REDIRECT --to-ports 15001"},
		"filter": {"ACCEPT", "DROP", "REJECT", "LOG"},
	}
	target := pick(d, targets[table]...)
	if strings.HasPrefix(target, "REDIRECT") {
		matches += " -p tcp"
	}
	return fmt.Sprintf("%s -t %s -I %s %s -j %s\n", d.program(), table, chain, matches, target)
}

// matchesOfNFT are those of a rule that nft writes, with sets or without.
func (d *damager) matchesOfNFT(sets bool) string {
	ip := "ip"
	if d.family == iptables.IPv6 {
		ip = "ip6"
	}
	var words []string
	add := func(format string, args ...any) {
		if d.IntN(4) == 0 {
			words = append(words, fmt.Sprintf(format, args...))
		}
	}
	add("%s %s %s", ip, pick(d, "saddr", "daddr", "daddr !="), d.address())
	add("ct state %s", pick(d, "new", "established", "invalid"))
	add("meta mark %s", pick(d, "0", "1337", "!= 7"))
	add("%s %s", pick(d, "tcp", "udp"), pick(d, "dport ", "sport ", "dport != ")+d.port())
	if words == nil || d.IntN(2) == 0 {
		words = append(words, "meta l4proto "+pick(d, "tcp", "udp"))
	}
	if sets {
		add("meta l4proto { tcp, udp }")
		add("ct state { new, established }")
	}
	return strings.Join(words, " ")
}

// strangerOfNFT is a chain of its own.
func (d *damager) strangerOfNFT() string {
	hook := pick(d, "prerouting", "input", "output", "postrouting")
	priority := pick(d, "-310", "-250", "-145", "-120", "-50", "0", "60", "110")
	verdict := pick(d, "accept", "drop", "drop", "reject", "meta mark set 1337", "notrack")
	matches := d.matchesOfNFT(true)
	if strings.HasPrefix(verdict, "notrack") {
		hook, priority = pick(d, "prerouting", "output"), "-310"
	}
	if verdict == "reject" && hook == "postrouting" {
		hook = "input"
	}
	return fmt.Sprintf("nft 'table inet others { chain c { type filter hook %s priority %s; %s %s; }; }'\n", hook, priority, matches, verdict)
}
