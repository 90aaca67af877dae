namespace Tessera.Guests;

/// <summary>
/// Offsets in the report page, the one page a built-in guest shares with whoever runs it (docs/guests.md). Every field is naturally
/// aligned and written by one store, so it can be read while the guest runs.
/// </summary>
public static class ReportLayout
{
    /// <summary>The first 8 bytes: "TSRAREPT".</summary>
    public const ulong MagicValue = 0x5450_4552_4152_5354;

    /// <summary>The layout's version.</summary>
    public const uint VersionValue = 1;

    /// <summary>Bytes of the page.</summary>
    public const int Size = 4096;

    /// <summary>uint64.</summary>
    public const int Magic = 0;

    /// <summary>uint32.</summary>
    public const int Version = 8;

    /// <summary>uint32 <see cref="GuestKind"/>.</summary>
    public const int Kind = 12;

    /// <summary>uint64: units of work done, in the kind's own unit.</summary>
    public const int Units = 16;

    /// <summary>uint32 <see cref="GuestProgress"/>.</summary>
    public const int Progress = 24;

    /// <summary>uint32: records written.</summary>
    public const int RecordCount = 28;

    /// <summary>uint64 <see cref="GuestError"/>.</summary>
    public const int ErrorCode = 32;

    /// <summary>uint64, see <see cref="GuestError"/>.</summary>
    public const int ErrorDetail = 40;

    /// <summary>uint64: instructions in a unit of CPU work; 0 where a unit is something else.</summary>
    public const int UnitInstructions = 48;

    /// <summary>uint64: latencies recorded.</summary>
    public const int LatencyCount = 56;

    /// <summary>uint64: their sum in ns.</summary>
    public const int LatencySum = 64;

    /// <summary>uint64: the longest in ns.</summary>
    public const int LatencyMax = 72;

    /// <summary>uint64: deadlines that had passed before they could be set.</summary>
    public const int Overruns = 80;

    /// <summary>uint64: the vector of the last trap the guest recovered from or died of.</summary>
    public const int LastVector = 88;

    /// <summary>fuzz, uint64[8]: number, five arguments, result and way (0 hypercall page, 1 syscall) of the call under way or last made.</summary>
    public const int LastCall = 96;

    /// <summary>beat and burst, uint32[<see cref="LatencyHistogram.Buckets"/>]: the latency histogram.</summary>
    public const int Histogram = 256;

    /// <summary>fuzz, uint32[64]: calls made by hypercall number modulo 64.</summary>
    public const int Calls = 256;

    /// <summary>fuzz, uint32[64]: those that were answered with an error.</summary>
    public const int Refusals = 512;

    /// <summary>fuzz: <see cref="MaxRecords"/> times 16 bytes: uint64 what was attempted, int64 what came of it.</summary>
    public const int Records = 768;

    /// <summary>Records that fit; later ones overwrite the last.</summary>
    public const int MaxRecords = (Size - Records) / 16;
}
