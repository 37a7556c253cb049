package macro

import (
	"fmt"
	"strings"
	"unicode"

	"golang.org/x/net/idna"
)

// Functions are those that configuration text may call.
var Functions = map[string]func(text string) (string, error){
	"domain_to_ascii": domainToASCII,
}

// domainToASCII gives a domain the form that DNS knows (RFC 5891). One that is in
// ASCII stays as it is, also with what no host name may have.
func domainToASCII(domain string) (string, error) {
	if strings.IndexFunc(domain, func(r rune) bool { return r > unicode.MaxASCII }) < 0 {
		return domain, nil
	}
	ascii, err := idna.Lookup.ToASCII(domain)
	if err != nil {
		return "", fmt.Errorf("%.100q: %w", domain, err)
	}
	return ascii, nil
}
