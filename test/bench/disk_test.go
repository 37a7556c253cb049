//go:build bench

package bench

import (
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"postern/test/harness"
)

var plain = flag.Bool("plain", false, "lay instances out on the disk that is there")

// diskSize holds what the largest sample writes.
const diskSize = 1 << 30

// freshDisk returns what mounts an ext4 of its own, newly made with the usual
// options, where an instance is laid out. What one contender has created and
// removed, and what else this machine did in the last minutes, slows a file
// system down; so each begins on an equal one. Where that cannot be done (no
// loop devices), all share the disk that is there.
func freshDisk(t *testing.T) func(dir string) error {
	if *plain {
		return nil
	}
	return func(dir string) error {
		image := filepath.Join(harness.Root(t), "..", "disk.img")
		err := fill(image)
		for _, command := range [][]string{
			{"mkfs.ext4", "-q", "-F", "-E", "nodiscard,lazy_itable_init=0,lazy_journal_init=0", image},
			{"mount", "-o", "loop", image, dir},
		} {
			if err != nil {
				break
			}
			var out []byte
			if out, err = exec.Command(command[0], command[1:]...).CombinedOutput(); err != nil {
				err = fmt.Errorf("%s: %w: %s", command[0], err, out)
			}
		}
		if err != nil {
			fmt.Printf("no disk of its own: %v\n", err)
			*plain = true
			return nil
		}
		return os.Chmod(dir, 0o755)
	}
}

// fill makes the image, with all its blocks.
func fill(image string) error {
	if info, err := os.Stat(image); err == nil && info.Size() == diskSize {
		return nil
	}
	f, err := os.Create(image)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := io.CopyN(f, zeros{}, diskSize); err != nil {
		return err
	}
	return f.Sync()
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }

// end stops an instance and gives its disk back.
func end(i *harness.Instance) {
	i.Stop()
	mounts, _ := os.ReadFile("/proc/mounts")
	if dir := i.Host(""); strings.Contains(string(mounts), " "+filepath.Clean(dir)+" ") {
		if err := syscall.Unmount(filepath.Clean(dir), 0); err != nil {
			i.T.Errorf("unmount %s: %v", dir, err)
		}
	}
}
