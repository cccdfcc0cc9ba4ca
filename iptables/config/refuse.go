package config

import (
	"errors"
	"strconv"
	"strings"
)

// Refuse returns the row of an option that cannot be given; why says so to whoever gives it,
// by any name and in any source. It is for options of another policy: to ignore them would
// capture what the user wants left alone, or the other way round. What asks for nothing is
// accepted: an empty value, or false for a switch.
func Refuse(o Option, why string) Row {
	o.Hidden, o.Refused, o.Usage = true, why, why
	return Row{o, refusal{why}}
}

// RefuseSwitch is Refuse for an option that is a switch.
func RefuseSwitch(o Option, why string) Row {
	row := Refuse(o, why)
	row.Default, row.Value = "false", switchRefusal{why}
	return row
}

type refusal struct{ why string }

func (v refusal) Set(text string) error {
	if strings.TrimSpace(text) == "" {
		return nil
	}
	return errors.New(v.why)
}

func (v refusal) String() string { return "" }
func (v refusal) Type() string   { return "value" }

type switchRefusal struct{ why string }

func (v switchRefusal) Set(text string) error {
	if on, err := strconv.ParseBool(text); err == nil && !on {
		return nil
	}
	return errors.New(v.why)
}

func (v switchRefusal) String() string { return "false" }
func (v switchRefusal) Type() string   { return boolKind }
