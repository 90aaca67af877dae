using System.Text;
using Tessera.Lab;

namespace Tessera.GuestLibrary;

/// <summary>What the root disk of a fetched guest holds besides the files of its packages.</summary>
public static class RootDiskRecipe
{
    /// <summary>The file system's size; the file is sparse.</summary>
    public const long Bytes = 4L << 30;

    /// <summary>Every time in the file system: Debian 12's release, so that equal packages give equal bytes.</summary>
    public const long Time = 1_686_355_200;

    /// <summary>Packages asked for; apt adds what they depend on. A base system, tools for file systems and networks, loads, and a small HTTP server.</summary>
    public static readonly string[] Packages =
    [
        "base-files", "base-passwd", "bash", "busybox-static", "coreutils", "curl", "dash", "debianutils", "diffutils", "e2fsprogs", "ethtool", "findutils", "fio",
        "grep", "gzip", "hostname", "iperf3", "iproute2", "iputils-ping", "kmod", "libc-bin", "mawk", "mini-httpd", "mount", "ncurses-base", "procps", "sed",
        "stress-ng", "tar", "udhcpc", "util-linux",
    ];

    /// <summary>Folders of packages that a guest without readers has no use for.</summary>
    public static readonly string[] Dropped = ["usr/share/doc", "usr/share/info", "usr/share/lintian", "usr/share/locale", "usr/share/man", "var/cache"];

    /// <summary>Folders that must be there.</summary>
    public static readonly string[] Folders = ["dev", "etc", "mnt", "proc", "root", "run", "srv", "sys", "tmp", "var/cache", "var/log"];

    /// <summary>
    /// Links by path. A package's own scripts would make the first; the others put the guest's own init, switch and modules in place. Modules come from the RAM
    /// disk with the list that busybox's modprobe reads; kmod's would need indexes, which nobody makes there.
    /// </summary>
    public static readonly (string Path, string Target)[] Links =
    [
        ("usr/bin/awk", "mawk"), ("usr/bin/cttyhack", "busybox"), ("usr/sbin/halt", "../bin/busybox"), ("usr/sbin/poweroff", "../bin/busybox"),
        ("usr/sbin/reboot", "../bin/busybox"), ("usr/sbin/modprobe", "../bin/busybox"), ("usr/sbin/modinfo", "../bin/busybox"), ("usr/lib/modules", "../../run/modules"), ("etc/mtab", "../proc/self/mounts"),
    ];

    /// <summary>Copies within the tree, which packages' scripts would make.</summary>
    public static readonly (string From, string To)[] Copies =
    [
        ("usr/share/base-passwd/passwd.master", "etc/passwd"), ("usr/share/base-passwd/group.master", "etc/group"), ("usr/share/libc-bin/nsswitch.conf", "etc/nsswitch.conf"),
        ("usr/share/base-files/profile", "etc/profile"), ("usr/share/base-files/dot.bashrc", "root/.bashrc"), ("usr/share/base-files/dot.profile", "root/.profile"),
    ];

    /// <summary>Text files by path; those below sbin are programs.</summary>
    public static readonly (string Path, string Text)[] Files =
    [
        ("etc/fstab", "proc /proc proc defaults 0 0\n"),
        ("etc/hostname", "tessera\n"),
        ("etc/hosts", "127.0.0.1 localhost tessera\n::1 localhost\n"),
        ("etc/inittab", "::respawn:/usr/bin/cttyhack /bin/bash -l\n::ctrlaltdel:/sbin/reboot -f\n"),
        ("etc/tessera.sh", GuestInit.Words),
        (
            "usr/sbin/init",
            """
            #!/bin/sh
            export PATH=/usr/sbin:/usr/bin HOME=/root TERM="${TERM:-linux}"
            hostname -F /etc/hostname
            ip link set lo up
            . /etc/tessera.sh
            exec /bin/busybox init
            """ + "\n"),
    ];

    /// <summary>Stands for everything but the packages that decides the disk's content.</summary>
    public static string Fingerprint { get; } = Convert.ToHexStringLower(Sha256.Hash(Encoding.UTF8.GetBytes(string.Join(
        '\n',
        [
            $"1 {Bytes} {Time}", .. Packages, .. Dropped, .. Folders, .. Links.Select(link => $"{link.Path} {link.Target}"),
            .. Copies.Select(copy => $"{copy.From} {copy.To}"), .. Files.Select(file => $"{file.Path} {file.Text}"),
        ]))))[..16];
}
