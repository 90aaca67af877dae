namespace Tessera.GuestLibrary;

/// <summary>One guest of the library. Paths are absolute.</summary>
public sealed record GuestEntry
{
    private static readonly EnumerationOptions Everything = new() { RecurseSubdirectories = true, AttributesToSkip = FileAttributes.ReparsePoint };

    /// <summary>The name it is called by: "debian", "debian-6.12" or one given to `guest add`.</summary>
    public required string Name { get; init; }

    /// <summary>The folder that holds everything of it.</summary>
    public required string Folder { get; init; }

    /// <summary>The kernel: a bzImage or an ELF file.</summary>
    public required string KernelPath { get; init; }

    /// <summary>The initial RAM disk; null when it has none.</summary>
    public string? InitrdPath { get; init; }

    /// <summary>The kernel's modules, the folder that would be /lib/modules/RELEASE; null when it has none.</summary>
    public string? ModulesPath { get; init; }

    /// <summary>Its root disk, an ext4 file system in a file that nobody writes: domains take overlays of it; null when it has none.</summary>
    public string? RootDiskPath { get; init; }

    /// <summary>The command line to boot it with unless the user says otherwise.</summary>
    public string DefaultCommandLine { get; init; } = "";

    /// <summary>The kernel's release, such as "6.1.0-56-cloud-amd64"; null when the file does not say.</summary>
    public string? KernelVersion { get; init; }

    /// <summary>What the kernel file is, such as "bzImage/lz4".</summary>
    public string? KernelFormat { get; init; }

    /// <summary>Where it came from: "linux-image-6.1.0-56-cloud-amd64 6.1.192-2", or the path that was added.</summary>
    public string? Source { get; init; }

    /// <summary>When it was put into the library.</summary>
    public DateTimeOffset Added { get; init; }

    /// <summary>Bytes of the kernel file.</summary>
    public long KernelBytes { get; init; }

    /// <summary>Bytes of the initial RAM disk, 0 without one.</summary>
    public long InitrdBytes { get; init; }

    /// <summary>
    /// Bytes of all files of the guest, modules included, the root disk not: that file is mostly holes. Counted when asked for, since a boot need not wait for
    /// thousands of modules.
    /// </summary>
    public long SizeBytes => new DirectoryInfo(Folder).EnumerateFiles("*", Everything).Where(file => file.FullName != RootDiskPath).Sum(file => file.Length);

    /// <summary>Why it cannot be used and what would help; null when it can.</summary>
    public string? Problem { get; init; }
}
