package param

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strings"

	"postern/internal/base/netaddr"
)

// originLimit is the longest name that is read from a file.
const originLimit = 1024

// oneDomain is the value of myhostname, mydomain or myorigin, which must be a
// single domain. An empty one is told elsewhere.
func oneDomain(name, text string) (string, error) {
	var err error
	if name == "myorigin" {
		text, err = originText(text)
	}
	switch {
	case err != nil:
		return "", err
	case strings.ContainsAny(text, Separators):
		return "", fmt.Errorf("%s parameter setting must not contain multiple values: %.100s", name, text)
	case name != "myorigin" && text != "" && !netaddr.ValidHostname(text):
		return "", fmt.Errorf("parameter %s: bad parameter value: %.100s; need the name of a host, in ASCII and not all numbers", name, text)
	}
	return text, nil
}

// originText gives myorigin its value where it names a file: the first line of
// that file. Postfix: so in Debian's package, whose main.cf says /etc/mailname.
func originText(text string) (string, error) {
	if !strings.HasPrefix(text, "/") {
		return text, nil
	}
	f, err := os.Open(text)
	if err != nil {
		return "", fmt.Errorf("parameter myorigin: %w", err)
	}
	defer f.Close()
	line, err := bufio.NewReader(io.LimitReader(f, originLimit)).ReadString('\n')
	if err != nil && err != io.EOF {
		return "", fmt.Errorf("parameter myorigin: read %s: %w", text, err)
	}
	words := strings.Fields(line)
	switch len(words) {
	case 0:
		return "", fmt.Errorf("parameter myorigin: the first line of the file %s is empty; it must be a domain", text)
	case 1:
		return words[0], nil
	}
	return "", fmt.Errorf("parameter myorigin: the first line of the file %s has several words; it must be a domain", text)
}
