package milter

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"postern/internal/mail/dsn"
)

var errReply = errors.New("malformed reply")

// replyText checks the SMTP reply of a milter: each line has the same code, 4xx
// or 5xx, and, if it has an enhanced status code, one of that class. A "%" makes
// the next octet stand for itself.
func replyText(data []byte) (string, error) {
	data, ended := bytes.CutSuffix(data, []byte{0})
	if !ended || len(data) == 0 || bytes.IndexByte(data, 0) >= 0 {
		return "", errReply
	}
	lines := strings.Split(strings.TrimSuffix(strings.ReplaceAll(string(data), "\r\n", "\n"), "\n"), "\n")
	if len(lines) > maxReplyLines {
		return "", errReply
	}
	for i, line := range lines {
		if !validLine(line) || line[:3] != lines[0][:3] {
			return "", errReply
		}
		lines[i] = unescape(line)
	}
	return strings.Join(lines, "\r\n"), nil
}

func unescape(line string) string {
	if strings.IndexByte(line, '%') < 0 {
		return line
	}
	b := make([]byte, 0, len(line))
	for i := 0; i < len(line); i++ {
		if line[i] == '%' {
			if i++; i == len(line) {
				break
			}
		}
		b = append(b, line[i])
	}
	return string(b)
}

// maxReplyLines is what libmilter allows.
const maxReplyLines = 32

// validLine checks a line: "550 5.7.1 text" or "550-5.7.1 text".
func validLine(line string) bool {
	if len(line) < 5 || line[0] != '4' && line[0] != '5' || !isDigit(line[1]) || !isDigit(line[2]) ||
		line[3] != ' ' && line[3] != '-' {
		return false
	}
	if r := dsn.Split("", line[4:]); r.Status != "" && r.Status[0] != line[0] {
		return false
	}
	for i := 0; i < len(line); i++ {
		if line[i] < ' ' && line[i] != '\t' || line[i] == 0x7f {
			return false
		}
	}
	return true
}

func isDigit(b byte) bool { return b >= '0' && b <= '9' }

var replyNames = map[byte]string{
	replyAddRcpt: "SMFIR_ADDRCPT", replyDelRcpt: "SMFIR_DELRCPT", replyAddRcptPar: "SMFIR_ADDRCPT_PAR",
	replyShutdown: "SMFIR_SHUTDOWN", replyAccept: "SMFIR_ACCEPT", replyBody: "SMFIR_REPLBODY", replyContinue: "SMFIR_CONTINUE",
	replyDiscard: "SMFIR_DISCARD", replyChangeFrom: "SMFIR_CHGFROM", replyConnFail: "SMFIR_CONN_FAIL",
	replyAddHeader: "SMFIR_ADDHEADER", replyInsertHeader: "SMFIR_INSHEADER", replySymbols: "SMFIR_SETSYMLIST",
	replyChangeHeader: "SMFIR_CHGHEADER", replyProgress: "SMFIR_PROGRESS", replyQuarantine: "SMFIR_QUARANTINE",
	replyReject: "SMFIR_REJECT", replySkip: "SMFIR_SKIP", replyTempfail: "SMFIR_TEMPFAIL", replyCode: "SMFIR_REPLYCODE",
}

// replyName is the name of a reply in log lines.
func replyName(reply byte) string {
	if n, ok := replyNames[reply]; ok {
		return n
	}
	return fmt.Sprintf("%q", string(rune(reply)))
}
