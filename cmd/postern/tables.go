package main

import (
	"slices"

	"postern/internal/table"
	"postern/internal/table/bdb"
	"postern/internal/table/cidr"
	"postern/internal/table/combine"
	"postern/internal/table/inline"
	"postern/internal/table/network"
	"postern/internal/table/static"
	"postern/internal/table/system"
	"postern/internal/table/texthash"
)

// tables lists the types of lookup tables that programs can open.
func tables() []table.Type {
	return slices.Concat(
		[]table.Type{
			cidr.Type(),
			inline.Type(),
			static.Type(),
			texthash.Type(),
		},
		bdb.Types(),
		combine.Types(),
		network.Types(),
		system.Types(),
	)
}
