package local

import "postern/internal/base/macro"

// expand expands the macros of forward_path, luser_relay and
// command_execution_directory. undefined says that a macro has no value here;
// byExt that the address's extension was used.
func (s state) expand(text, filter string) (result string, undefined, byExt bool, err error) {
	x := macro.Expander{
		Filter: filter,
		Lookup: func(name string) (string, bool, error) {
			var value string
			switch name {
			case "user":
				value = s.user
			case "local":
				value = s.local
			case "domain":
				value = s.domain
			case "recipient":
				value = s.addr
			case "extension":
				value = s.ext
				byExt = byExt || value != ""
			case "recipient_delimiter":
				value = s.delimiter()
			case "home":
				value = s.rights.Home
			case "shell":
				value = s.rights.Shell
			default:
				return "", false, nil
			}
			return value, value != "", nil
		},
	}
	r, err := x.Expand(text)
	return r.Text, r.Undefined, byExt, err
}
