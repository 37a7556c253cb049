package macro

import (
	"fmt"
	"strings"
)

// Functions are those that configuration text may call.
var Functions = map[string]func(text string) (string, error){
	"domain_to_ascii": domainToASCII,
}

// domainToASCII gives a domain the form that DNS knows. Postern: a domain that
// is not written in ASCII is refused, because the parameters that make domains
// (myhostname, mydomain) must be in that form themselves.
func domainToASCII(domain string) (string, error) {
	for _, c := range []byte(domain) {
		if c >= 0x80 {
			return "", fmt.Errorf("%.100q is not in ASCII; write its labels in the form xn--", domain)
		}
	}
	return strings.ToLower(domain), nil
}
