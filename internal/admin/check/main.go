package check

import (
	"encoding/json"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"postern/internal/admin/command"
	"postern/internal/config/maincf"
	"postern/internal/config/param"
)

const usage = "usage: postern check [-c directory] [--json] [--reload]"

// Main is the command "postern check" with args, its name first; it returns
// the exit status: 1 if there are findings.
func Main(args []string, stdout, stderr io.Writer, k Knowledge) int {
	dir, asJSON, reload := "", false, false
	for rest := args[1:]; len(rest) > 0; rest = rest[1:] {
		switch {
		case rest[0] == "--json":
			asJSON = true
		case rest[0] == "--reload":
			reload = true
		case rest[0] == "-c" && len(rest) > 1:
			dir, rest = rest[1], rest[1:]
		case strings.HasPrefix(rest[0], "-c") && len(rest[0]) > 2:
			dir = rest[0][2:]
		default:
			fmt.Fprintf(stderr, "postern check: %s\n", usage)
			return command.Usage
		}
	}
	dir, err := filepath.Abs(command.ConfigDirectory(dir))
	if err != nil {
		fmt.Fprintf(stderr, "postern check: %v\n", err)
		return command.OSErr
	}
	var findings []Finding
	if reload {
		findings = Reload(dir, k)
	} else {
		findings = append(Configuration(dir, k), files(dir)...)
	}
	if asJSON {
		err = printJSON(stdout, findings)
	} else {
		err = show(stdout, findings)
	}
	switch {
	case err != nil:
		fmt.Fprintf(stderr, "postern check: %v\n", err)
		return command.OSErr
	case len(findings) > 0:
		return command.Failure
	}
	return command.OK
}

// files checks owners and modes where the configuration can be read at all.
func files(dir string) []Finding {
	main, err := maincf.Load(dir)
	if err != nil {
		return nil // found already
	}
	var common param.Common
	set := param.NewSet()
	common.Params(set)
	if set.Load(main.Override("config_directory", dir, "the command")) != nil {
		return nil
	}
	return Files(&common)
}

func printJSON(w io.Writer, findings []Finding) error {
	if findings == nil {
		findings = []Finding{}
	}
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(findings)
}

// show prints each finding with its remedy on a line of its own.
func show(w io.Writer, findings []Finding) error {
	for _, f := range findings {
		remedy := f.Remedy
		f.Remedy = ""
		if _, err := fmt.Fprintf(w, "%s: %s\n", f.Severity, f); err != nil {
			return err
		}
		if remedy == "" {
			continue
		}
		if _, err := fmt.Fprintf(w, "    %s\n", remedy); err != nil {
			return err
		}
	}
	if len(findings) == 0 {
		_, err := fmt.Fprintln(w, "nothing found")
		return err
	}
	return nil
}
