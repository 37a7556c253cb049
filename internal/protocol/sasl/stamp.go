package sasl

import (
	"os"
	"syscall"
)

func stampOf(info os.FileInfo) fileStamp {
	s := fileStamp{size: info.Size(), modified: info.ModTime()}
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		s.inode = st.Ino
	}
	return s
}
