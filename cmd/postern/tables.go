package main

import (
	"slices"

	"postern/internal/table"
	"postern/internal/table/bdb"
	"postern/internal/table/cache"
	"postern/internal/table/cdb"
	"postern/internal/table/cidr"
	"postern/internal/table/combine"
	"postern/internal/table/inline"
	"postern/internal/table/ldap"
	"postern/internal/table/lmdb"
	"postern/internal/table/memcache"
	"postern/internal/table/mongodb"
	"postern/internal/table/network"
	"postern/internal/table/pattern"
	"postern/internal/table/sql/mysql"
	"postern/internal/table/sql/pgsql"
	"postern/internal/table/sql/sqlite"
	"postern/internal/table/static"
	"postern/internal/table/system"
	"postern/internal/table/texthash"
)

// tables lists the types of lookup tables that programs can open.
func tables() []table.Type {
	return cache.Cached(slices.Concat(
		[]table.Type{
			cdb.Type(),
			cidr.Type(),
			inline.Type(),
			ldap.Type(),
			lmdb.Type(),
			memcache.Type(),
			mysql.Type(),
			pgsql.Type(),
			sqlite.Type(),
			static.Type(),
			texthash.Type(),
		},
		bdb.Types(),
		combine.Types(),
		mongodb.Types(),
		network.Types(),
		pattern.Types(),
		system.Types(),
	), "btree", "hash", "lmdb")
}
