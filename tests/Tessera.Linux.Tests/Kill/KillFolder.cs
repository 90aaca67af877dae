using System.Globalization;
using System.Text;

namespace Tessera.Linux.Tests.Kill;

/// <summary>
/// Files of a machine that is killed again and again: its script as a disk, the ledger of what it acknowledged as another, and whatever
/// its disk under test is made of. The ledger is read after the process has gone: what the guest wrote there stands in the host's page cache.
/// </summary>
internal sealed class KillFolder : IDisposable
{
    private const int Sector = 512;
    private const int Lines = 8;
    private const int Outcome = 2;

    public KillFolder()
    {
        Directory.CreateDirectory(Root);
        byte[] script = File.ReadAllBytes(Path.Combine(AppContext.BaseDirectory, "Programs", "records.py"));
        // A disk has whole sectors.
        int rest = (Sector - (script.Length % Sector)) % Sector;
        File.WriteAllBytes(Script, [.. script, .. Enumerable.Repeat((byte)'\n', rest)]);
        File.WriteAllBytes(Ledger, new byte[Lines * Sector]);
    }

    public string Root { get; } = Path.Combine(Path.GetTempPath(), $"tessera-kill-{Guid.NewGuid():N}");

    public string Script => At("script");

    public string Ledger => At("ledger");

    /// <summary>Records whose fsync has returned in the guest.</summary>
    public long Records => Number(0);

    /// <summary>Passes of fio that have ended in the guest.</summary>
    public long Passes => Number(1);

    /// <summary>What the guest found when it came up; empty before.</summary>
    public string Verdict
    {
        get => Line(Outcome);
        set
        {
            using FileStream ledger = new(Ledger, FileMode.Open, FileAccess.Write, FileShare.ReadWrite);
            ledger.Position = Outcome * Sector;
            byte[] line = new byte[Sector];
            Encoding.ASCII.GetBytes(value, line);
            ledger.Write(line);
        }
    }

    public string At(string name) => Path.Combine(Root, name);

    public void Dispose() => Directory.Delete(Root, recursive: true);

    private long Number(int line) => long.TryParse(Line(line), NumberStyles.None, CultureInfo.InvariantCulture, out long number) ? number : 0;

    private string Line(int line)
    {
        using FileStream ledger = new(Ledger, FileMode.Open, FileAccess.Read, FileShare.ReadWrite, bufferSize: 0);
        byte[] text = new byte[Sector];
        ledger.Position = line * Sector;
        ledger.ReadExactly(text);
        return Encoding.UTF8.GetString(text).TrimEnd('\0');
    }
}
