using System.Globalization;
using System.Text;

namespace Tessera.Cli.Guests;

/// <summary>
/// Makes the root disk of a fetched guest from Debian packages: an ext4 file system in a sparse file. No package's script runs and no
/// privilege is needed: e2fsprogs fills the file system from a folder, and its debugfs then gives every file to root and sets every time. The same
/// packages give the same bytes.
/// </summary>
internal sealed class RootDiskBuilder(IProcessRunner runner, DebianPackageSource packages)
{
    private const string MakeFileSystem = "/sbin/mke2fs";
    private const string EditFileSystem = "/sbin/debugfs";

    /// <summary>Fixed, so that equal content gives equal bytes; a domain's own disk is an overlay and needs no name of its own.</summary>
    private const string Uuid = "5e55e7a0-7e55-4e7a-8a00-000000000001";
    private const string HashSeed = "5e55e7a0-7e55-4e7a-8a00-000000000002";

    /// <summary>Before Debian merged them into /usr, packages had files in these; many still do.</summary>
    private static readonly string[] MergedFolders = ["bin", "lib", "lib64", "sbin"];

    /// <summary>Makes the disk.</summary>
    /// <param name="closure">The packages, with all they need.</param>
    /// <param name="work">An empty folder to work in.</param>
    /// <param name="disk">The file to make.</param>
    /// <param name="bytes">Its size.</param>
    /// <param name="progress">Told each step.</param>
    /// <param name="cancellation">Ends it.</param>
    /// <exception cref="GuestException">It cannot be made; says why and what would help.</exception>
    public async Task BuildAsync(IReadOnlyList<DebianPackage> closure, string work, string disk, long bytes, IProgress<GuestProgress> progress, CancellationToken cancellation)
    {
        string debs = Path.Combine(work, "debs");
        string tree = Path.Combine(work, "tree");
        IReadOnlyList<string> files = await packages.DownloadAllAsync(closure, debs, progress, cancellation);
        Directory.CreateDirectory(tree);
        progress.Report(new($"unpacking {files.Count} packages of the root disk"));
        foreach (string file in files)
        {
            await packages.UnpackAsync(file, tree, cancellation);
            File.Delete(file);
        }

        Arrange(tree, closure);
        progress.Report(new("making the root disk"));
        using (FileStream file = File.Create(disk))
            file.SetLength(bytes);
        await RunAsync(MakeFileSystem, cancellation, "-q", "-F", "-t", "ext4", "-d", tree, "-L", "tessera-root", "-U", Uuid, "-E", $"hash_seed={HashSeed},lazy_itable_init=1,lazy_journal_init=1", "-J", "size=16", "-m", "1", "-O", "^resize_inode", disk);
        string script = Path.Combine(work, "inodes");
        await File.WriteAllTextAsync(script, InodeScript(await InodesAsync(disk, cancellation)), cancellation);
        await RunAsync(EditFileSystem, cancellation, "-w", "-f", script, disk);
    }

    private static void Arrange(string tree, IReadOnlyList<DebianPackage> closure)
    {
        foreach (string folder in MergedFolders)
        {
            string target = Path.Combine(tree, "usr", folder);
            Directory.CreateDirectory(target);
            if (Directory.Exists(Path.Combine(tree, folder)))
                Merge(Path.Combine(tree, folder), target);
            File.CreateSymbolicLink(Path.Combine(tree, folder), Path.Combine("usr", folder));
        }

        foreach (string folder in RootDiskRecipe.Dropped.Select(folder => Path.Combine(tree, folder)).Where(Directory.Exists))
            Directory.Delete(folder, recursive: true);
        foreach (string folder in RootDiskRecipe.Folders)
            Directory.CreateDirectory(Path.Combine(tree, folder));
        foreach ((string from, string to) in RootDiskRecipe.Copies)
            File.Copy(Path.Combine(tree, from), Path.Combine(tree, to), overwrite: true);
        foreach ((string path, string target) in RootDiskRecipe.Links)
        {
            File.Delete(Path.Combine(tree, path));
            File.CreateSymbolicLink(Path.Combine(tree, path), target);
        }

        foreach ((string path, string text) in RootDiskRecipe.Files)
            Put(tree, path, text, executable: path.Contains("sbin/", StringComparison.Ordinal));
        Put(tree, "etc/tessera-packages", string.Concat(closure.Select(package => package + "\n").Order(StringComparer.Ordinal)), executable: false);
    }

    private static void Put(string tree, string path, string text, bool executable)
    {
        string file = Path.Combine(tree, path);
        // A link of that name would be followed.
        File.Delete(file);
        File.WriteAllText(file, text);
        const UnixFileMode readable = UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.GroupRead | UnixFileMode.OtherRead;
        if (OperatingSystem.IsLinux())
            File.SetUnixFileMode(file, executable ? readable | UnixFileMode.UserExecute | UnixFileMode.GroupExecute | UnixFileMode.OtherExecute : readable);
    }

    /// <summary>Moves everything in one folder into another that may have some of the same folders, and removes the first.</summary>
    private static void Merge(string from, string to)
    {
        foreach (FileSystemInfo item in new DirectoryInfo(from).EnumerateFileSystemInfos())
        {
            string target = Path.Combine(to, item.Name);
            if (item is DirectoryInfo { LinkTarget: null } && Directory.Exists(target))
                Merge(item.FullName, target);
            else if (item is DirectoryInfo { LinkTarget: null })
                Directory.Move(item.FullName, target);
            else
                File.Move(item.FullName, target, overwrite: true);
        }

        Directory.Delete(from);
    }

    /// <summary>The number of inodes in use: they are taken in order.</summary>
    private async Task<long> InodesAsync(string disk, CancellationToken cancellation)
    {
        string statistics = await RunAsync(EditFileSystem, cancellation, "-R", "stats -h", disk);
        return Field("Inode count:") - Field("Free inodes:");

        long Field(string name)
        {
            string? line = statistics.Split('\n').FirstOrDefault(line => line.StartsWith(name, StringComparison.Ordinal));
            return line is not null && long.TryParse(line[name.Length..].Trim(), CultureInfo.InvariantCulture, out long value)
                ? value
                : throw new GuestException($"{EditFileSystem} does not report \"{name}\" for the file system it was given: {statistics.Trim()}. The root disk needs e2fsprogs 1.47 or later.");
        }
    }

    private static string InodeScript(long inodes)
    {
        StringBuilder script = new();
        for (long inode = 1; inode <= inodes; inode++)
        {
            foreach (string field in (string[])["uid", "gid"])
                script.Append(CultureInfo.InvariantCulture, $"set_inode_field <{inode}> {field} 0\n");
            foreach (string field in (string[])["atime", "ctime", "mtime", "crtime"])
                script.Append(CultureInfo.InvariantCulture, $"set_inode_field <{inode}> {field} @{RootDiskRecipe.Time}\nset_inode_field <{inode}> {field}_extra 0\n");
        }

        return script.ToString();
    }

    private async Task<string> RunAsync(string program, CancellationToken cancellation, params IEnumerable<string> arguments)
    {
        string time = RootDiskRecipe.Time.ToString(CultureInfo.InvariantCulture);
        ProcessResult result = await runner.RunAsync("env", [$"E2FSPROGS_FAKE_TIME={time}", $"SOURCE_DATE_EPOCH={time}", program, .. arguments], null, cancellation);
        const int notFound = 127;
        if (result.ExitCode == notFound)
            throw new GuestException($"{program} is not installed: a root disk is made with Debian's e2fsprogs. Install it, or fetch the guest without its disk (--no-disk).");
        return result.ExitCode == 0 ? result.Output : throw new GuestException($"{program} failed with exit code {result.ExitCode}: {result.Error.Trim()}");
    }
}
