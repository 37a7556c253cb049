package postmulti

import (
	"fmt"
	"path/filepath"
	"strings"

	"postern/internal/config/maincf"
	"postern/internal/config/param"
)

// An instance is one mail system.
type instance struct {
	config, queue, data string // its directories
	name, group         string
	enabled             bool
	primary             bool
}

// namePrefix begins the name of every instance that has one, so that files
// named after instances do not look like something else.
const namePrefix = "postfix-"

func validName(name string) bool {
	rest, ok := strings.CutPrefix(name, namePrefix)
	return ok && rest != "" && word(rest) && !strings.Contains(rest, "/")
}

// word says whether text can stand in a list.
func word(text string) bool { return text != "" && !strings.ContainsAny(text, param.Separators+"{}$") }

// load finds out which instances there are.
func (p *postmulti) load(dir string) error {
	p.primary = &instance{
		config: dir, queue: p.Common.QueueDirectory, data: p.Common.DataDirectory,
		name: p.Common.MultiInstanceName, group: p.Group, enabled: p.Enable, primary: true,
	}
	p.instances = []*instance{p.primary}
	others := param.Split(p.Directories)
	if len(others) == 0 {
		p.primary.enabled = true // Postfix: a single instance needs no switch
	}
	for _, dir := range others {
		i, err := read(dir)
		if err != nil {
			return err
		}
		if err := p.conflict(i); err != nil {
			return err
		}
		p.instances = append(p.instances, i)
	}
	return nil
}

// read reads what there is to know of a secondary instance.
func read(dir string) (*instance, error) {
	main, err := maincf.Load(dir)
	if err != nil {
		return nil, fmt.Errorf("Failed to obtain all required %s/main.cf parameters: %w", dir, err)
	}
	var c Config
	var common param.Common
	set := param.NewSet()
	common.Params(set)
	c.Params(set)
	if err := set.Load(main.Override("config_directory", dir, "the instance")); err != nil {
		return nil, fmt.Errorf("Failed to obtain all required %s/main.cf parameters: %w", dir, err)
	}
	return &instance{
		config: dir, queue: common.QueueDirectory, data: common.DataDirectory,
		name: common.MultiInstanceName, group: c.Group, enabled: c.Enable,
	}, nil
}

// conflict says whether i shares with another instance what must not be shared.
func (p *postmulti) conflict(i *instance) error {
	for _, other := range p.instances {
		if other == i {
			continue
		}
		for _, c := range []struct{ what, mine, theirs string }{
			{"multi_instance_name", i.name, other.name},
			{"config_directory", i.config, other.config},
			{"queue_directory", i.queue, other.queue},
			{"data_directory", i.data, other.data},
		} {
			if c.mine != "" && filepath.Clean(c.mine) == filepath.Clean(c.theirs) {
				return fmt.Errorf("instance %s, %s=%s conflicts with instance %s, %s=%s", i.config, c.what, c.mine, other.config, c.what, c.theirs)
			}
		}
	}
	return nil
}

// matches says whether -i or -g selects the instance; without them all are.
func (o *options) matches(i *instance) bool {
	switch {
	case o.name == "-":
		return i.primary
	case o.name != "":
		return i.name == o.name || i.config == o.name
	case o.group != "":
		return i.group == o.group
	}
	return true
}

// selected returns the instances that the options select.
func (p *postmulti) selected() []*instance {
	var list []*instance
	for _, i := range p.instances {
		if p.matches(i) {
			list = append(list, i)
		}
	}
	return list
}
