// Package param is how a program gets its main.cf parameters: it binds one
// field to each name, with the default in Postfix's notation, and loads them
// all at once.
//
// The names, kinds and defaults that a program declares can be listed without
// loading anything; postconf shows exactly those.
package param

import (
	"fmt"
	"strings"
	"time"

	"postern/internal/base/macro"
)

// A Kind says how the text of a parameter is read.
type Kind int

// The kinds of Postfix. NInt and NBool have a default that is itself text to
// be expanded; Raw is not expanded when it is loaded.
const (
	Str Kind = iota
	Raw
	Int
	NInt
	Long
	Bool
	NBool
	Time
)

// A Declaration is what a program says about one parameter.
type Declaration struct {
	Name    string
	Kind    Kind
	Default string // in Postfix's notation; "" for a computed one
	// Computed is the default that depends on the machine; nil for others.
	Computed func(value Value) (string, error)
}

// A Value returns the value of another parameter, for a computed default. One
// that is being computed itself is empty.
type Value func(name string) (string, error)

// A Source has the texts of the parameters that are set.
type Source interface {
	// Lookup returns the unexpanded value and where it is set, "main.cf: line 12".
	Lookup(name string) (value, where string, ok bool)
}

// A Set is the parameters of one program.
type Set struct {
	entries []*entry
	byName  map[string]*entry
}

type entry struct {
	Declaration
	bounds
	store func(text string) error // converts and keeps the expanded text
}

// NewSet returns a set without parameters.
func NewSet() *Set { return &Set{byName: make(map[string]*entry)} }

func (s *Set) add(d Declaration, o []Option, store func(*entry, string) error) {
	e := &entry{Declaration: d}
	for _, f := range o {
		f(&e.bounds)
	}
	e.store = func(text string) error { return store(e, text) }
	s.entries = append(s.entries, e)
	if s.byName[d.Name] == nil {
		s.byName[d.Name] = e
	}
}

// Str declares a text.
func (s *Set) Str(p *string, name, def string, o ...Option) {
	s.add(Declaration{Name: name, Kind: Str, Default: def}, o, storeText(p))
}

// Raw declares a text that the program expands itself, later.
func (s *Set) Raw(p *string, name, def string, o ...Option) {
	s.add(Declaration{Name: name, Kind: Raw, Default: def}, o, storeText(p))
}

// StrFunc declares a text whose default is computed, when it is not set.
func (s *Set) StrFunc(p *string, name string, f func() (string, error), o ...Option) {
	s.computed(p, name, func(Value) (string, error) { return f() }, o...)
}

func (s *Set) computed(p *string, name string, f func(Value) (string, error), o ...Option) {
	s.add(Declaration{Name: name, Kind: Str, Computed: f}, o, storeText(p))
}

// Int declares a whole number.
func (s *Set) Int(p *int, name string, def int, o ...Option) {
	s.add(Declaration{Name: name, Kind: Int, Default: fmt.Sprint(def)}, o, storeInt(p))
}

// NInt declares a whole number with a default that is expanded.
func (s *Set) NInt(p *int, name, def string, o ...Option) {
	s.add(Declaration{Name: name, Kind: NInt, Default: def}, o, storeInt(p))
}

// Long declares a whole number of 64 bits.
func (s *Set) Long(p *int64, name string, def int64, o ...Option) {
	s.add(Declaration{Name: name, Kind: Long, Default: fmt.Sprint(def)}, o, func(e *entry, text string) error {
		n, err := e.number(text, 64)
		if err == nil {
			*p = n
		}
		return err
	})
}

// Bool declares a yes or no.
func (s *Set) Bool(p *bool, name string, def bool, o ...Option) {
	s.add(Declaration{Name: name, Kind: Bool, Default: yesNo(def)}, o, storeBool(p))
}

// NBool declares a yes or no with a default that is expanded.
func (s *Set) NBool(p *bool, name, def string, o ...Option) {
	s.add(Declaration{Name: name, Kind: NBool, Default: def}, o, storeBool(p))
}

// Time declares a duration. The unit letter that ends the default (s, m, h, d
// or w) is the unit of values without one. Min and Max are in seconds.
func (s *Set) Time(p *time.Duration, name, def string, o ...Option) {
	s.add(Declaration{Name: name, Kind: Time, Default: def}, o, func(e *entry, text string) error {
		d, err := e.duration(text)
		if err == nil {
			*p = d
		}
		return err
	})
}

// Declarations lists what was declared, each name once, in order.
func (s *Set) Declarations() []Declaration {
	list := make([]Declaration, 0, len(s.byName))
	for _, e := range s.entries {
		if s.byName[e.Name] == e {
			list = append(list, e.Declaration)
		}
	}
	return list
}

// Load gives every parameter its value: from src, else its default. An error
// names the parameter, its value, and where it is set.
func (s *Set) Load(src Source) error {
	v := s.values(src)
	v.loading = true
	for _, e := range s.entries {
		if err := e.load(v); err != nil {
			return err
		}
	}
	return nil
}

// Problems returns an error for each parameter that Load could not give a
// value.
func (s *Set) Problems(src Source) []error {
	v := s.values(src)
	v.loading = true
	var list []error
	for _, e := range s.entries {
		if err := e.load(v); err != nil {
			list = append(list, err)
		}
	}
	return list
}

func (e *entry) load(v *values) error {
	text, where, _, err := v.raw(e.Name)
	if err == nil && e.Kind != Raw {
		text, err = v.expand(text)
	}
	if err == nil {
		switch e.Name {
		case "myhostname", "mydomain", "myorigin":
			if text, err = oneDomain(e.Name, text); err != nil {
				return failed(err, where)
			}
		}
	}
	if err != nil {
		return failed(fmt.Errorf("parameter %s: %w", e.Name, err), where)
	}
	if err := e.store(text); err != nil {
		return failed(err, where)
	}
	return nil
}

func failed(err error, where string) error {
	if where == "" {
		return err
	}
	return fmt.Errorf("%s: %w", where, err)
}

// Expand expands text with the values that src sets and the defaults that the
// set declares.
func (s *Set) Expand(src Source, text string) (string, error) {
	return s.values(src).expand(text)
}

// Settings returns what looks up the expanded values of names that src sets,
// declared or not. A value that cannot be expanded is returned as it is.
func (s *Set) Settings(src Source) func(name string) (value string, ok bool) {
	return func(name string) (string, bool) {
		text, _, ok := src.Lookup(name)
		if !ok {
			return "", false
		}
		if value, err := s.Expand(src, text); err == nil {
			return value, true
		}
		return text, true
	}
}

// Default returns the default of a declared parameter, computed if need be, in
// Postfix's notation.
func (s *Set) Default(src Source, d Declaration) (string, error) {
	if d.Computed == nil {
		return d.Default, nil
	}
	return d.Computed(s.values(src).value)
}

// values looks up names for one load. Computed defaults are computed once.
type values struct {
	set      *Set
	src      Source
	computed map[string]string
	busy     map[string]bool // being computed
	loading  bool            // $myorigin is what a program takes it for
}

func (s *Set) values(src Source) *values {
	return &values{set: s, src: src, computed: make(map[string]string), busy: make(map[string]bool)}
}

// raw returns the unexpanded value of a name.
func (v *values) raw(name string) (text, where string, ok bool, err error) {
	if text, where, ok = v.src.Lookup(name); ok {
		return text, where, true, nil
	}
	e := v.set.byName[name]
	if e == nil {
		return "", "", false, nil
	}
	if e.Computed == nil {
		return e.Default, "", true, nil
	}
	text, ok = v.computed[name]
	if !ok {
		if v.busy[name] {
			return "", "", false, nil
		}
		v.busy[name] = true
		text, err = e.Computed(v.value)
		delete(v.busy, name)
		if err != nil {
			return "", "", false, err
		}
		v.computed[name] = text
	}
	return text, "", true, nil
}

// value returns the expanded value of a name.
func (v *values) value(name string) (string, error) {
	text, _, _, err := v.raw(name)
	if err != nil {
		return "", err
	}
	return v.expand(text)
}

func (v *values) expand(text string) (string, error) {
	x := macro.Expander{
		Recurse:   true,
		Functions: macro.Functions,
		Lookup: func(name string) (string, bool, error) {
			text, _, ok, err := v.raw(name)
			if err == nil && ok && name == "myorigin" && v.loading {
				text, err = v.origin(text)
			}
			return text, ok, err
		},
	}
	r, err := x.Expand(text)
	return r.Text, err
}

// origin is the value of myorigin for a reference to it. A circle is left to the
// expansion, which tells of it.
func (v *values) origin(text string) (string, error) {
	if v.busy["myorigin"] {
		return text, nil
	}
	v.busy["myorigin"] = true
	defer delete(v.busy, "myorigin")
	value, err := v.expand(text)
	if err != nil || !strings.HasPrefix(value, "/") {
		return text, err
	}
	return originText(value)
}
