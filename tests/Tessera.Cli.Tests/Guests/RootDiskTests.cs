using System.Security.Cryptography;
using System.Text;
using Tessera.GuestLibrary;

namespace Tessera.Cli.Tests.Guests;

[TestFixture]
internal sealed class RootDiskTests
{
    private string _base = "";
    private FakeDebian _debian = new();

    [SetUp]
    public void MakeFolder()
    {
        _base = Directory.CreateTempSubdirectory("tessera-disks-").FullName;
        _debian = new();
    }

    [TearDown]
    public void DropFolder() => Directory.Delete(_base, recursive: true);

    private Task<GuestEntry> Get(bool rootDisk = true) =>
        new Library(Path.Combine(_base, "guests"), _debian, false, freeBytes: _ => 1L << 40).GetAsync("debian", new Progress<FetchProgress>(), default, rootDisk);

    [Test]
    public async Task A_guest_gets_a_root_disk_of_the_packages_and_all_they_need()
    {
        GuestEntry guest = await Get();

        Assert.That(new FileInfo(guest.RootDiskPath!).Length, Is.EqualTo(4L << 30));
        Assert.That(_debian.Calls, Has.Some.Contains("libc6=1.35").And.Some.Contains("fio=1.35"));
        Assert.That(guest.SizeBytes, Is.LessThan(1 << 20));
    }

    [Test]
    public async Task A_guest_without_its_disk_gets_it_when_asked_and_keeps_it_when_not()
    {
        Assert.That((await Get(rootDisk: false)).RootDiskPath, Is.Null);
        Assert.That((await Get()).RootDiskPath, Does.Exist);
        _debian.Calls.Clear();
        Assert.That((await Get(rootDisk: false)).RootDiskPath, Does.Exist);
        Assert.That(_debian.Calls, Has.None.Contains("download"));
    }

    [Test]
    public void A_host_without_e2fsprogs_is_told_what_to_install()
    {
        _debian.EnvironmentRunner = new Shell(127, "env: '/sbin/mke2fs': No such file or directory");

        Assert.That(Assert.Throws<GuestException>(() => Get().GetAwaiter().GetResult())!.Message, Does.Contain("/sbin/mke2fs is not installed").And.Contain("e2fsprogs").And.Contain("--no-disk"));
        Assert.That(Path.Combine(_base, "guests", "debian"), Does.Not.Exist);
    }

    [Test]
    public async Task The_same_packages_give_the_same_bytes_and_a_clean_file_system_that_belongs_to_root()
    {
        HostProcessRunner host = new();
        if (!File.Exists("/sbin/mke2fs") || !File.Exists("/sbin/e2fsck"))
            Assert.Ignore("e2fsprogs is not installed.");
        _debian.EnvironmentRunner = host;
        string disk = await Build("one");
        string again = await Build("two");

        Assert.That(await Hash(again), Is.EqualTo(await Hash(disk)));
        ProcessResult check = await host.RunAsync("/sbin/e2fsck", ["-f", "-n", disk], null, default);
        Assert.That(check.ExitCode, Is.Zero, check.Output + check.Error);
        foreach ((string path, string text) in ((string, string)[])[("/usr/bin/fio", "fio"), ("/usr/bin/libc6", "libc6"), ("/etc/passwd", "root:*:0:0\n"), ("/usr/sbin/init", "#!/bin/sh\n")])
            Assert.That((await Debugfs(disk, $"cat {path}")).Output, Does.StartWith(text), path);
        Assert.That((await Debugfs(disk, "stat /usr/sbin/init")).Output, Does.Match("Mode: +0755").And.Match("User: +0 +Group: +0").And.Contain("mtime: 0x6483bd00"));
        Assert.That((await Debugfs(disk, "stat /bin")).Output, Does.Contain("Type: symlink").And.Contain("usr/bin"));
        Assert.That((await Debugfs(disk, "stat /usr/sbin/modprobe")).Output, Does.Contain("../bin/busybox"), "it reads the list that travels in the RAM disk");
        Assert.That((await Debugfs(disk, "stat /usr/share/doc")).Error, Does.Contain("not found"));

        async Task<string> Build(string folder)
        {
            string work = Directory.CreateDirectory(Path.Combine(_base, folder)).FullName;
            DebianPackageSource packages = new(_debian, false);
            string empty = Path.Combine(work, "status");
            await File.WriteAllBytesAsync(empty, []);
            IReadOnlyList<DebianPackage> closure = await packages.ClosureAsync(["fio", "bash"], empty, new Progress<FetchProgress>(), default);
            string made = Path.Combine(work, "disk");
            await new RootDiskBuilder(_debian, packages).BuildAsync(closure, work, made, 64 << 20, new Progress<FetchProgress>(), default);
            return made;
        }

        Task<ProcessResult> Debugfs(string image, string command) => host.RunAsync("/sbin/debugfs", ["-R", command, image], null, default);
    }

    [Test]
    public async Task The_kernels_drivers_for_Xens_devices_are_in_the_ram_disk_with_their_dependencies()
    {
        GuestEntry guest = await Get(rootDisk: false);
        using System.IO.Compression.GZipStream gzip = new(File.OpenRead(guest.InitrdPath!), System.IO.Compression.CompressionMode.Decompress);
        using MemoryStream plain = new();
        await gzip.CopyToAsync(plain);

        string folder = $"lib/modules/{FakeDebian.Abi}-cloud-amd64/";
        Dictionary<string, byte[]> files = CpioReader.Read(plain.ToArray()).Where(entry => entry.Path.StartsWith(folder, StringComparison.Ordinal)).ToDictionary(entry => entry.Path[folder.Length..], entry => entry.Data);
        Assert.That(Encoding.ASCII.GetString(files["kernel/drivers/xen/xenfs/xenfs.ko"]), Is.EqualTo("xen/xenfs/xenfs.ko"));
        Assert.That(
            Encoding.ASCII.GetString(files["modules.dep"]).Split('\n'),
            Is.EqualTo(new[]
            {
                "kernel/drivers/block/xen-blkfront.ko:", "kernel/drivers/xen/xen-privcmd.ko:", "kernel/drivers/xen/xenfs/xenfs.ko: kernel/drivers/xen/xen-privcmd.ko", "",
            }));
        Assert.That(files.Keys, Has.None.Contains("net.ko"));
    }

    private static async Task<string> Hash(string path)
    {
        await using FileStream stream = File.OpenRead(path);
        return Convert.ToHexString(await SHA256.HashDataAsync(stream));
    }

    private sealed class Shell(int exitCode, string error) : IProcessRunner
    {
        public Task<ProcessResult> RunAsync(string program, IReadOnlyList<string> arguments, string? workingDirectory, CancellationToken cancellation) =>
            Task.FromResult(new ProcessResult(exitCode, "", error));
    }
}
