using Tessera.Lab;


namespace Tessera.Cli.Guests;

/// <summary>The Debian package source this host is configured with, through apt-cache, apt-get download and dpkg-deb; nothing is installed.</summary>
internal sealed class DebianPackageSource(IProcessRunner runner, bool mayUpdateLists)
{
    private const string OwnKernel = "For a kernel of your own: tessera guest add NAME KERNEL [--initrd FILE]";

    private static readonly string[] OfflineSigns = ["Temporary failure resolving", "Could not resolve", "Could not connect", "Unable to connect", "Network is unreachable", "Connection timed out", "Connection failed"];

    /// <summary>The current kernel package behind a metapackage.</summary>
    public async Task<DebianPackage> KernelAsync(FetchableGuest guest, IProgress<GuestProgress> progress, CancellationToken cancellation)
    {
        ProcessResult depends = await QueryAsync(["depends", guest.Metapackage], guest.Metapackage, progress, cancellation);
        string? kernel = depends.Output.Split('\n').Select(l => l.Trim()).Where(l => l.StartsWith("Depends: ", StringComparison.Ordinal))
            .Select(l => l["Depends: ".Length..]).FirstOrDefault(FetchableGuest.IsKernelPackage);
        return kernel is null
            ? throw new GuestException($"The package {guest.Metapackage} depends on no signed cloud kernel here. The guest \"{guest.Name}\" needs Debian bookworm's package source with its security part. {OwnKernel}.")
            : await PackageAsync(kernel, progress, cancellation);
    }

    public async Task<DebianPackage> PackageAsync(string name, IProgress<GuestProgress> progress, CancellationToken cancellation)
    {
        ProcessResult show = await QueryAsync(["show", "--no-all-versions", name], name, progress, cancellation);
        return DebianPackage.Parse(show.Output)
            ?? throw new GuestException($"apt-cache show {name} gives no version, size and SHA256, so a download could not be verified. Run apt-get update. {OwnKernel}.");
    }

    /// <summary>Packages with everything they depend on, as for a machine that has nothing; sorted by name.</summary>
    /// <param name="names">The packages.</param>
    /// <param name="emptyFile">An empty file: the state of a machine without packages.</param>
    /// <param name="progress">Told each step.</param>
    /// <param name="cancellation">Ends it.</param>
    public async Task<IReadOnlyList<DebianPackage>> ClosureAsync(IReadOnlyList<string> names, string emptyFile, IProgress<GuestProgress> progress, CancellationToken cancellation)
    {
        // Asked for first: this is what notices lists that lack a package, and brings them up to date.
        await QueryAsync(["show", "--no-all-versions", .. names], string.Join(", ", names), progress, cancellation);
        ProcessResult simulated = await RunAsync(
            "apt-get",
            ["install", "-s", "-y", "--no-install-recommends", "-o", $"Dir::State::status={emptyFile}", "-o", "Debug::NoLocking=1", .. names],
            null,
            cancellation);
        // Inst NAME (VERSION RELEASE [ARCHITECTURE])
        string[] wanted =
        [
            .. simulated.Output.Split('\n').Where(line => line.StartsWith("Inst ", StringComparison.Ordinal)).Select(line => line.Split(' '))
                .Where(words => words.Length > 2).Select(words => $"{words[1]}={words[2].TrimStart('(')}"),
        ];
        if (simulated.ExitCode != 0 || wanted.Length < names.Count)
            throw Failed("The root disk's packages cannot be installed together", simulated);
        ProcessResult show = await RunAsync("apt-cache", ["show", .. wanted], null, cancellation);
        IReadOnlyList<DebianPackage> packages = [.. DebianPackage.ParseAll(show.Output).DistinctBy(package => package.Name).OrderBy(package => package.Name, StringComparer.Ordinal)];
        return packages.Count == wanted.Length
            ? packages
            : throw new GuestException($"apt-cache show describes {packages.Count} of the {wanted.Length} packages of the root disk with size and SHA256. Run apt-get update. {OwnKernel}.");
    }

    /// <summary>Downloads many packages into a folder and verifies each; gives the paths of the .deb files, by package.</summary>
    public async Task<IReadOnlyList<string>> DownloadAllAsync(IReadOnlyList<DebianPackage> packages, string folder, IProgress<GuestProgress> progress, CancellationToken cancellation)
    {
        await FetchAsync($"downloading {packages.Count} packages of the root disk", packages, folder, progress, cancellation);
        // NAME_VERSION_ARCHITECTURE.deb
        Dictionary<string, string> fileOf = Directory.GetFiles(folder, "*.deb").ToDictionary(file => Path.GetFileName(file).Split('_')[0]);
        List<string> files = [];
        foreach (DebianPackage package in packages)
        {
            if (!fileOf.TryGetValue(package.Name, out string? file))
                throw new GuestException($"{package} was not downloaded though apt-get reported no error. Try again.");
            Verify(package, file);
            files.Add(file);
        }

        return files;
    }

    /// <summary>Downloads into a folder and verifies; gives the path of the .deb.</summary>
    public async Task<string> DownloadAsync(DebianPackage package, string folder, IProgress<GuestProgress> progress, CancellationToken cancellation)
    {
        await FetchAsync($"downloading {package}", [package], folder, progress, cancellation);
        string[] files = Directory.GetFiles(folder, "*.deb");
        if (files.Length != 1)
            throw new GuestException($"apt-get download {package.Name} left {files.Length} packages instead of one. Try again.");
        Verify(package, files[0]);
        return files[0];
    }

    private async Task FetchAsync(string step, IReadOnlyList<DebianPackage> packages, string folder, IProgress<GuestProgress> progress, CancellationToken cancellation)
    {
        long bytes = packages.Sum(package => package.Bytes);
        Directory.CreateDirectory(folder);
        // The sandbox user could not write into a private folder.
        Task<ProcessResult> download = RunAsync(
            "apt-get", ["download", "-q", "-o", "APT::Sandbox::User=root", .. packages.Select(package => $"{package.Name}={package.Version}")], folder, cancellation);
        using PeriodicTimer timer = new(TimeSpan.FromMilliseconds(200));
        do
        {
            long done = new DirectoryInfo(folder).EnumerateFiles().Sum(f => f.Length);
            progress.Report(new(step, Math.Min(done, bytes), bytes));
        }
        while (await Task.WhenAny(download, timer.WaitForNextTickAsync(CancellationToken.None).AsTask()) != download);
        ProcessResult result = await download;
        if (result.ExitCode != 0)
            throw Failed(packages.Count == 1 ? $"{packages[0]} could not be downloaded" : $"{packages.Count} packages could not be downloaded", result);
        progress.Report(new(step, bytes, bytes));
    }

    public async Task UnpackAsync(string deb, string folder, CancellationToken cancellation)
    {
        ProcessResult result = await RunAsync("dpkg-deb", ["-x", deb, folder], null, cancellation);
        if (result.ExitCode != 0)
            throw Failed($"{Path.GetFileName(deb)} could not be unpacked", result);
    }

    private static void Verify(DebianPackage package, string file)
    {
        long length = new FileInfo(file).Length;
        if (length != package.Bytes)
            throw new GuestException($"{package}: {length:N0} bytes came instead of {package.Bytes:N0}; nothing was kept. Try again; if it persists, the mirror is out of step: run apt-get update.");
        string hash;
        using (FileStream stream = File.OpenRead(file))
            hash = Convert.ToHexStringLower(Sha256.Hash(stream));
        if (hash != package.Sha256)
            throw new GuestException($"{package}: its SHA256 is {hash}, the package list says {package.Sha256}; nothing was kept. Try again; if it persists, do not trust the mirror.");
    }

    private async Task<ProcessResult> QueryAsync(string[] arguments, string package, IProgress<GuestProgress> progress, CancellationToken cancellation)
    {
        ProcessResult result = await RunAsync("apt-cache", arguments, null, cancellation);
        if (Known(result))
            return result;
        if (!mayUpdateLists)
            throw new GuestException($"The package lists here do not know {package}. Run: sudo apt-get update (with Debian bookworm and its security part as the source). {OwnKernel}.");
        progress.Report(new("updating the package lists"));
        ProcessResult update = await RunAsync("apt-get", ["update", "-q"], null, cancellation);
        result = await RunAsync("apt-cache", arguments, null, cancellation);
        return Known(result)
            ? result
            : throw Failed($"The package lists do not know {package}, even after apt-get update", update.ExitCode != 0 || update.Error.Length > 0 ? update : result);

        static bool Known(ProcessResult r) => r.ExitCode == 0 && r.Output.Trim().Length > 0;
    }

    private async Task<ProcessResult> RunAsync(string program, IReadOnlyList<string> arguments, string? folder, CancellationToken cancellation)
    {
        try
        {
            return await runner.RunAsync(program, arguments, folder, cancellation);
        }
        catch (ProgramMissingException e)
        {
            throw new GuestException($"{e.Program} is not installed: fetching a guest needs Debian's apt and dpkg. {OwnKernel}.", e);
        }
    }

    private static GuestException Failed(string what, ProcessResult result)
    {
        string text = result.Error + "\n" + result.Output;
        string reason = text.Split('\n').Select(l => l.Trim()).LastOrDefault(l => l.StartsWith("E: ", StringComparison.Ordinal) || l.StartsWith("dpkg-deb: error", StringComparison.Ordinal))
            ?? text.Trim().Split('\n')[^1];
        string cure = text.Contains("No space left on device", StringComparison.Ordinal) ? "The disk is full: free some space or set TESSERA_CACHE to another disk"
            : OfflineSigns.Any(s => text.Contains(s, StringComparison.Ordinal)) ? $"The Debian mirror cannot be reached: check the network and the proxy. {OwnKernel}"
            : text.Contains("404", StringComparison.Ordinal) ? "The package lists are older than the mirror: run apt-get update and try again"
            : $"See /etc/apt/sources.list. {OwnKernel}";
        return new($"{what} (exit code {result.ExitCode}): {reason.TrimEnd('.')}. {cure}.");
    }
}
