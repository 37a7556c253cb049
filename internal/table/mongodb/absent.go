//go:build nomongodb

// Package mongodb is the table type mongodb, which this build leaves out.
package mongodb

import "postern/internal/table"

// Types returns nothing: the build has the tag nomongodb.
func Types() []table.Type { return nil }
