using System.IO.Compression;
using System.Text;
using Tessera.Lab;

namespace Tessera.GuestLibrary;

/// <summary>The initial RAM disk of fetched guests: static busybox, a link for each of its applets, drivers for Xen's devices, and /init. Reproducible.</summary>
public static class GuestInitramfs
{
    /// <summary>
    /// Options of modules. The disk driver may put 1 MiB into a request, as much as the disk takes; its own default of 128 KiB costs eight times the
    /// events of a long transfer.
    /// </summary>
    private const string ModuleOptions = "options xen-blkfront max_indirect_segments=256\n";

    private static readonly string[] EmptyDirectories = ["dev", "etc/modprobe.d", "etc/udhcpc", "mnt", "proc", "root", "run", "sys", "tmp", "usr/bin", "usr/sbin", "var/log"];

    /// <summary>Stands for everything but busybox that decides the archive's content.</summary>
    public static string Recipe { get; } = Convert.ToHexStringLower(Sha256.Hash(Encoding.UTF8.GetBytes(GuestInit.Script + GuestInit.Words + GuestInit.LeaseScript + GuestInit.InitTab + ModuleOptions + string.Join(':', EmptyDirectories))))[..16];

    /// <summary>Writes the archive, gzip-compressed.</summary>
    /// <param name="output">Where to; left open.</param>
    /// <param name="busybox">The static busybox program.</param>
    /// <param name="applets">Its applets' paths as `busybox --list-full` prints them, such as "bin/sh".</param>
    /// <param name="modules">The kernel's drivers for Xen's devices.</param>
    public static void Write(Stream output, ReadOnlySpan<byte> busybox, IEnumerable<string> applets, GuestModules modules)
    {
        using GZipStream gzip = new(output, CompressionLevel.SmallestSize, leaveOpen: true);
        CpioWriter cpio = new(gzip);
        foreach (string directory in EmptyDirectories)
            cpio.Directory(directory);
        // The kernel opens it as the first process's standard streams, before anything is mounted.
        cpio.CharacterDevice("dev/console", 5, 1);
        cpio.File("init", Encoding.UTF8.GetBytes(GuestInit.Script), executable: true);
        cpio.File("etc/tessera.sh", Encoding.UTF8.GetBytes(GuestInit.Words));
        cpio.File("etc/modprobe.d/tessera.conf", Encoding.ASCII.GetBytes(ModuleOptions));
        cpio.File("etc/udhcpc/default.script", Encoding.UTF8.GetBytes(GuestInit.LeaseScript), executable: true);
        cpio.File("etc/inittab", Encoding.UTF8.GetBytes(GuestInit.InitTab));
        cpio.File("etc/passwd", "root::0:0:root:/root:/bin/sh\n"u8);
        cpio.File("etc/group", "root:x:0:\n"u8);
        cpio.File("bin/busybox", busybox, executable: true);
        foreach (string applet in applets.Order(StringComparer.Ordinal).Distinct())
            if (applet != "bin/busybox")
                cpio.Symlink(applet, "/bin/busybox");
        foreach ((string path, byte[] data) in modules.Files.OrderBy(file => file.Key, StringComparer.Ordinal))
            cpio.File($"lib/modules/{modules.Release}/{path}", data);
        cpio.Finish();
    }
}
