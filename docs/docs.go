// Package docs is the documentation that the binary carries: the reference of
// main.cf parameters, restrictions and lookup tables, and the manual pages.
package docs

import "embed"

// Parameters has the reference of main.cf parameters, a file for each subject.
//
//go:embed parameters/*.md
var Parameters embed.FS
