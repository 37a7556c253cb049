package harness

import (
	"fmt"
	"regexp"
	"sort"
	"strconv"
	"strings"
)

// A Masker replaces what differs between two runs of the same thing: queue
// ids, times, process ids, ports and sizes that contain them.
type Masker struct {
	ids   map[string]string
	ports map[string]string
	paths *strings.Replacer
}

// NewMasker returns a masker that knows the ids which the log names.
func (i *Instance) NewMasker(ports map[string]int) *Masker {
	m := &Masker{ids: map[string]string{}, ports: map[string]string{}, paths: strings.NewReplacer(
		i.Dir+"/", "/DIR/", i.System.SbinDir, "SBIN", i.System.DaemonDir, "LIBEXEC")}
	for name, port := range ports {
		m.ports[strconv.Itoa(port)] = "PORT-" + name
	}
	for _, match := range logID.FindAllStringSubmatch(i.Log(), -1) {
		m.id(match[1])
	}
	return m
}

func (m *Masker) id(id string) string {
	if id == "NOQUEUE" {
		return id
	}
	name, ok := m.ids[id]
	if !ok {
		name = fmt.Sprintf("QID%d", len(m.ids)+1)
		m.ids[id] = name
	}
	return name
}

var (
	logID = regexp.MustCompile(`(?m)\[\d+\]: (?:[a-z]+: )?([0-9A-Z]{8,20}|[0-9B-DF-HJ-NP-TV-Zb-df-hj-np-tv-z]{10,}z[0-9B-DF-HJ-NP-TV-Zb-df-hj-np-tv-y]+): `)

	masks = []struct {
		re   *regexp.Regexp
		with string
	}{
		{regexp.MustCompile(`(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), +\d{1,2} [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d [-+]\d{4} \([A-Z]+\)`), "DATE"},
		{regexp.MustCompile(`(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun) [A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d(?: \d{4})?`), "CTIME"},
		// tls= is new in 3.11; what it says of REQUIRETLS is kept.
		{regexp.MustCompile(`delay=[\d.]+, delays=[\d./]+(?:, tls=[-:!?a-z]+)?(/!?requiretls[:?a-z]*)?`), "delay=D, delays=D/D/D/D$1"},
		// New in 3.11, too: who was refused.
		{regexp.MustCompile(`(?m)(: (?:reject|reject_warning|hold|discard|filter|redirect|bcc|info|warn|hangup): .* proto=E?SMTP(?: helo=<[^>]*>)?)(?: sasl_\w+=\S+)+`), "$1"},
		{regexp.MustCompile(`\b\d{14}\.(QID\d+)@`), "TIME.$1@"},
		{regexp.MustCompile(`(QID\d+)\.\d{9,11}/`), "$1.TIME/"},
		{regexp.MustCompile(`(?m)^SBIN/(post\w+): `), "$1: "},
		{regexp.MustCompile(`(statistics: .*) at [A-Z][a-z]{2} [ \d]\d [\d:]{8}`), "$1 at TIME"},
		{regexp.MustCompile(`size=\d+`), "size=SIZE"},
		{regexp.MustCompile(`(named_attribute: \w*_port)=\d+`), "$1=PORT"},
		{regexp.MustCompile(`"arrival_time": \d+, "message_size": \d+`), `"arrival_time": TIME, "message_size": SIZE`},
		{regexp.MustCompile(`message_size: +\d+ +\d+ ( +\d+ +\d+) +\d+`), "message_size: SIZE OFFSET $1 SIZE"},
		{regexp.MustCompile(`(QID\d+[*!#]?) +\d+ CTIME`), "$1 SIZE CTIME"},
		{regexp.MustCompile(`SMTP id [0-9A-F]{8,}`), "SMTP id QID"},
		{regexp.MustCompile(`(?m)^ {4,}\d+ `), "OFFSET "},
		{regexp.MustCompile(`(deferred|defer)/[0-9A-F]/`), "$1/X/"},
		{regexp.MustCompile(`pid \d+`), "pid PID"},
		{regexp.MustCompile(`( v=Postern )[\d.]+`), "${1}VERSION"},
		{regexp.MustCompile(`(named_attribute: \w*port=)\d+`), "${1}PORT"},
		{regexp.MustCompile(`/tmp/\d{10}\.P\d+(?:Q\d+)?\.[-\w]+`), "/tmp/TMPFILE"},
		// The words of a notice are each system's own; what it says of the message is not.
		{regexp.MustCompile(`(?s)(This is the mail system at host [^\n]+\n).{1,800}?\n( +The mail system\n)`), "${1}(words)\n$2"},
	}
)

// queuedAs matches the id in a reply, which may come before the log names it.
var queuedAs = regexp.MustCompile(`(queued as )[0-9A-Za-z]+`)

// Text masks a text.
func (m *Masker) Text(s string) string {
	s = queuedAs.ReplaceAllString(s, "${1}QID")
	ids := make([]string, 0, len(m.ids))
	for id := range m.ids {
		ids = append(ids, id)
	}
	sort.Slice(ids, func(a, b int) bool { return len(ids[a]) > len(ids[b]) })
	for _, id := range ids {
		s = strings.ReplaceAll(s, id, m.ids[id])
	}
	for port, name := range m.ports {
		s = strings.ReplaceAll(s, ":"+port, ":"+name)
	}
	s = m.paths.Replace(s)
	for _, mask := range masks {
		s = mask.re.ReplaceAllString(s, mask.with)
	}
	return s
}

var logLine = regexp.MustCompile(`^[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d \S+ ([^\[]+)\[\d+\]: (.*)$`)

// newer matches lines that Postfix writes since 3.11 and the packaged one does
// not.
var newer = regexp.MustCompile(`^QID\d+: removed \((?:canceled|discarded)\)$`)

// LogLines returns the masked log, its lines grouped by program in the order
// of the alphabet, because the order between processes is chance. Programs
// named in skip are left out.
func (m *Masker) LogLines(log string, skip ...string) []string {
	group := map[string][]string{}
	for _, line := range strings.Split(log, "\n") {
		match := logLine.FindStringSubmatch(line)
		if match == nil {
			continue
		}
		program := match[1]
		if containsSuffix(skip, program) {
			continue
		}
		text := m.Text(match[2])
		if newer.MatchString(text) {
			continue
		}
		group[program] = append(group[program], program+": "+text)
	}
	var programs []string
	for p := range group {
		programs = append(programs, p)
	}
	sort.Strings(programs)
	var lines []string
	for _, p := range programs {
		sortDeliveries(group[p])
		if strings.HasSuffix(p, "/qmgr") {
			sortByMessage(group[p])
		}
		lines = append(lines, group[p]...)
	}
	return lines
}

var (
	delivery = regexp.MustCompile(`: QID\d+: (?:to=|passing )<`)
	lineID   = regexp.MustCompile(`: QID(\d+): `)
)

// sortDeliveries puts the lines of each message together, where a program
// handles several at the same time, and sorts each run of delivery lines:
// deliveries of one message run side by side and end in any order.
func sortDeliveries(lines []string) {
	if len(lines) == 0 || strings.Contains(lines[0], "/smtpd: ") || strings.Contains(lines[0], "/postsuper: ") {
		return
	}
	sort.SliceStable(lines, func(a, b int) bool { return idNumber(lines[a]) < idNumber(lines[b]) })
	for start := 0; start < len(lines); start++ {
		end := start
		for end < len(lines) && delivery.MatchString(lines[end]) {
			end++
		}
		sort.Strings(lines[start:end])
		start = max(start, end-1)
	}
}

var messageID = regexp.MustCompile(`: QID(\d+): `)

// sortByMessage puts the lines of each message together: the queue manager works
// on several at once, and which is done first is chance.
func sortByMessage(lines []string) {
	number := func(line string) int {
		n := 0
		if m := messageID.FindStringSubmatch(line); m != nil {
			n, _ = strconv.Atoi(m[1])
		}
		return n
	}
	sort.SliceStable(lines, func(a, b int) bool { return number(lines[a]) < number(lines[b]) })
}

func containsSuffix(list []string, program string) bool {
	for _, s := range list {
		if strings.HasSuffix(program, "/"+s) {
			return true
		}
	}
	return false
}

// IDs returns the queue ids that the log names, each with its mask.
func (m *Masker) IDs() map[string]string { return m.ids }

// idNumber is the number of the masked id that a line is about, 0 for none.
func idNumber(line string) int {
	m := lineID.FindStringSubmatch(line)
	if m == nil {
		return 0
	}
	n, _ := strconv.Atoi(m[1])
	return n
}
