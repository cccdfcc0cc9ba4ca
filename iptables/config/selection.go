package config

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/spf13/pflag"

	"github.com/meshtables/meshtables/iptables"
)

// Everything, alone, selects all.
const Everything = "*"

// PortSelection is every port, or a list that may be empty.
type PortSelection struct {
	All   bool
	Ports []iptables.PortRange
}

// CIDRSelection is every address, or a list that may be empty.
type CIDRSelection struct {
	All   bool
	CIDRs []netip.Prefix
}

// GroupSelection is every group, or a list that is not empty.
type GroupSelection struct {
	All    bool
	Groups []uint32
}

// SelectedPorts returns a value that is [Everything] or ports.
func SelectedPorts(s *PortSelection) pflag.Value { return newSelection(&s.All, portList(&s.Ports)) }

// SelectedCIDRs returns a value that is [Everything] or addresses and networks.
func SelectedCIDRs(s *CIDRSelection) pflag.Value { return newSelection(&s.All, cidrList(&s.CIDRs)) }

// SelectedGroups returns a value that is [Everything] or 1 to most groups.
func SelectedGroups(s *GroupSelection, find Lookup, most int) pflag.Value {
	l := idList(&s.Groups, "group", find)
	l.Check = func(ids []uint32) error {
		switch {
		case len(ids) == 0:
			return errors.New("the list is empty")
		case len(ids) > most:
			return fmt.Errorf("the list has %d, but at most %d are possible", len(ids), most)
		}
		return nil
	}
	return newSelection(&s.All, l)
}

// selection is everything or a list.
type selection[T comparable] struct {
	all  *bool
	list List[T]
}

func newSelection[T comparable](all *bool, l List[T]) selection[T] {
	l.Must = Everything + " or " + l.Must
	return selection[T]{all, l}
}

func (v selection[T]) Set(text string) error {
	if strings.TrimSpace(text) == Everything {
		*v.all, *v.list.Target = true, nil
		return nil
	}
	if err := v.list.Set(text); err != nil {
		return err
	}
	*v.all = false
	return nil
}

func (v selection[T]) String() string {
	if *v.all {
		return Everything
	}
	return v.list.String()
}

func (v selection[T]) Type() string { return v.list.Kind }

func (v selection[T]) repeated(text string) string {
	if *v.all {
		return ""
	}
	return v.list.repeated(text)
}
