package param

import (
	"fmt"
	"strings"

	"postern/internal/base/macro"
)

// CurrentLevel is the compatibility_level of this release: the last Postfix that
// changed a default.
const CurrentLevel = "3.11"

// Outdated says whether a compatibility_level is below that of this release.
func Outdated(level string) bool {
	have, err := macro.ParseLevel(level)
	if err != nil {
		return false // refused elsewhere
	}
	current, err := macro.ParseLevel(CurrentLevel)
	return err == nil && have.Compare(current) < 0
}

// Backwards returns a line for every declared parameter that src does not set
// and whose default is that of an older release, because of compatibility_level.
func (s *Set) Backwards(src Source) ([]string, error) {
	var list []string
	for _, d := range s.Declarations() {
		if !strings.Contains(d.Default, "compatibility_level") {
			continue
		}
		if _, _, ok := src.Lookup(d.Name); ok {
			continue
		}
		now, err := s.Expand(src, d.Default)
		if err != nil {
			return nil, fmt.Errorf("parameter %s: %w", d.Name, err)
		}
		then, err := s.Expand(atLevel{src}, d.Default)
		if err != nil {
			return nil, fmt.Errorf("parameter %s: %w", d.Name, err)
		}
		if now != then {
			list = append(list, fmt.Sprintf("using backwards-compatible default setting %s=%s", d.Name, now))
		}
	}
	return list, nil
}

// atLevel is a source with the compatibility level of this release.
type atLevel struct{ Source }

func (a atLevel) Lookup(name string) (value, where string, ok bool) {
	if name == "compatibility_level" {
		return CurrentLevel, "", true
	}
	return a.Source.Lookup(name)
}
