package iptables

// Choice is a target of nft, a verdict map: what happens depends on values of the packet.
// Only rules that were read have it.
type Choice struct {
	// Lookup looks the values up, and is not negated. Its words are those of the whole
	// target.
	Lookup Comparison
	// Targets are those of the elements. Nil leaves the packet to the next rule.
	Targets []Target
	// Otherwise is the target of packets without an element; nil leaves them to the next
	// rule.
	Otherwise Target
}

func (t Choice) appendSave(words []string) []string { return t.Lookup.appendSave(words) }

// Cases returns rules of which the first that matches has the packet's target. A packet
// that matches none goes on to the next rule. There are several only if what is known of
// the packet does not decide.
func (t Choice) Cases(p *Packet) []Rule {
	found, certain, absent := t.Lookup.find(p)
	if absent {
		return nil
	}
	var cases []Rule
	seen := make(map[string]bool)
	add := func(target Target) {
		r := Rule{Target: target}
		text := r.String()
		if seen[text] {
			return
		}
		seen[text] = true
		doubt := *t.Lookup.doubt()
		// The answer for one case is not that for the next.
		if text == "" {
			text = "the next rule"
		}
		doubt.What += ": " + text
		r.Matches = []Match{Doubtful{doubt}}
		cases = append(cases, r)
	}
	for _, i := range found {
		add(t.Targets[i])
	}
	if len(found) == 0 || !certain {
		add(t.Otherwise)
	}
	cases[len(cases)-1].Matches = nil
	return cases
}

// All returns every target that a packet may have.
func (t Choice) All() []Target { return append(t.Targets[:len(t.Targets):len(t.Targets)], t.Otherwise) }

// Case returns a rule for packets of one element only, without a target.
func (t Choice) Case(i int) Rule {
	one := t.Lookup
	one.Elements = NewElements(one.Elements.list[i : i+1])
	return Rule{Matches: []Match{one}}
}
