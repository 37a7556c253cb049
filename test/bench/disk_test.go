//go:build bench

package bench

import (
	"flag"
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

// end stops an instance and gives its disk back.
func end(i *harness.Instance) {
	i.Stop()
	if err := disk.Unmount(); err != nil {
		i.T.Error(err)
	}
}
