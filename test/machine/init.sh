#!/busybox sh
# SPDX-License-Identifier: MIT
# The first process of the machine. It puts the host's file tree, read-only by 9p, under an overlay in
# memory, and goes on in there with inside.sh, whose place and arguments the host has left in /job.
export PATH=/
/busybox --install -s /applets
export PATH=/applets

mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
while read -r module; do
  insmod "/modules/$module" || echo "machine: $module does not load"
done </modules/order

fail() {
  echo "machine: $*"
  echo o >/proc/sysrq-trigger
  sleep 60
}

shared=trans=virtio,version=9p2000.L,msize=512000,cache=loose,ro
mkdir -p /host /kernel /memory /root
mount -t 9p -o $shared host /host || fail "the host's files are not to be had"
mount -t 9p -o $shared kernel /kernel || fail "the kernel's modules are not to be had"
mount -t tmpfs memory /memory
mkdir /memory/upper /memory/work
mount -t overlay -o lowerdir=/host,upperdir=/memory/upper,workdir=/memory/work overlay /root ||
  fail "no overlay"

release=$(uname -r)
mkdir -p "/root/lib/modules/$release"
mount --bind "/kernel/lib/modules/$release" "/root/lib/modules/$release"
mount -t proc proc /root/proc
mount -t sysfs sys /root/sys
mount -t devtmpfs dev /root/dev
mkdir -p /root/dev/pts /root/dev/shm
mount -t devpts devpts /root/dev/pts
mount -t tmpfs shm /root/dev/shm
mount -t tmpfs run /root/run
# The host's temporary files would look like leftovers of the tests. What tsx keeps there saves minutes.
mount -t tmpfs tmp /root/tmp
for kept in /host/tmp/tsx-[0-9]*; do
  [ -d "$kept" ] || continue
  name=${kept##*/}
  mkdir -p "/memory/$name/upper" "/memory/$name/work" "/root/tmp/$name"
  mount -t overlay -o "lowerdir=$kept,upperdir=/memory/$name/upper,workdir=/memory/$name/work" \
    overlay "/root/tmp/$name"
done
mount -t cgroup2 cgroup /root/sys/fs/cgroup
mount -t bpf bpf /root/sys/fs/bpf
cp /job /root/run/job
. /job
if ! [ -e "/root$MACHINE" ]; then
  # a work tree below /tmp
  mkdir -p "/root$ROOT"
  mount --bind "/host$ROOT" "/root$ROOT"
fi

# The kernel shares this process's root, so that it finds modprobe and the modules there.
exec chroot /root /bin/bash "$MACHINE/inside.sh"
