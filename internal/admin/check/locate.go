package check

import (
	"errors"
	"io/fs"
	"regexp"
	"strconv"
	"strings"

	"postern/internal/config/maincf"
)

// places match the ways in which messages name a line of a file.
var places = [...]*regexp.Regexp{
	regexp.MustCompile(`^(/[^:,]+), line (\d+): (?s:(.*))$`),
	regexp.MustCompile(`^(/[^:,]+): line (\d+): (?s:(.*))$`),
}

// unused matches a warning about a setting that nothing knows.
var unused = regexp.MustCompile(`unused parameter: ([A-Za-z0-9_]+)=`)

// word matches what may be the name of a parameter.
var word = regexp.MustCompile(`[A-Za-z0-9_]+`)

// located moves a place from the message to the fields of the finding. Where
// the message names no place, the parameter that it names has one.
func (c *checker) located(f Finding) Finding {
	for _, p := range places {
		if m := p.FindStringSubmatch(f.Message); m != nil {
			line, err := strconv.Atoi(m[2])
			if err != nil {
				break
			}
			f.File, f.Line, f.Message = m[1], line, m[3]
			break
		}
	}
	f.Message = strings.TrimPrefix(f.Message, f.File+": ")
	if c.main == nil {
		return f
	}
	if m := unused.FindStringSubmatch(f.Message); m != nil {
		f.Message = f.Message[strings.Index(f.Message, m[0]):]
		f.Remedy = "correct the name, or remove the line"
		if f.Line > 0 {
			f.Parameter = m[1]
			return f
		}
		return c.atSetting(m[1], f)
	}
	return c.named(f)
}

// named fills in the parameter that the message is about.
func (c *checker) named(f Finding) Finding {
	for _, w := range word.FindAllString(f.Message, -1) {
		if !strings.Contains(w, "_") && w != "relayhost" && w != "mynetworks" {
			continue
		}
		s, ok := c.main.Get(w)
		if !ok || s.Line == 0 {
			continue
		}
		f.Parameter = w
		if f.Line == 0 {
			f.File, f.Line = c.mainFile(), s.Line
		}
		break
	}
	return f
}

// atSetting fills in where a parameter is set.
func (c *checker) atSetting(name string, f Finding) Finding { return at(c.main, name, c.mainFile(), f) }

// at fills in where conf sets a parameter; one that is not set has no line.
func at(conf *maincf.Config, name, file string, f Finding) Finding {
	f.Parameter = name
	if f.File == "" {
		f.File = file
	}
	s, ok := conf.Get(name)
	if !ok {
		return f
	}
	if s.Line > 0 {
		f.Line = s.Line
	} else if m := places[0].FindStringSubmatch(s.Where + ": "); m != nil {
		f.File = m[1]
		f.Line, _ = strconv.Atoi(m[2])
	}
	return f
}

// reason is the cause of an error of the file system without its path; without
// an error the path is something else than a directory.
func reason(err error) error {
	var p *fs.PathError
	switch {
	case err == nil:
		return errors.New("not a directory")
	case errors.As(err, &p):
		return p.Err
	}
	return err
}
