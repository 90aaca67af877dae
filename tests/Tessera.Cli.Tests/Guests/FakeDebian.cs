using System.Security.Cryptography;
using Tessera.GuestLibrary;
using Tessera.Images.Tests.Support;
using Tessera.Lab.Reports;

namespace Tessera.Cli.Tests.Guests;

/// <summary>A host with apt and a mirror, as far as the guest library can see one.</summary>
internal sealed class FakeDebian : IProcessRunner
{
    public const string Abi = "6.1.0-56";

    private static readonly byte[] Deb = [.. "a package"u8];

    public string KernelAbi { get; set; } = Abi;

    public bool ListsKnow { get; set; } = true;

    public bool ListsKnowAfterUpdate { get; set; } = true;

    public HashSet<string> Missing { get; } = [];

    public string? DownloadError { get; set; }

    public byte[] Delivered { get; set; } = Deb;

    public bool KernelIsParavirtual { get; set; } = true;

    /// <summary>Runs e2fsprogs for real; without it they do nothing.</summary>
    public IProcessRunner? EnvironmentRunner { get; set; }

    public Action<string> BeforeCall { get; set; } = _ => { };

    public List<string> Calls { get; } = [];

    private string KernelPackage => $"linux-image-{KernelAbi}-cloud-amd64";

    public Task<ProcessResult> RunAsync(string program, IReadOnlyList<string> arguments, string? workingDirectory, CancellationToken cancellation)
    {
        string call = $"{Path.GetFileName(program)} {string.Join(' ', arguments)}";
        Calls.Add(call);
        BeforeCall(call);
        cancellation.ThrowIfCancellationRequested();
        if (Missing.Contains(program))
            throw new ProgramMissingException(program);
        return Task.FromResult(Path.GetFileName(program) switch
        {
            "apt-cache" when !ListsKnow => new(100, "", "E: No packages found\n"),
            "apt-cache" when arguments[0] == "depends" => Good($"{arguments[1]}\n  Depends: linux-image-{KernelAbi}-cloud-amd64-unsigned\n  Depends: {KernelPackage}\n"),
            "apt-cache" => Good(string.Concat(arguments.Skip(1).Where(argument => argument[0] != '-').Select(package => Show(package.Split('=')[0])))),
            "apt-get" when arguments[0] == "update" => Update(),
            "apt-get" when arguments[0] == "install" => Good(string.Concat(Closure(arguments).Select(package => $"Inst {package} (1.35 Debian:12/stable [amd64])\n"))),
            "apt-get" => Download(arguments.Skip(4), workingDirectory!),
            "env" when EnvironmentRunner is { } runner => runner.RunAsync(program, arguments, workingDirectory, cancellation).GetAwaiter().GetResult(),
            "env" => Edit(arguments),
            "dpkg-deb" => Unpack(arguments[1], arguments[2]),
            "busybox" => Good("bin/busybox\nbin/sh\nsbin/init\n"),
            _ => throw new ProgramMissingException(program),
        });
    }

    private static ProcessResult Good(string output = "") => new(0, output, "");

    // Fields in apt's order; the checksum of the kernel's package carries its version, so that a newer one differs.
    private string Show(string package) => $"""
        Package: {package}
        Version: {(package == KernelPackage ? $"{KernelAbi}+1" : "1.35")}
        Installed-Size: 10
        Description: text
         Size: 99 is not the size
        Size: {Deb.Length}
        SHA256: {Convert.ToHexStringLower(SHA256.HashData(Deb))}

        Package: {package}
        Version: 0-old


        """;

    private ProcessResult Update()
    {
        ListsKnow = ListsKnowAfterUpdate;
        return ListsKnow ? Good() : new(100, "", "E: Temporary failure resolving 'deb.debian.org'\n");
    }

    private static IEnumerable<string> Closure(IReadOnlyList<string> arguments) => ["libc6", .. arguments.SkipWhile(argument => argument != "Debug::NoLocking=1").Skip(1)];

    private static ProcessResult Edit(IReadOnlyList<string> arguments) =>
        arguments.Contains("stats -h") ? Good("Inode count:              100\nFree inodes:              88\n") : Good();

    private ProcessResult Download(IEnumerable<string> packages, string folder)
    {
        if (DownloadError is not null)
            return new(100, "", DownloadError);
        foreach (string package in packages)
            File.WriteAllBytes(Path.Combine(folder, $"{package.Split('=')[0]}_1_amd64.deb"), Delivered);
        return Good();
    }

    private ProcessResult Unpack(string deb, string folder)
    {
        if (Path.GetFileName(deb).StartsWith("busybox", StringComparison.Ordinal))
        {
            Put(Path.Combine(folder, "bin/busybox"), "busybox"u8);
            return Good();
        }

        if (!Path.GetFileName(deb).StartsWith("linux-image", StringComparison.Ordinal))
            return UnpackForDisk(Path.GetFileName(deb).Split('_')[0], folder);
        string release = $"{KernelAbi}-cloud-amd64";
        byte[] elf = KernelIsParavirtual ? ElfBuilder.Linux().Build() : new ElfBuilder().Load(0x10_0000, new byte[64], 0x1000).Build();
        Put(Path.Combine(folder, $"boot/vmlinuz-{release}"), Packer.BzImage(Packer.Payload("gzip", elf), release: $"{release} (builder@host) #1 SMP"));
        Put(Path.Combine(folder, $"boot/config-{release}"), "CONFIG_XEN_PV=y\n"u8);
        Put(Path.Combine(folder, $"lib/modules/{release}/kernel/net.ko"), new byte[1000]);
        foreach (string module in (string[])["block/xen-blkfront.ko", "xen/xen-privcmd.ko", "xen/xenfs/xenfs.ko"])
            Put(Path.Combine(folder, $"lib/modules/{release}/kernel/drivers/{module}"), System.Text.Encoding.ASCII.GetBytes(module));
        return Good();
    }

    /// <summary>A program, and what the root disk's recipe copies from.</summary>
    private static ProcessResult UnpackForDisk(string package, string folder)
    {
        Put(Path.Combine(folder, "bin", package), System.Text.Encoding.ASCII.GetBytes(package));
        Put(Path.Combine(folder, "usr/share/doc", package), "words"u8);
        if (package == "libc6")
        {
            foreach ((string from, _) in RootDiskRecipe.Copies)
                Put(Path.Combine(folder, from), "root:*:0:0\n"u8);
            Directory.CreateDirectory(Path.Combine(folder, "usr/bin"));
        }

        return Good();
    }

    private static void Put(string path, ReadOnlySpan<byte> data)
    {
        Directory.CreateDirectory(Path.GetDirectoryName(path)!);
        File.WriteAllBytes(path, data);
    }
}
