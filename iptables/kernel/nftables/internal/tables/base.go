package tables

import "github.com/meshtables/meshtables/iptables/installed"

// Base returns a base chain of a table, which has a name in its form, without the family.
// It is not ok for other chains, and at hooks without packets of IPv4 and IPv6.
func Base(form installed.Form, t *Table, name string, c *Chain) (b installed.Base, ok bool) {
	hook, ok := HookName(t.Family, c.Attached.Hook)
	at := installed.Attachment{Hook: hook, Priority: c.Attached.Priority, Kind: c.Attached.Kind, Devices: c.Devices, Made: t.Handle}
	return installed.Base{Form: form, Table: name, Chain: c.Name, Attachment: at}, ok && c.Base
}
