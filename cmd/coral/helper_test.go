package main

import (
	"slices"
	"strings"
	"testing"
)

func TestHelperArgs(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"coral mount /mnt", ""},
		{"/sbin/mount.coral /data/models /mnt/m", "mount --repo=/data/models -- /mnt/m"},
		{"/sbin/mount.coral /data/models /mnt/m -s -n -v -o rw,noauto,nofail,x-systemd.automount", "mount --repo=/data/models -- /mnt/m"},
		{"mount.fuse.coral /d /m -t fuse.coral -o ro,allow_other,cache_size=5G,memory=1G,at=v1", "mount --repo=/d --ro --allow-other --cache-size=5G --memory=1G --at=v1 -- /m"},
		{"mount.coral /d /m -sf", "version"},
	} {
		args, ok, err := helperArgs(strings.Fields(c.in))
		if err != nil || ok != (c.want != "") || !slices.Equal(args, strings.Fields(c.want)) {
			t.Errorf("%s: %q, %v, %v", c.in, args, ok, err)
		}
	}
	for _, bad := range []string{"mount.coral /d", "mount.coral /d /m -o", "mount.coral /d /m -o bogus=1", "mount.coral /d /m /x", "mount.coral -z /d /m"} {
		if _, ok, err := helperArgs(strings.Fields(bad)); err == nil || !ok {
			t.Errorf("%s: no error", bad)
		}
	}
}
