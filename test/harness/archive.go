package harness

import "github.com/rogpeppe/go-internal/txtar"

// Section returns a section of an archive, and whether there is one.
func Section(a *txtar.Archive, name string) ([]byte, bool) {
	for _, f := range a.Files {
		if f.Name == name {
			return f.Data, true
		}
	}
	return nil, false
}

// SetSection replaces a section of an archive, or adds it at the end.
func SetSection(a *txtar.Archive, name string, data []byte) {
	for n := range a.Files {
		if a.Files[n].Name == name {
			a.Files[n].Data = data
			return
		}
	}
	a.Files = append(a.Files, txtar.File{Name: name, Data: data})
}
