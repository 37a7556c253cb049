package postconf

import (
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"postern/internal/config/maincf"
	"postern/internal/config/pending"
)

func (p *postconf) masterPath() string { return filepath.Join(p.dir, "master.cf") }

// warnBefore tells what is wrong with references, before anything is shown.
func (p *postconf) warnBefore() error {
	for _, text := range p.known.problems {
		p.Log.Warningf("%s", text)
	}
	for _, name := range p.main.Names() {
		if s, _ := p.main.Get(name); s.Line > 0 {
			p.warnComment(s)
		}
	}
	return p.known.failed
}

// warnComment tells of a "#" that does not begin a comment. Postfix: 3.8.
func (p *postconf) warnComment(s maincf.Setting) {
	if !strings.Contains(s.Value, "#") {
		return
	}
	list := words(s.Value)
	for i, w := range list {
		if w[0] == '#' && i > 0 {
			p.Log.Warningf("%s: #comment after other text is not allowed: %.100s ...", s.Where, w)
			return
		}
	}
}

// warnAfter tells of settings that nothing reads, and of those that will go.
func (p *postconf) warnAfter() {
	if p.quiet {
		return
	}
	all := slices.Values(slices.Collect(maps.Keys(p.known.builtin)))
	for _, name := range p.main.Names() {
		if p.mode != 'p' || p.known.declares(name) || p.known.user[name] {
			continue
		}
		s, _ := p.main.Get(name)
		p.Log.Warningf("%s: unused parameter: %s=%s%s", p.main.Path(), name, s.Value, nearest(name, all, p.main))
	}
	for i := range p.services {
		s := &p.services[i]
		if len(s.Overrides) == 0 {
			continue
		}
		used, own := p.known.uses(p, s), overridden(s)
		for _, name := range slices.Sorted(maps.Keys(own)) {
			if !used[name] {
				p.Log.Warningf("%s: unused parameter: %s=%s%s", p.masterPath(), name, own[name], nearest(name, all, p.main))
			}
		}
	}
	p.warnDeprecated()
}

// warnDeprecated tells of settings that have a successor. Postfix: 3.9 and 3.11.
func (p *postconf) warnDeprecated() {
	found := false
	tell := func(path, name string) {
		if instead, ok := pending.Deprecated(name); ok {
			found = true
			p.Log.Warningf("%s: support for parameter %q will be removed; instead, %s", path, name, instead)
		}
	}
	for _, name := range p.main.Names() {
		tell(p.main.Path(), name)
	}
	for i := range p.services {
		for _, name := range slices.Sorted(maps.Keys(overridden(&p.services[i]))) {
			tell(p.masterPath(), name)
		}
	}
	if found {
		p.Log.Warningf("See https://www.postfix.org/DEPRECATION_README.html for details")
	}
}
