// Package postmap is the command postmap: it builds lookup tables, and looks
// up, lists and changes their entries.
package postmap

import (
	"io"

	"postern/internal/admin/mapfile"
	"postern/internal/table"
	"postern/internal/table/source"
)

// Main runs the command with args, its name first, and returns its exit
// status. types are the table types that it can open.
func Main(args []string, stdin io.Reader, stdout, stderr io.Writer, types []table.Type) int {
	return mapfile.Run(dialect(), types, args, stdin, stdout, stderr)
}

// Strict is Main for a table that is built unattended: with any mistake in the
// source nothing is built.
func Strict(args []string, stdin io.Reader, stdout, stderr io.Writer, types []table.Type) int {
	d := dialect()
	d.Strict = true
	return mapfile.Run(d, types, args, stdin, stdout, stderr)
}

func dialect() mapfile.Dialect {
	return mapfile.Dialect{
		Name:      "postmap",
		Options:   "bc:d:fFhijmnNopq:rsuUvw",
		Usage:     "[-bfFhijmnNoprsuUvw] [-c config_dir] [-d key] [-q key] [map_type:]file...",
		Separator: "\t",
		Parse:     source.Split,
	}
}
