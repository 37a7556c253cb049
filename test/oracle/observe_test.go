package oracle

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"sort"
	"strings"
)

// show adds a piece to the section "want".
func (p *player) show(title, text string) {
	p.seen.WriteString(p.piece(title, text))
	p.shown++
}

// observe adds a piece about something that may still grow: the lines of a process
// that lives on come to the log when it is written, and what another process was
// told is noted when that one gets its turn. What is not as wanted is looked
// at again until it is, or until the system has come to rest.
func (p *player) observe(look func() (title, text string)) {
	var piece string
	p.i.Again(func() bool {
		piece = p.piece(look())
		return p.shown >= len(p.wanted) || numbering{}.text(piece) == numbering{}.text(p.wanted[p.shown])
	})
	p.seen.WriteString(piece)
	p.shown++
}

func (p *player) piece(title, text string) string {
	piece := "== " + title + "\n" + p.mask(text)
	if !strings.HasSuffix(piece, "\n") {
		piece += "\n"
	}
	return piece
}

// pieces cuts the section "want".
func pieces(want string) []string {
	list := strings.Split("\n"+want, "\n== ")[1:]
	for n := range list {
		list[n] = "== " + list[n]
		if n+1 < len(list) {
			list[n] += "\n"
		}
	}
	return list
}

// maildir shows the messages in new/ in the order of their texts, the queue ids
// left aside: which of two messages that are made at once got its id first is
// chance.
func (p *player) maildir(args []string) {
	p.observe(func() (string, string) {
		files, _ := filepath.Glob(p.hostPath(args[0]) + "/new/*")
		var texts []string
		for _, f := range files {
			texts = append(texts, p.mask(readFile(p.t, f)))
		}
		sort.Slice(texts, func(a, b int) bool {
			x, y := numberedID.ReplaceAllString(texts[a], "QID"), numberedID.ReplaceAllString(texts[b], "QID")
			return x < y || x == y && texts[a] < texts[b]
		})
		return fmt.Sprintf("maildir %s: %d", args[0], len(texts)), strings.Join(texts, "--\n")
	})
}

func (p *player) mailbox(args []string) {
	p.observe(func() (string, string) {
		b, err := os.ReadFile(p.hostPath(args[0]))
		if err != nil {
			b = []byte(strings.TrimPrefix(err.Error(), "open "+p.i.Root))
		}
		return "mailbox " + args[0], string(b)
	})
}

func (p *player) file(args []string) {
	p.observe(func() (string, string) { return "file " + args[0], readFile(p.t, p.hostPath(args[0])) })
}

func (p *player) sunk(args []string) {
	p.observe(func() (string, string) {
		return "sunk " + args[0], strings.Join(p.sinks[args[0]].Got(), "\n")
	})
}

func (p *player) milted(args []string) {
	p.observe(func() (string, string) {
		return "milted " + args[0], strings.Join(p.milters[args[0]].Got(), "\n")
	})
}

// asked leaves out the attributes whose values are chance, and those that the
// packaged Postfix does not know yet.
func (p *player) asked(args []string) {
	p.observe(func() (string, string) {
		var lines []string
		for _, l := range p.servers[args[0]].Asked() {
			name, _, _ := strings.Cut(l, "=")
			switch name {
			case "instance", "client_port", "server_port":
				l = name
			case "compatibility_level", "mail_version":
				continue
			}
			lines = append(lines, l)
		}
		return "asked " + args[0], strings.Join(lines, "\n")
	})
}

func (p *player) served(args []string) {
	p.observe(func() (string, string) { return "served " + args[0], fmt.Sprintln(p.servers[args[0]].Served()) })
}

// questions shows what was asked about names below a domain.
func (p *player) questions(args []string) {
	p.observe(func() (string, string) {
		var lines []string
		for _, q := range p.names.Queries()[p.heard:] {
			name, _, _ := strings.Cut(q, " ")
			if strings.HasSuffix(name, "."+args[0]) {
				lines = append(lines, q)
			}
		}
		return "questions " + args[0], strings.Join(lines, "\n")
	})
}

func (p *player) queue(args []string) {
	p.observe(func() (string, string) { return "queue " + args[0], fmt.Sprintf("%d\n", p.i.Count(args[0])) })
}

// numberedID is a masked queue id. Its number says when it was first seen in the
// log, which hangs on the pace of the programs.
var numberedID = regexp.MustCompile(`\bQID\d+`)

func (p *player) log(args []string) {
	p.observe(func() (string, string) {
		return strings.TrimSpace("log " + strings.Join(args, " ")), p.logOf(args)
	})
}

func (p *player) decisions([]string) {
	p.observe(func() (string, string) {
		return "decisions", numberedID.ReplaceAllString(p.logOf([]string{"smtpd"}), "QID")
	})
}

// logOf returns the lines of some programs, of all when none is named.
func (p *player) logOf(programs []string) string {
	p.i.SyncLog()
	quiet := slices.DeleteFunc([]string{"master", "postlogd", "anvil", "scache", "postfix-script"}, func(name string) bool { return slices.Contains(programs, name) })
	var lines []string
	for _, line := range p.i.NewMasker(p.ports).LogLines(p.i.Log(), quiet...) {
		program, _, _ := strings.Cut(line, ":")
		if len(programs) == 0 || slices.Contains(programs, program[strings.LastIndexByte(program, '/')+1:]) {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "\n")
}
