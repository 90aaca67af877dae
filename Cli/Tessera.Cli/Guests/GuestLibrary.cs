using System.Text;
using Tessera.Cli.Native;
using Tessera.Images;
using Tessera.Lab;

namespace Tessera.Cli.Guests;

/// <summary>
/// The user's guests: kernels with their RAM disks, fetched from Debian or added by hand, in one folder of the user's cache. A guest appears
/// complete or not at all; getting one again keeps the old one until the new one is complete.
/// </summary>
public sealed class GuestLibrary
{
    private const string KernelFile = "vmlinuz";
    private const string InitrdFile = "initrd.img";
    private const string ModulesFolder = "modules";
    private const string RootDiskFile = "root.ext4";

    // Head room beyond what the packages say: the RAM disk and file system overhead.
    private const long SpareBytes = 16 << 20;

    private readonly GuestStore _store;
    private readonly DebianPackageSource _packages;
    private readonly IProcessRunner _runner;
    private readonly TimeProvider _time;
    private readonly Func<string, long> _freeBytes;

    /// <summary>A library in a folder, which need not exist yet.</summary>
    /// <param name="folder">The library's folder; see <see cref="DefaultFolder()"/>.</param>
    /// <param name="runner">Runs apt; this host's programs by default.</param>
    /// <param name="mayUpdateLists">Whether `apt-get update` may be run when the lists lack a package; by default when we are root.</param>
    /// <param name="time">Dates the entries.</param>
    /// <param name="freeBytes">Gives the bytes free on the disk of a folder.</param>
    public GuestLibrary(string folder, IProcessRunner? runner = null, bool? mayUpdateLists = null, TimeProvider? time = null, Func<string, long>? freeBytes = null)
    {
        _store = new(folder);
        _runner = runner ?? new HostProcessRunner();
        _packages = new(_runner, mayUpdateLists ?? Environment.IsPrivilegedProcess);
        _time = time ?? TimeProvider.System;
        _freeBytes = freeBytes ?? (path => new DriveInfo(path).AvailableFreeSpace);
    }

    /// <summary>The library's folder.</summary>
    public string Folder => _store.Root;

    /// <summary>The library of the user: guests in $TESSERA_CACHE, else in tessera of $XDG_CACHE_HOME or of ~/.cache.</summary>
    public static string DefaultFolder() => GuestStore.DefaultRoot(Environment.GetEnvironmentVariable);

    /// <summary>As <see cref="DefaultFolder()"/>, from another environment.</summary>
    /// <param name="environment">Gives a variable's value or null.</param>
    public static string DefaultFolder(Func<string, string?> environment) => GuestStore.DefaultRoot(environment);

    /// <summary>All guests by name; one that is damaged is there too, with its Problem.</summary>
    public IReadOnlyList<GuestEntry> List() => [.. _store.Names().Select(Describe)];

    /// <summary>The guest of that name, or null.</summary>
    /// <exception cref="GuestException">It is there but damaged.</exception>
    public GuestEntry? Find(string name)
    {
        if (!_store.Names().Contains(name))
            return null;
        GuestEntry entry = Describe(name);
        return entry.Problem is null ? entry : throw new GuestException(entry.Problem);
    }

    /// <summary>Copies a kernel of the user's, after checking that it is one Tessera can run, and its RAM disk into the library.</summary>
    /// <param name="name">What to call it; an added guest of that name is replaced.</param>
    /// <param name="kernelPath">A bzImage or ELF file.</param>
    /// <param name="initrdPath">Its RAM disk, if it has one.</param>
    /// <exception cref="GuestException">The name or a file is no good, or the disk is full.</exception>
    /// <exception cref="ImageException">The kernel is none Tessera can run.</exception>
    public GuestEntry Add(string name, string kernelPath, string? initrdPath = null)
    {
        GuestStore.CheckName(name);
        if (GuestCatalogue.All.Any(g => g.Name == name))
            throw new GuestException($"\"{name}\" is the name of a guest that is fetched (tessera guest get {name}). Choose another.");
        KernelImage kernel = KernelImage.Load(Taken(kernelPath), kernelPath);
        byte[]? initrd = initrdPath is null ? null : Taken(initrdPath);
        try
        {
            using IDisposable held = _store.Lock();
            string made = _store.Fresh(name);
            try
            {
                File.Copy(kernelPath, Path.Combine(made, KernelFile));
                if (initrd is not null)
                    File.WriteAllBytes(Path.Combine(made, InitrdFile), initrd);
                Manifest(name, kernel, Path.GetFullPath(kernelPath)).Write(made);
                _store.Publish(made, name);
            }
            finally
            {
                GuestStore.Drop(made);
            }
            return Find(name)!;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw Explain(e);
        }

        static byte[] Taken(string path)
        {
            try
            {
                return InputFile.Read(path, InputFile.MostImage);
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                throw new GuestException($"{e.Message.TrimEnd('.')}. Name a file that exists and may be read.", e) { IsMisuse = true };
            }
        }

        GuestManifest Manifest(string guest, KernelImage kernel, string source) => new()
        {
            Schema = GuestManifest.CurrentSchema,
            Name = guest,
            Kernel = KernelFile,
            Initrd = initrdPath is null ? null : InitrdFile,
            // Other kernels have other words for things, or none.
            CommandLine = kernel.Notes.GuestOs == "linux" ? GuestCommandLine.Linux : "",
            KernelVersion = Release(kernel),
            KernelFormat = kernel.Format,
            Source = source,
            Added = _time.GetUtcNow(),
        };
    }

    /// <summary>Fetches a guest, or brings it up to date; when the package source cannot be asked, one that is already there is kept and given.</summary>
    /// <param name="name">A name of <see cref="GuestCatalogue"/>.</param>
    /// <param name="progress">Told each step.</param>
    /// <param name="cancellation">Ends it; what was there before stays.</param>
    /// <param name="rootDisk">Whether to make its root disk too; one that is there is kept up to date in any case.</param>
    /// <exception cref="GuestException">It cannot be had; the message says why and what would help.</exception>
    public async Task<GuestEntry> GetAsync(string name, IProgress<GuestProgress> progress, CancellationToken cancellation, bool rootDisk = false)
    {
        FetchableGuest guest = GuestCatalogue.Find(name);
        try
        {
            using IDisposable held = _store.Lock();
            GuestEntry? present = _store.Contains(name) ? Describe(name) : null;
            present = present?.Problem is null ? present : null;
            bool withDisk = rootDisk || present?.RootDiskPath is not null;
            DebianPackage kernel;
            DebianPackage busybox;
            IReadOnlyList<DebianPackage> disk;
            try
            {
                progress.Report(new($"asking for the current {guest.Metapackage}"));
                kernel = await _packages.KernelAsync(guest, progress, cancellation);
                busybox = await _packages.PackageAsync("busybox-static", progress, cancellation);
                disk = withDisk ? await DiskPackagesAsync(name, progress, cancellation) : [];
            }
            catch (GuestException e) when (present is not null)
            {
                progress.Report(new($"keeping {present.Source}; whether it is current is unknown: {e.Message}"));
                return present;
            }
            string fingerprint = $"{kernel.Sha256}:{busybox.Sha256}:{GuestInitramfs.Recipe}{(withDisk ? $":{DiskFingerprint(disk)}" : "")}";
            if (present is not null && GuestManifest.Read(present.Folder).Fingerprint == fingerprint)
                return present;
            CheckSpace([kernel, busybox, .. disk, .. disk]);
            await FetchAsync(name, kernel, busybox, disk, fingerprint, progress, cancellation);
            return Describe(name);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw Explain(e);
        }
    }

    internal static bool IsDiskFull(IOException e)
    {
        const int noSpace = 28;
        const int quotaExceeded = 122;
        return e.HResult is noSpace or quotaExceeded;
    }

    private static string DiskFingerprint(IReadOnlyList<DebianPackage> disk) =>
        Convert.ToHexStringLower(Sha256.Hash(Encoding.UTF8.GetBytes(string.Join('\n', [RootDiskRecipe.Fingerprint, .. disk.Select(package => package.Sha256)]))));

    private async Task<IReadOnlyList<DebianPackage>> DiskPackagesAsync(string name, IProgress<GuestProgress> progress, CancellationToken cancellation)
    {
        progress.Report(new("asking for the root disk's packages"));
        string work = _store.Fresh($"{name}.work");
        try
        {
            string empty = Path.Combine(work, "status");
            await File.WriteAllBytesAsync(empty, [], cancellation);
            return await _packages.ClosureAsync(RootDiskRecipe.Packages, empty, progress, cancellation);
        }
        finally
        {
            GuestStore.Drop(work);
        }
    }

    private async Task FetchAsync(
        string name, DebianPackage kernel, DebianPackage busybox, IReadOnlyList<DebianPackage> disk, string fingerprint, IProgress<GuestProgress> progress, CancellationToken cancellation)
    {
        string made = _store.Fresh(name);
        string work = _store.Fresh($"{name}.work");
        try
        {
            string tree = Path.Combine(work, "tree");
            foreach (DebianPackage package in (DebianPackage[])[kernel, busybox])
            {
                string deb = await _packages.DownloadAsync(package, Path.Combine(work, package.Name), progress, cancellation);
                progress.Report(new($"unpacking {package}"));
                await _packages.UnpackAsync(deb, tree, cancellation);
                File.Delete(deb);
            }
            KernelImage image = TakeKernel(tree, made, kernel);
            progress.Report(new("making the initial RAM disk"));
            await MakeInitramfsAsync(tree, made, busybox, Release(image) ?? "", cancellation);
            if (disk.Count > 0)
                await new RootDiskBuilder(_runner, _packages).BuildAsync(disk, Path.Combine(work, "disk"), Path.Combine(made, RootDiskFile), RootDiskRecipe.Bytes, progress, cancellation);
            new GuestManifest
            {
                Schema = GuestManifest.CurrentSchema,
                Name = name,
                Kernel = KernelFile,
                Initrd = InitrdFile,
                Modules = Directory.Exists(Path.Combine(made, ModulesFolder)) ? ModulesFolder : null,
                RootDisk = disk.Count > 0 ? RootDiskFile : null,
                CommandLine = GuestCommandLine.Linux,
                KernelVersion = Release(image),
                KernelFormat = image.Format,
                Source = kernel.ToString(),
                Fingerprint = fingerprint,
                Added = _time.GetUtcNow(),
            }.Write(made);
            cancellation.ThrowIfCancellationRequested();
            _store.Publish(made, name);
        }
        finally
        {
            GuestStore.Drop(work);
            GuestStore.Drop(made);
        }
    }

    private static KernelImage TakeKernel(string tree, string made, DebianPackage package)
    {
        string boot = Path.Combine(tree, "boot");
        string[] kernels = Directory.Exists(boot) ? Directory.GetFiles(boot, "vmlinuz-*") : [];
        if (kernels.Length != 1)
            throw new GuestException($"{package} holds {kernels.Length} files boot/vmlinuz-* instead of one: it does not have the form of a kernel package.");
        string release = Path.GetFileName(kernels[0])["vmlinuz-".Length..];
        string target = Path.Combine(made, KernelFile);
        File.Move(kernels[0], target);
        string config = Path.Combine(boot, $"config-{release}");
        if (File.Exists(config))
            File.Move(config, Path.Combine(made, "config"));
        string? modules = ((string[])["lib/modules", "usr/lib/modules"]).Select(d => Path.Combine(tree, d, release)).FirstOrDefault(Directory.Exists);
        if (modules is not null)
            Directory.Move(modules, Path.Combine(made, ModulesFolder));
        return KernelImage.Load(File.ReadAllBytes(target), $"{package}, boot/vmlinuz-{release}");
    }

    private async Task MakeInitramfsAsync(string tree, string made, DebianPackage package, string release, CancellationToken cancellation)
    {
        string busybox = ((string[])["bin/busybox", "usr/bin/busybox"]).Select(p => Path.Combine(tree, p)).FirstOrDefault(File.Exists)
            ?? throw new GuestException($"{package} holds no bin/busybox: it is not the expected package.");
        ProcessResult list = await _runner.RunAsync(busybox, ["--list-full"], null, cancellation);
        string[] applets = list.Output.Split('\n', StringSplitOptions.RemoveEmptyEntries);
        if (list.ExitCode != 0 || !applets.Contains("bin/sh"))
            throw new GuestException($"The busybox of {package} does not run here or has no shell (exit code {list.ExitCode}): {list.Error.Trim()}.");
        using FileStream output = File.Create(Path.Combine(made, InitrdFile));
        GuestInitramfs.Write(output, await File.ReadAllBytesAsync(busybox, cancellation), applets, GuestModules.Take(Path.Combine(made, ModulesFolder), release));
    }

    private void CheckSpace(IEnumerable<DebianPackage> packages)
    {
        long needed = SpareBytes;
        foreach (DebianPackage package in packages)
            needed += package.Bytes + package.InstalledBytes;
        long free = _freeBytes(_store.Root);
        if (free < needed)
            throw new GuestException($"{_store.Root} has {free >> 20} MiB free, and fetching takes {needed >> 20} MiB. Free some space or set TESSERA_CACHE to another disk.");
    }

    private GuestEntry Describe(string name)
    {
        string folder = _store.FolderOf(name);
        try
        {
            GuestManifest manifest = GuestManifest.Read(folder);
            GuestEntry entry = new()
            {
                Name = name,
                Folder = folder,
                KernelPath = Inside(folder, manifest.Kernel),
                InitrdPath = manifest.Initrd is null ? null : Inside(folder, manifest.Initrd),
                ModulesPath = manifest.Modules is null ? null : Inside(folder, manifest.Modules),
                RootDiskPath = manifest.RootDisk is null ? null : Inside(folder, manifest.RootDisk),
                DefaultCommandLine = manifest.CommandLine,
                KernelVersion = manifest.KernelVersion,
                KernelFormat = manifest.KernelFormat,
                Source = manifest.Source,
                Added = manifest.Added,
            };
            return entry with
            {
                KernelBytes = new FileInfo(entry.KernelPath).Length,
                InitrdBytes = entry.InitrdPath is null ? 0 : new FileInfo(entry.InitrdPath).Length,
            };
        }
        catch (Exception e) when (e is GuestException or IOException or UnauthorizedAccessException)
        {
            return new() { Name = name, Folder = folder, KernelPath = Path.Combine(folder, KernelFile), Problem = e is GuestException ? e.Message : $"{folder}: {e.Message.TrimEnd('.')}. Get or add the guest again." };
        }
    }

    // The manifest is a file that anybody may have written or unpacked there: what it names is the guest's own, and no way to another place.
    private static string Inside(string folder, string name)
    {
        string path = Path.Combine(folder, name);
        if (name.Length == 0 || name is "." or ".." || Path.GetFileName(name) != name || new FileInfo(path).LinkTarget is not null)
        {
            throw new GuestException(
                $"{Path.Combine(folder, GuestManifest.FileName)} names \"{name}\". A guest's files must be in its own folder, without paths and links. Get or add the guest again.");
        }

        return path;
    }

    private static string? Release(KernelImage kernel) => kernel.Version?.Split(' ')[0];

    private GuestException Explain(Exception e) => e is IOException io && IsDiskFull(io)
        ? new($"The disk of {_store.Root} is full; nothing was changed. Free some space or set TESSERA_CACHE to another disk.", e)
        : new($"{e.Message.TrimEnd('.')}. Check that the file exists and may be read, and that {_store.Root} may be written.", e);
}
