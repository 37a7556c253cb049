package sys

import (
	"os"
	"path/filepath"
	"testing"
)

func TestUsers(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	u := &Users{
		Passwd: write("passwd", "root:x:0:0::/root:/bin/sh\n+nis\nbroken:x:a:1:::\nann:x:1000:1001:A:/home/ann:/bin/bash\n", 0o644),
		Getent: write("getent", "#!/bin/sh\n[ \"$3\" = away ] && exit 1\n[ \"$3\" = bob ] && echo 'bob:x:7:8::/b:/s' && exit 0\nexit 2\n", 0o755),
	}
	want := User{"ann", Owner{UID: 1000, GID: 1001}, "/home/ann", "/bin/bash"}
	for _, find := range []func() (User, bool, error){
		func() (User, bool, error) { return u.ByName("ann") },
		func() (User, bool, error) { return u.ByUID(1000) },
	} {
		if got, ok, err := find(); !ok || err != nil || got.Name != want.Name || got.UID != 1000 || got.GID != 1001 || got.Home != want.Home || got.Shell != want.Shell {
			t.Errorf("got %+v, %v, %v", got, ok, err)
		}
	}
	for _, name := range []string{"", "nobody", "broken", "+nis", "ann:x", "bob"} {
		if got, ok, err := u.ByName(name); ok || err != nil {
			t.Errorf("%q: got %+v, %v", name, got, err)
		}
	}
	u.Switch = write("nsswitch", "group: files\npasswd: files systemd sss\n", 0o644)
	if got, ok, err := u.ByName("bob"); !ok || err != nil || got.UID != 7 {
		t.Errorf("getent: got %+v, %v, %v", got, ok, err)
	}
	if _, ok, err := u.ByName("nobody"); ok || err != nil {
		t.Errorf("getent: %v, %v", ok, err)
	}
	if _, _, err := u.ByName("away"); err == nil {
		t.Error("getent: no error")
	}
	u.Passwd = dir + "/absent"
	if _, _, err := u.ByName("ann"); err == nil {
		t.Error("no file: no error")
	}
}
