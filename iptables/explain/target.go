package explain

import (
	"fmt"
	"strings"

	"github.com/meshtables/meshtables/iptables"
)

// apply does what a target does that is neither a verdict nor a jump.
func (w *walker) apply(target iptables.Target) (outcome, error) {
	switch t := target.(type) {
	case iptables.Redirect:
		w.redirect(t)
		return decided, nil
	case iptables.TProxy:
		w.result.Verdict, w.result.Port = TProxied, t.Port
		if t.Port == 0 {
			w.result.Port = w.packet.DestinationPort
		}
		w.packet.Mark = w.packet.Mark&^t.Mask ^ t.Mark
		return decided, nil
	case iptables.Alteration:
		t.Alter(&w.packet)
		return fellThrough, nil
	case iptables.UnknownTarget:
		return w.applyForeign(t)
	}
	return decided, fmt.Errorf("unknown target %T", target)
}

func (w *walker) redirect(t iptables.Redirect) {
	w.translated = true
	// The socket that TPROXY gave the packet to, in mangle, keeps it.
	if w.result.Verdict == TProxied {
		return
	}
	w.result.Verdict, w.result.Port = Redirected, t.Ports.First
	if t.Ports == (iptables.PortRange{}) {
		w.result.Port = w.packet.DestinationPort
	}
}

// applyForeign handles the foreign targets whose arguments do not matter: those that only
// report the packet, and REJECT, which ends a connection as DROP does.
func (w *walker) applyForeign(t iptables.UnknownTarget) (outcome, error) {
	switch {
	case t.OnlyTells():
		return fellThrough, nil
	case t.Name == "REJECT":
		w.drop()
		return decided, nil
	}
	return decided, fmt.Errorf("unknown target %s", strings.TrimSpace(t.Name+" "+strings.Join(t.Args, " ")))
}

func (w *walker) drop() { w.result.Verdict, w.result.Port = Dropped, 0 }
