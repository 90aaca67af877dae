using System.Globalization;

namespace Tessera.Experiments.Hosts;

/// <summary>
/// Who has which host CPU, among the processes of one user on one host: a machine's run has its CPUs alone, simulated ones share what is
/// left. A file a CPU, locked by flock(2), which ends with the process however that ends. The files themselves say nothing and stay.
/// </summary>
/// <param name="folder">Where the files are; made when it is not there.</param>
public sealed class HostCpuLocks(string folder)
{
    private static readonly TimeSpan BetweenTries = TimeSpan.FromMilliseconds(50);

    /// <summary>EWOULDBLOCK, what a lock that somebody has answers.</summary>
    private const int TryAgain = 11;

    /// <summary>
    /// Waits until it has all of them. They are taken in ascending order, so that two who want the same never wait for each other.
    /// </summary>
    /// <param name="cpus">The host CPUs.</param>
    /// <param name="alone">Whether nobody else may have them meanwhile.</param>
    /// <param name="isStopped">Whether to give up.</param>
    /// <returns>What lets go of them; null after giving up.</returns>
    public IDisposable? Take(IReadOnlyList<int> cpus, bool alone, Func<bool> isStopped)
    {
        Taken taken = new();
        try
        {
            Directory.CreateDirectory(folder);
            foreach (int cpu in cpus.Order())
            {
                FileStream? file;
                while ((file = TryTake(cpu, alone)) is null)
                {
                    if (isStopped())
                    {
                        taken.Dispose();
                        return null;
                    }

                    Thread.Sleep(BetweenTries);
                }

                taken.Files.Add(file);
            }

            return taken;
        }
        catch
        {
            taken.Dispose();
            throw;
        }
    }

    /// <summary>.NET locks a file that it opens: alone where nothing may be shared, together with others where reading may.</summary>
    private FileStream? TryTake(int cpu, bool alone)
    {
        string file = Path.Combine(folder, string.Create(CultureInfo.InvariantCulture, $"cpu-{cpu}.lock"));
        try
        {
            return alone
                ? new FileStream(file, FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None, 1)
                : new FileStream(file, FileMode.OpenOrCreate, FileAccess.Read, FileShare.Read, 1);
        }
        catch (IOException e) when (e.HResult == TryAgain)
        {
            return null;
        }
    }

    private sealed class Taken : IDisposable
    {
        public List<FileStream> Files { get; } = [];

        public void Dispose()
        {
            foreach (FileStream file in Files)
                file.Dispose();
        }
    }
}
