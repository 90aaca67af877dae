using System.Buffers.Binary;
using FsCheck;
using FsCheck.Fluent;

namespace Tessera.Guests.Tests;

public sealed class ReportPageTests
{
    [Test]
    public void What_a_guest_writes_is_read()
    {
        byte[] page = NewPage(GuestKind.Beat);
        Put(page, ReportLayout.Units, 7);
        Put(page, ReportLayout.LatencySum, 300);
        Put(page, ReportLayout.LatencyMax, 200);
        Put(page, ReportLayout.ErrorCode, (ulong)GuestError.HypercallRefused);
        page[ReportLayout.Histogram + (4 * LatencyHistogram.BucketOf(100))] = 1;
        page[ReportLayout.Histogram + (4 * LatencyHistogram.BucketOf(200))] = 1;
        page[ReportLayout.Progress] = (byte)GuestProgress.Running;
        Assert.That(ReportPage.TryRead(page, out GuestReport? report), Is.True);
        Assert.That((report!.Kind, report.Progress, report.Units, report.Error), Is.EqualTo((GuestKind.Beat, GuestProgress.Running, 7UL, GuestError.HypercallRefused)));
        Assert.That((report.Latency!.Count, report.Latency.Mean, report.Latency.Percentile(100)), Is.EqualTo((2L, 150.0, 200L)));
        Assert.That(report.Fuzz, Is.Null);
        Assert.That(ReportPage.UnitsOf(page), Is.EqualTo(7));
    }

    [Test]
    public void A_record_says_attack_target_and_result()
    {
        byte[] page = NewPage(GuestKind.Fuzz);
        page[ReportLayout.RecordCount] = 1;
        Put(page, ReportLayout.Records, ((ulong)FuzzAttack.PinForeign << 48) | 0x1234);
        Put(page, ReportLayout.Records + 8, unchecked((ulong)-22L));
        Assert.That(ReportPage.TryRead(page, out GuestReport? report), Is.True);
        Assert.That(report!.Fuzz!.Records, Is.EqualTo(new[] { new AttackRecord(FuzzAttack.PinForeign, 0x1234, -22) }));
    }

    [Test]
    public void A_record_count_beyond_the_page_reads_what_is_there()
    {
        byte[] page = NewPage(GuestKind.Fuzz);
        BinaryPrimitives.WriteUInt32LittleEndian(page.AsSpan(ReportLayout.RecordCount), uint.MaxValue);
        Assert.That(ReportPage.TryRead(page, out GuestReport? report), Is.True);
        Assert.That(report!.Fuzz!.Records, Has.Count.EqualTo(ReportLayout.MaxRecords));
    }

    [Test]
    public void No_content_of_the_page_throws() =>
        Prop.ForAll<int, byte>((seed, kind) =>
        {
            byte[] page = new byte[ReportLayout.Size];
            new Random(seed).NextBytes(page);
            Put(page, ReportLayout.Magic, ReportLayout.MagicValue);
            BinaryPrimitives.WriteUInt32LittleEndian(page.AsSpan(ReportLayout.Version), ReportLayout.VersionValue);
            BinaryPrimitives.WriteUInt32LittleEndian(page.AsSpan(ReportLayout.Kind), kind % 9u);
            page.AsSpan(ReportLayout.Progress, 4).Clear();
            bool read = ReportPage.TryRead(page, out GuestReport? report);
            _ = report?.Latency?.Percentile(99);
            return read == kind % 9 is >= 1 and <= 7;
        }).QuickCheckThrowOnFailure();

    [TestCase(0)]
    [TestCase(100)]
    [TestCase(4095)]
    public void Too_short_a_page_is_none(int length)
    {
        byte[] page = NewPage(GuestKind.Spin)[..length];
        Assert.That(ReportPage.TryRead(page, out _), Is.False);
        Assert.That(ReportPage.UnitsOf(page), Is.Zero);
    }

    [Test]
    public void Another_page_is_none() => Assert.That(ReportPage.TryRead(new byte[ReportLayout.Size], out _), Is.False);

    private static byte[] NewPage(GuestKind kind)
    {
        byte[] page = new byte[ReportLayout.Size];
        Put(page, ReportLayout.Magic, ReportLayout.MagicValue);
        page[ReportLayout.Version] = (byte)ReportLayout.VersionValue;
        page[ReportLayout.Kind] = (byte)kind;
        return page;
    }

    private static void Put(byte[] page, int offset, ulong value) => BinaryPrimitives.WriteUInt64LittleEndian(page.AsSpan(offset), value);
}
