package postfix

import (
	"fmt"

	"postern/internal/admin/command"
	"postern/internal/table/migration"
)

const nonBDBUsage = "usage: postfix non-bdb status (or disable, enable-redirect, enable-reindex)"

// nonBDB shows or changes how tables of Berkeley DB are replaced.
// Postfix: postfix-non-bdb(1), 3.11.
func (p *postfix) nonBDB(args []string) int {
	if len(args) != 1 {
		return p.fatal(nonBDBUsage)
	}
	level := args[0]
	service := p.Common.NonBDBServiceName
	switch level {
	case "status":
		fmt.Fprintln(p.Out, p.Common.NonBDBLevel)
		return command.OK
	case migration.Disable:
	case migration.Redirect, migration.Reindex:
		for _, d := range []struct{ name, value string }{
			{"default_database_type", p.Common.DefaultDatabaseType}, {"default_cache_db_type", p.Common.DefaultCacheDBType},
		} {
			if migration.Legacy(d.value) {
				return p.fatal("%s is %s, a type of Berkeley DB: nothing was changed; first run: postconf %s=lmdb", d.name, d.value, d.name)
			}
		}
	default:
		return p.fatal("unknown command: '%s'. %s", level, nonBDBUsage)
	}
	var steps [][]string
	if level == migration.Disable {
		steps = append(steps, []string{"-X", "non_bdb_migration_level"})
	} else {
		steps = append(steps, []string{"-e", "non_bdb_migration_level=" + level})
	}
	if level == migration.Reindex {
		// It needs root to act as the owners of tables, and leaves the jail out.
		steps = append(steps, []string{"-Me", service + "/unix=" + service + " unix - n n - 1 nbdb_reindexd"})
	} else {
		steps = append(steps, []string{"-MX", service + "/unix"})
	}
	for _, step := range steps {
		if status := p.program("postconf", append([]string{"-q", "-c", p.Common.ConfigDirectory}, step...)...); status != 0 {
			return p.fatal("could not change the configuration: postconf %s", step[0])
		}
	}
	p.tell("non-Berkeley-DB migration: " + level + "; to have it in effect: postfix reload")
	return command.OK
}
