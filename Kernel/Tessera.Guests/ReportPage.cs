using System.Buffers.Binary;
using System.Runtime.InteropServices;

namespace Tessera.Guests;

/// <summary>Reads the report page of a built-in guest, live or after its end. The page is the guest's: nothing in it is trusted.</summary>
public static class ReportPage
{
    /// <summary>Units of work so far, straight from the page; 0 when it is not a report page. Allocates nothing.</summary>
    /// <param name="page">The page.</param>
    public static ulong UnitsOf(ReadOnlySpan<byte> page) => IsReport(page) ? Long(page, ReportLayout.Units) : 0;

    /// <summary>Copies everything out of the page.</summary>
    /// <param name="page">The page, <see cref="ReportLayout.Size"/> bytes.</param>
    /// <param name="report">The copy, when it is a report page of this version.</param>
    public static bool TryRead(ReadOnlySpan<byte> page, out GuestReport? report)
    {
        report = null;
        if (!IsReport(page))
            return false;
        uint kind = Int(page, ReportLayout.Kind), progress = Int(page, ReportLayout.Progress);
        if (kind is 0 or > (uint)GuestKind.Probe || progress > (uint)GuestProgress.Failed)
            return false;
        ulong error = Long(page, ReportLayout.ErrorCode);
        report = new GuestReport
        {
            Kind = (GuestKind)kind,
            Progress = (GuestProgress)progress,
            Units = Long(page, ReportLayout.Units),
            UnitInstructions = Long(page, ReportLayout.UnitInstructions),
            Error = error <= int.MaxValue ? (GuestError)error : GuestError.UnexpectedTrap,
            ErrorDetail = Long(page, ReportLayout.ErrorDetail),
            Overruns = Long(page, ReportLayout.Overruns),
            LastVector = Long(page, ReportLayout.LastVector),
            Latency = (GuestKind)kind is GuestKind.Beat or GuestKind.Burst ? ReadHistogram(page) : null,
            Fuzz = (GuestKind)kind is GuestKind.Fuzz ? ReadFuzz(page) : null,
        };
        return true;
    }

    private static bool IsReport(ReadOnlySpan<byte> page) =>
        page.Length >= ReportLayout.Size && Long(page, ReportLayout.Magic) == ReportLayout.MagicValue && Int(page, ReportLayout.Version) == ReportLayout.VersionValue;

    private static LatencyHistogram ReadHistogram(ReadOnlySpan<byte> page) =>
        new(
            MemoryMarshal.Cast<byte, uint>(page.Slice(ReportLayout.Histogram, LatencyHistogram.Buckets * sizeof(uint))),
            Long(page, ReportLayout.LatencySum),
            Long(page, ReportLayout.LatencyMax));

    private static FuzzReport ReadFuzz(ReadOnlySpan<byte> page)
    {
        int count = (int)Math.Min(Int(page, ReportLayout.RecordCount), (uint)ReportLayout.MaxRecords);
        AttackRecord[] records = new AttackRecord[count];
        for (int i = 0; i < count; i++)
        {
            int at = ReportLayout.Records + (16 * i);
            ulong attempt = Long(page, at);
            records[i] = new((FuzzAttack)(attempt >> 48), attempt & 0xFFFF_FFFF_FFFF, (long)Long(page, at + 8));
        }

        return new()
        {
            Calls = MemoryMarshal.Cast<byte, uint>(page.Slice(ReportLayout.Calls, 64 * sizeof(uint))).ToArray(),
            Refusals = MemoryMarshal.Cast<byte, uint>(page.Slice(ReportLayout.Refusals, 64 * sizeof(uint))).ToArray(),
            Records = records,
            LastCall = MemoryMarshal.Cast<byte, ulong>(page.Slice(ReportLayout.LastCall, 8 * sizeof(ulong))).ToArray(),
        };
    }

    private static uint Int(ReadOnlySpan<byte> page, int offset) => BinaryPrimitives.ReadUInt32LittleEndian(page[offset..]);

    private static ulong Long(ReadOnlySpan<byte> page, int offset) => BinaryPrimitives.ReadUInt64LittleEndian(page[offset..]);
}
