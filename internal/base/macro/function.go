package macro

import (
	"fmt"

	"golang.org/x/net/idna"
)

// Functions are those that configuration text may call.
var Functions = map[string]func(text string) (string, error){
	"domain_to_ascii": domainToASCII,
}

// domainToASCII gives a domain the form that DNS knows (RFC 5891).
func domainToASCII(domain string) (string, error) {
	ascii, err := idna.Lookup.ToASCII(domain)
	if err != nil {
		return "", fmt.Errorf("%.100q: %w", domain, err)
	}
	return ascii, nil
}
