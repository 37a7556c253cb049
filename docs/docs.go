// Package docs is the documentation that the binary carries: the reference of
// main.cf parameters, restrictions and lookup tables, and the manual pages.
package docs

import "embed"

// Pages has the reference of main.cf parameters, a file for each subject, that
// of restrictions and table types, and the manual pages.
//
//go:embed parameters/*.md restrictions.md tables.md man/*.md
var Pages embed.FS
