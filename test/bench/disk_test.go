//go:build bench

package bench

import (
	"flag"
	"os"
	"path/filepath"
	"testing"

	"postern/test/harness"
)

var ownDisk = flag.Bool("disk", false, "lay each instance out on a new ext4 in an image, with a journal and the usual options")

// disk is mounted where the instance is that runs now. What one contender has
// created and removed, and what else this machine did in the last minutes,
// slows a file system down; with -disk each begins on an equal one. But then
// every sync goes through two file systems.
var disk harness.Disk

func freshDisk(t *testing.T) func(dir string) error {
	if !*ownDisk {
		return nil
	}
	disk.Image = filepath.Join(harness.Root(t), "..", "disk.img")
	disk.Size, disk.Solid = 1<<30, true
	return disk.Make
}

// used are the folders of all instances. They are removed when everything is
// measured: a file system is slow where much was removed in the last minutes,
// and who comes next must not pay for that.
var used []string

func TestMain(m *testing.M) {
	status := m.Run()
	for _, dir := range used {
		os.RemoveAll(dir)
	}
	os.Exit(status)
}

// end stops an instance and gives its disk back.
func end(i *harness.Instance) {
	i.Stop()
	if err := disk.Unmount(); err != nil {
		i.T.Error(err)
	}
}
