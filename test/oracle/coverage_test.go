package oracle

import (
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"postern/internal/receive/smtpd/restrict"
	"postern/test/harness"
)

// The lists of restrictions, by the middle of their parameters' names.
var restrictionLists = []string{"client", "helo", "sender", "relay", "recipient", "data", "end_of_data", "etrn"}

// removed are the restrictions that Postfix refuses since 3.9.
var removed = []string{"permit_naked_ip_address", "reject_maps_rbl", "check_relay_domains"}

// results are the values of access tables (access(5)), as patterns for what
// stands behind "=" in an inline table.
var results = map[string]string{
	"OK": `=OK}`, "all digits": `=\d{4,}}`, "RELAY": `=RELAY}`, "DUNNO": `=DUNNO}`,
	"4NN": `=4\d\d [a-z]`, "4NN with status": `=4\d\d 4\.`, "5NN": `=5\d\d [a-z]`, "5NN with status": `=5\d\d 5\.`,
	"421": `=421 `, "521": `=521 `, "REJECT": `=REJECT}`, "REJECT text": `=REJECT [a-z]`, "REJECT with status": `=REJECT 5\.`,
	"DEFER": `=DEFER}`, "DEFER text": `=DEFER [a-z]`, "DEFER_IF_PERMIT": `=DEFER_IF_PERMIT`, "DEFER_IF_REJECT": `=DEFER_IF_REJECT`,
	"BCC": `=BCC \w+@`, "DISCARD": `=DISCARD}`, "DISCARD text": `=DISCARD [a-z]`, "FILTER": `=FILTER \w+:`, "HOLD": `=HOLD}`, "HOLD text": `=HOLD [a-z]`,
	"PREPEND": `=PREPEND [-\w]+:`, "REDIRECT": `=REDIRECT \w+@`, "INFO": `=INFO}`, "INFO text": `=INFO [a-z]`, "WARN": `=WARN}`, "WARN text": `=WARN [a-z]`,
	"HANGUP": `=HANGUP`, "restriction": `=reject_plaintext_session}`, "restriction list": `=reject_\w+, permit}`, "restriction class": `=c\d}`,
	"unknown": `=nonsense}`, "table in a table": `=check_client_access `,
}

// keywords of EHLO.
var keywords = []string{"PIPELINING", "SIZE", "VRFY", "ETRN", "STARTTLS", "AUTH", "AUTH=", "XVERP", "XCLIENT", "XFORWARD",
	"ENHANCEDSTATUSCODES", "8BITMIME", "DSN", "SMTPUTF8", "CHUNKING"}

// verbs are the commands.
var verbs = []string{"HELO", "EHLO", "MAIL", "RCPT", "DATA", "BDAT", "RSET", "NOOP", "VRFY", "ETRN", "QUIT", "HELP", "AUTH", "STARTTLS", "XCLIENT", "XFORWARD"}

// mailParameters and rcptParameters are the parameters of MAIL and RCPT.
var (
	mailParameters = []string{"SIZE=", "BODY=8BITMIME", "BODY=7BIT", "AUTH=", "RET=HDRS", "RET=FULL", "ENVID=", "SMTPUTF8", "REQUIRETLS", "XVERP"}
	rcptParameters = []string{"NOTIFY=NEVER", "NOTIFY=SUCCESS", "NOTIFY=.*FAILURE", "NOTIFY=.*DELAY", "ORCPT="}
)

// limits are the parameters that bound what a client may do.
var limits = []string{
	"smtpd_client_connection_rate_limit", "smtpd_client_connection_count_limit", "smtpd_client_message_rate_limit",
	"smtpd_client_recipient_rate_limit", "smtpd_client_new_tls_session_rate_limit", "smtpd_client_auth_rate_limit",
	"smtpd_client_event_limit_exceptions", "smtpd_soft_error_limit", "smtpd_hard_error_limit", "smtpd_junk_command_limit",
	"smtpd_error_sleep_time", "smtpd_recipient_limit", "smtpd_recipient_overshoot_limit", "line_length_limit", "message_size_limit",
	"anvil_rate_time_unit", "anvil_status_update_time", "smtpd_client_ipv4_prefix_length", "smtpd_client_ipv6_prefix_length", "smtpd_timeout", "smtpd_per_request_deadline", "smtpd_min_data_rate", "smtpd_starttls_timeout", "stress",
}

// TestEveryRestrictionHasADialogue looks for the names of restrictions in each
// list of each archive.
func TestEveryRestrictionHasADialogue(t *testing.T) {
	played, dialogues := configurations(t)
	// Postfix has one name more, check_address_map, for
	// local_header_rewrite_clients alone.
	if n := len(restrict.Names()); n != 78 {
		t.Errorf("%d restrictions, want 78", n)
	}
	if !regexp.MustCompile(`local_header_rewrite_clients *=.*check_address_map`).MatchString(played) {
		t.Error("no archive has check_address_map in local_header_rewrite_clients")
	}
	for _, list := range restrictionLists {
		set := regexp.MustCompile(`\bsmtpd_` + list + `_restrictions *=(.*)`)
		used := map[string]bool{}
		var values strings.Builder
		for _, m := range set.FindAllStringSubmatch(played, -1) {
			values.WriteString(m[1] + "\n")
			for _, w := range regexp.MustCompile(`[a-z_]+`).FindAllString(m[1], -1) {
				used[w] = true
			}
		}
		for _, n := range restrict.Names() {
			if !used[n.Name] && !slices.Contains(removed, n.Name) {
				t.Errorf("no archive has the restriction %s in smtpd_%s_restrictions", n.Name, list)
			}
		}
		for name, pattern := range results {
			if !regexp.MustCompile(pattern).MatchString(values.String()) {
				t.Errorf("no archive has the result %s of an access table in smtpd_%s_restrictions", name, list)
			}
		}
	}
	if dialogues < 750 {
		t.Errorf("%d dialogues, want 750", dialogues)
	}
}

// TestEveryLimitHasADialogue looks for the parameters in the configurations.
func TestEveryLimitHasADialogue(t *testing.T) {
	played, _ := configurations(t)
	for _, name := range limits {
		if !regexp.MustCompile(`(?m)(?:^|[\s{])` + name + ` *=`).MatchString(played) {
			t.Errorf("no archive sets %s", name)
		}
	}
}

// TestEveryCommandHasADialogue looks for what is said, and for the keywords in
// what the server answered.
func TestEveryCommandHasADialogue(t *testing.T) {
	said := dialogueTexts(t)
	find := func(what, name, pattern string) {
		if !regexp.MustCompile(`(?im)^` + pattern).MatchString(said) {
			t.Errorf("no dialogue has the %s %s", what, name)
		}
	}
	for _, name := range verbs {
		find("command", name, `C[:-] `+name+`\b`)
	}
	for _, name := range keywords {
		find("keyword", name, `S: 250[- ]`+name)
	}
	for _, name := range mailParameters {
		find("parameter of MAIL", name, `C[:-] MAIL FROM:.* `+name)
	}
	for _, name := range rcptParameters {
		find("parameter of RCPT", name, `C[:-] RCPT TO:.* `+name)
	}
}

func archives(t *testing.T) []*txtar.Archive {
	t.Helper()
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil {
		t.Fatal(err)
	}
	var list []*txtar.Archive
	for _, file := range files {
		a, err := txtar.ParseFile(file)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, a)
	}
	return list
}

// configurations returns the configurations of all archives, and the number of
// dialogues.
func configurations(t *testing.T) (text string, dialogues int) {
	t.Helper()
	var b strings.Builder
	for _, a := range archives(t) {
		dialogues += strings.Count("\n"+string(a.Comment), "\ndialogue ")
		for _, name := range []string{"main.cf", "master.cf"} {
			section, _ := harness.Section(a, name)
			// An option of master.cf ends where the next begins.
			b.WriteString(strings.ReplaceAll(string(section), " -o ", "\n -o ") + "\n")
		}
	}
	return b.String(), dialogues
}

// dialogueTexts returns the lines of all dialogues.
func dialogueTexts(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	for _, a := range archives(t) {
		for _, f := range a.Files {
			if text := string(f.Data); strings.Contains(text, "S: ") {
				b.WriteString(text)
			}
		}
	}
	return b.String()
}
