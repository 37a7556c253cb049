//go:build bench

package bench

import (
	"flag"
	"fmt"
	"path/filepath"
	"testing"

	"postern/test/harness"
)

var plain = flag.Bool("plain", false, "lay instances out on the disk that is there")

// disk is mounted where the instance is that runs now. What one contender has
// created and removed, and what else this machine did in the last minutes,
// slows a file system down; so each begins on an equal one: an ext4 with the
// usual options, newly made. Where that cannot be done (no loop devices), all
// share the disk that is there.
var disk harness.Disk

func freshDisk(t *testing.T) func(dir string) error {
	if *plain {
		return nil
	}
	disk.Image = filepath.Join(harness.Root(t), "..", "disk.img")
	disk.Size, disk.Solid = 1<<30, true
	return func(dir string) error {
		if err := disk.Make(dir); err != nil {
			fmt.Printf("no disk of its own: %v\n", err)
			*plain = true
		}
		return nil
	}
}

// end stops an instance and gives its disk back.
func end(i *harness.Instance) {
	i.Stop()
	if err := disk.Unmount(); err != nil {
		i.T.Error(err)
	}
}
