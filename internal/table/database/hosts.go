package database

import (
	"errors"
	"strings"
)

// HostPort cuts "host:port", "[address]:port" or a host without a port, which
// is then def.
func HostPort(text, def string) (host, port string, err error) {
	if rest, ok := strings.CutPrefix(text, "["); ok {
		host, rest, ok = strings.Cut(rest, "]")
		port, hasPort := strings.CutPrefix(rest, ":")
		switch {
		case !ok || host == "" || rest != "" && (!hasPort || port == ""):
			return "", "", errors.New("expected [address]:port")
		case rest == "":
			return host, def, nil
		}
		return host, port, nil
	}
	host, port, ok := strings.Cut(text, ":")
	switch {
	case host == "" || ok && (port == "" || strings.Contains(port, ":")):
		return "", "", errors.New("expected host or host:port, an IPv6 address as [address]:port")
	case !ok:
		return host, def, nil
	}
	return host, port, nil
}
