package sqlite

import (
	"errors"
	"io/fs"
	"sync"

	"github.com/ncruces/go-sqlite3/vfs"
)

// vfsName is what SQLite knows the file system below as.
const vfsName = "postern"

// register makes the file system known, once.
var register = sync.OnceFunc(func() {
	if system, ok := vfs.Find("os").(vfs.VFSFilename); ok {
		vfs.Register(vfsName, readable{system})
	}
})

// readable opens for reading what must not be written, as SQLite in C does:
// most databases, and their write-ahead logs, belong to another program's user.
type readable struct{ vfs.VFSFilename }

func (r readable) OpenFilename(name *vfs.Filename, flags vfs.OpenFlag) (vfs.File, vfs.OpenFlag, error) {
	f, out, err := r.VFSFilename.OpenFilename(name, flags)
	if flags&vfs.OPEN_READWRITE == 0 || !errors.Is(err, fs.ErrPermission) {
		return f, out, err
	}
	return r.VFSFilename.OpenFilename(name, flags&^(vfs.OPEN_READWRITE|vfs.OPEN_CREATE)|vfs.OPEN_READONLY)
}
